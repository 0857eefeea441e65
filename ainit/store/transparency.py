"""What a transparency log says about a signature, in a Sigstore bundle: proof, promise and entry.

The log promises to show an entry and signs when it took it (Rekor's "signed entry timestamp"); the
proof shows the entry in the tree (RFC 9162, 2.1.3) whose root the log signed in a checkpoint
(C2SP tlog-checkpoint). The entry repeats what was signed, by which certificate. Leaves out: logs
that promise nothing and leave the time to others (Rekor 2), and entries other than ``dsse``.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ..errors import RefusedError
from ..policy.trusted_roots import Window
from ..wire import fields
from ..wire.codec import canonical
from .keys import EllipticKey

_HASH_BYTES = 32
_PATH_MAX = 63  # of a tree with fewer entries than 2^63
_SIGNATURE_MAX = 1024
_BODY_MAX = 1 << 16
_NOTE_MAX = 1 << 14
_TIME_MAX = 1 << 36  # seconds; in the year 4147
_ENTRY = (
    "logIndex", "logId", "kindVersion", "integratedTime", "inclusionPromise", "inclusionProof",
    "canonicalizedBody",
)  # fmt: skip
_PROOF = ("logIndex", "rootHash", "treeSize", "hashes", "checkpoint")
_BODY = ("apiVersion", "kind", "spec")
_KIND = {"kind": "dsse", "version": "0.0.1"}
_SIGNED = re.compile(r"— \S+ (\S+)")

Logs = Mapping[bytes, tuple[EllipticKey, Window]]


@dataclass(frozen=True)
class Entry:
    """An entry of a log. ``index`` counts over all shards of the log, ``place`` in the tree."""

    log: bytes
    index: int
    time: int
    body: bytes
    promise: bytes
    place: int
    size: int
    path: Sequence[bytes]
    root: bytes
    checkpoint: str

    @classmethod
    def parse(cls, value: object) -> Entry:
        """An entry as bundles hold it. Raises RefusedError, or ValueError when it is malformed."""
        entry = fields.record(value, "the log entry", _ENTRY)
        kind = fields.record(entry.get("kindVersion"), "kindVersion", _KIND)
        if kind != _KIND:
            said = fields.shown(f"{kind.get('kind')} {kind.get('version')}")
            raise RefusedError(f"logged in a way that is not supported: {said}")
        if "inclusionPromise" not in entry:
            raise RefusedError("the log did not sign when it took the signature")
        if "inclusionProof" not in entry:
            raise RefusedError("the log does not prove that it holds the signature")
        proof = fields.record(entry["inclusionProof"], "inclusionProof", _PROOF)
        promise = fields.record(entry["inclusionPromise"], "promise", ("signedEntryTimestamp",))
        log = fields.record(entry.get("logId"), "logId", ("keyId",))
        note = fields.record(proof.get("checkpoint"), "checkpoint", ("envelope",))
        return cls(
            log=fields.content(log, "keyId", _HASH_BYTES),
            index=fields.number(entry, "logIndex"),
            time=fields.number(entry, "integratedTime"),
            body=fields.content(entry, "canonicalizedBody", _BODY_MAX),
            promise=fields.content(promise, "signedEntryTimestamp", _SIGNATURE_MAX),
            place=fields.number(proof, "logIndex"),
            size=fields.number(proof, "treeSize"),
            path=[
                fields.content({"hash": item}, "hash", _HASH_BYTES)
                for item in fields.array(proof, "hashes", _PATH_MAX)
            ],
            root=fields.content(proof, "rootHash", _HASH_BYTES),
            checkpoint=fields.text(note, "envelope"),
        )

    def logged(self, logs: Logs) -> datetime.datetime:
        """When a trusted log took the entry, which it proves to hold. Raises RefusedError."""
        if self.log not in logs:
            raise RefusedError("the signature was logged where nobody trusts it")
        key, window = logs[self.log]
        promised = {
            "body": base64.b64encode(self.body).decode("ascii"),
            "integratedTime": self.time,
            "logID": self.log.hex(),
            "logIndex": self.index,
        }
        if not key.verifies(self.promise, canonical(promised)):
            raise RefusedError("altered: the promise of the log does not hold")
        if not 0 < self.time < _TIME_MAX:
            raise RefusedError("altered: the log has another time than one of now")
        moment = datetime.datetime.fromtimestamp(self.time, datetime.UTC)
        if not window.holds(moment):
            raise RefusedError("the signature was logged when the log was not in use")
        if root_of(self.body, self.place, self.size, self.path) != self.root:
            raise RefusedError("altered: the log's proof does not hold")
        if _checkpoint(self.checkpoint, key, self.log) != (self.size, self.root):
            raise RefusedError("altered: the log's checkpoint is of another tree")
        return moment

    def matches(self, payload: bytes, signature: bytes, certificate: str) -> None:
        """The entry is of this signature, by this certificate (PEM). Raises RefusedError.

        The hash of the envelope is not looked at: it is of one of many ways to write it.
        """
        body = fields.record(fields.parsed(self.body, "the entry"), "the entry", _BODY)
        known = ("envelopeHash", "payloadHash", "signatures")
        spec = fields.record(body.get("spec"), "the log entry", known)
        expected = {
            "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hexdigest()},
            "signatures": [{"signature": _base64(signature), "verifier": _base64(certificate)}],
        }
        if body.get("kind") != _KIND["kind"] or body.get("apiVersion") != _KIND["version"]:
            raise RefusedError("altered: the log entry is of another kind than it says")
        if {key: spec.get(key) for key in expected} != expected:
            raise RefusedError("the log entry is of another signature")


def root_of(leaf: bytes, place: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of ``size`` entries that has ``leaf`` at ``place``, by RFC 9162, 2.1.3.2.

    Raises RefusedError when the path has another length than it must have.
    """
    if not place < size:
        raise RefusedError("altered: the log's proof is of no place in the tree")
    digest = sha256(b"\0" + leaf).digest()
    last = size - 1
    for node in path:
        if last == 0:
            raise RefusedError("altered: the log's proof is too long")
        if place & 1 or place == last:
            digest = sha256(b"\1" + node + digest).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            digest = sha256(b"\1" + digest + node).digest()
        place, last = place >> 1, last >> 1
    if last:
        raise RefusedError("altered: the log's proof is too short")
    return digest


def _checkpoint(text: str, key: EllipticKey, log: bytes) -> tuple[int, bytes]:
    """Size and root hash of the tree in a checkpoint that the log signed.

    A signature begins with the first four bytes of the log's id; others are witnesses'.
    """
    note, _, signed = text.partition("\n\n")
    lines = note.split("\n")
    if len(text) > _NOTE_MAX or not signed.endswith("\n") or len(lines) < 3:
        raise RefusedError("altered: the log's checkpoint is none")
    found = [_SIGNED.fullmatch(line) for line in signed[:-1].split("\n")]
    if None in found:
        raise RefusedError("altered: the log's checkpoint is none")
    signatures = [
        fields.content({"signature": match[1]}, "signature", _SIGNATURE_MAX)
        for match in found
        if match is not None
    ]
    data = f"{note}\n".encode()
    if not any(value[:4] == log[:4] and key.verifies(value[4:], data) for value in signatures):
        raise RefusedError("altered: the log did not sign the checkpoint")
    size = fields.number({"size": lines[1]}, "size")
    return size, fields.content({"root": lines[2]}, "root", _HASH_BYTES)


def _base64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode("ascii")
