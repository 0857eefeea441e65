"""A second verifier: unmodified tpm2-tools and OpenSSL, and what is between them, written anew.

It shares no code with ``ainit.attest``; it knows the formats from their specifications and what the
build predicts from ``manifest.json``. It says yes or no, and not why.

    second = Second(place, manifest, roots_pem)
    second.accepts(files, nonce, challenge)
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ainit.attest.enrol import Enrolment
    from tests.unit.attest.machine import Machine

ORDER = int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
QUOTED = [*range(10), *range(11, 16)]
RESTRICTED_SIGNING_KEY = "0023000b00050472000000100018000b00030010"
EK_HEAD = (
    "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    "0006008000430010080000000000"
)
COVERED = {0x4, 0x5, 0x80000001, 0x80000007}  # the digest is that of the event's data
KNOWN = {*range(1, 0x15)} - {0x2, 0xE, 0xF} | {0x80000000 + number for number in range(1, 0xF)}
KNOWN |= {0x80000010, 0x800000E0, 0x800000E1, 0x800000E2}
PREDICTED = (12, 13, 14)
NOTHING = bytes(4)  # a quote that selects no PCR
EMPTY = hashlib.sha256(b"").digest()


class NotAcceptedError(Exception):
    """The evidence is not accepted."""


@dataclass(frozen=True)
class Challenge:
    """The secret that was made for a name and an EK, and what came back."""

    ak_name: bytes
    ek_pub: bytes
    secret: bytes
    answer: bytes


def need(holds: bool) -> None:
    """Or the answer is no."""
    if not holds:
        raise NotAcceptedError


class Second:
    """Judges evidence in files below ``place``."""

    def __init__(self, place: Path, manifest: Mapping[str, object], roots: bytes) -> None:
        self.place = place
        self.manifest = json.loads(json.dumps(manifest))
        place.mkdir(parents=True, exist_ok=True)
        (place / "roots.pem").write_bytes(roots)
        self._after_clock = 0

    def accepts(self, files: Mapping[str, bytes], nonce: bytes, challenge: Challenge) -> bool:
        """Yes or no."""
        for name, data in files.items():
            (self.place / name).write_bytes(data)
        try:
            self._sums(files)
            self._keys(files, challenge)
            values = self._quote(files, nonce)
            folded = self._firmware(files["firmware.log"])
            counters = self._log(files["log.cel"], folded)
            need(all(values[pcr] == folded[pcr] for pcr in QUOTED))
            clock = struct.unpack(">II", files["quote.msg"][-self._after_clock :][8:16])
            need(clock == counters)
            for pcr, value in self.manifest["pcrs"].items():
                need(folded[int(pcr)].hex() == value)
        except (NotAcceptedError, ValueError, KeyError, IndexError, TypeError, struct.error):
            return False
        return True

    def _tool(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.place, capture_output=True, text=True, timeout=60, check=False
        )
        need(done.returncode == 0)
        return done.stdout

    def _sums(self, files: Mapping[str, bytes]) -> None:
        """Every file is one that the AK signed."""
        sealed = files["SHA256SUMS.quote"]
        size = int.from_bytes(sealed[:2], "big")
        message, signature = sealed[2 : 2 + size], sealed[2 + size :]
        (self.place / "sums.msg").write_bytes(message)
        (self.place / "sums.sig").write_bytes(signature)
        self._signed("sums", hashlib.sha256(files["SHA256SUMS"]).digest(), message, signature)
        need(message.endswith((NOTHING + b"\0\x20" + EMPTY, NOTHING + b"\0\0")))
        names = [name for name in files if not name.startswith("SHA256SUMS")]
        listed = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names)
        need(files["SHA256SUMS"] == listed.encode())

    def _signed(self, name: str, nonce: bytes, message: bytes, signature: bytes) -> None:
        """By the AK, over a structure that a TPM made for this nonce."""
        more = ["-f", "quote.pcrs", "-g", "sha256"] if name == "quote" else []
        files = ["-u", "ak.pem", "-m", f"{name}.msg", "-s", f"{name}.sig", "-q", nonce.hex()]
        self._tool("tpm2_checkquote", *files, *more)
        need(len(signature) == 72)
        need(int.from_bytes(signature[-32:], "big") <= ORDER // 2)
        need(message[:6] == bytes.fromhex("ff5443478018"))

    def _keys(self, files: Mapping[str, bytes], challenge: Challenge) -> None:
        """AK and EK are of their templates, of one TPM, and the EK of a known manufacturer."""
        area = files["ak.pub"]
        head = bytes.fromhex(RESTRICTED_SIGNING_KEY)
        need(int.from_bytes(area[:2], "big") == len(area) - 2 == len(head) + 68)
        need(area[2:].startswith(head))
        x, y = area[-66:-34], area[-32:]
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-in", "ak.pem", "-outform", "DER"],
            cwd=self.place, capture_output=True, timeout=60, check=False,
        ).stdout  # fmt: skip
        need(der[-64:] == x + y)
        need(challenge.ak_name == b"\0\x0b" + hashlib.sha256(area[2:]).digest())
        need(challenge.answer == challenge.secret and challenge.ek_pub == files["ek.pub"])
        need(files["ek.pub"][2 : 2 + len(bytes.fromhex(EK_HEAD))] == bytes.fromhex(EK_HEAD))
        need(len(files["ek.pub"]) == 2 + len(bytes.fromhex(EK_HEAD)) + 2 + 256)
        self._tool("openssl", "x509", "-inform", "DER", "-in", "ek.crt", "-out", "ek.pem")
        need(self._tool("openssl", "x509", "-in", "ek.pem", "-outform", "PEM").count("BEGIN") == 1)
        self._tool("openssl", "verify", "-partial_chain", "-CAfile", "roots.pem", "ek.pem")
        modulus = self._tool("openssl", "x509", "-in", "ek.pem", "-noout", "-modulus")
        need(modulus.strip().lower() == f"modulus={files['ek.pub'][-256:].hex()}")

    def _quote(self, files: Mapping[str, bytes], nonce: bytes) -> dict[int, bytes]:
        """The values that were quoted."""
        message = files["quote.msg"]
        need(files["nonce"] == nonce)
        self._signed("quote", nonce, message, files["quote.sig"])
        mask = sum(1 << pcr for pcr in QUOTED)
        tail = struct.pack(">IHB", 1, 0x000B, 3) + mask.to_bytes(3, "little") + b"\0\x20"
        self._after_clock = 17 + 8 + len(tail) + 32
        need(message[-len(tail) - 32 : -32] == tail)
        need(message[-self._after_clock + 16] in (0, 1))
        signer = b"\0\x0b" + hashlib.sha256(files["ak.pub"][2:]).digest()
        qualified = b"\0\x0b" + hashlib.sha256(bytes.fromhex("4000000b") + signer).digest()
        named = b"\0\x22" + qualified + struct.pack(">H", len(nonce)) + nonce
        need(message[6 : -self._after_clock] == named)
        raw = files["quote.pcrs"]
        values = {}
        for number, pcr in enumerate(QUOTED):
            start = 132 + 4 + (number // 8) * 532 + 4 + (number % 8) * 66 + 2
            values[pcr] = raw[start : start + 32]
        need(hashlib.sha256(b"".join(values.values())).digest() == message[-32:])
        need(len(raw) == 132 + 4 + 2 * 532)
        return values

    def _firmware(self, log: bytes) -> dict[int, bytes]:
        """The PCRs that the firmware's log leads to. tpm2_eventlog reads real logs only:
        tests/qemu asks it.
        """
        (size,) = struct.unpack_from("<I", log, 28)
        at = 32 + size
        values = {pcr: bytes(32) for pcr in range(24)}
        while at < len(log):
            pcr, kind, count, algorithm = struct.unpack_from("<IIIH", log, at)
            need(count == 1 and algorithm == 0x000B and kind in KNOWN and pcr < 24)
            digest = log[at + 14 : at + 46]
            (length,) = struct.unpack_from("<I", log, at + 46)
            data = log[at + 50 : at + 50 + length]
            need(len(data) == length)
            need(kind not in COVERED or digest == hashlib.sha256(data).digest())
            if kind != 3:
                values[pcr] = hashlib.sha256(values[pcr] + digest).digest()
            at += 50 + length
        return values

    def _log(self, log: bytes, values: dict[int, bytes]) -> tuple[int, int]:
        """Extend what ainit's log holds; it must be what the build predicts, after the counters."""
        lines = log.decode().split("\n")
        need(lines.pop() == "")
        first = json.loads(lines[0])["content"]
        counters = first["resets"], first["restarts"]
        contents = [
            {"type": "boot", "resets": counters[0], "restarts": counters[1]},
            *self._predicted(),
        ]
        need(len(lines) == len(contents))
        for number, (line, content) in enumerate(zip(lines, contents, strict=True)):
            pcr = self._pcr(content)
            canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
            digest = hashlib.sha256(canonical).digest()
            record = json.loads(line)
            need(record == {
                "recnum": number, "pcr": pcr, "content_type": "ainos", "content": content,
                "digests": [{"hashAlg": "sha256", "digest": digest.hex()}],
            })  # fmt: skip
            need(line == json.dumps(record, separators=(",", ":")))
            values[pcr] = hashlib.sha256(values[pcr] + digest).digest()
        return counters

    def _predicted(self) -> list[dict[str, object]]:
        manifest = self.manifest
        config = {"type": "machine-config", "name": "machine", **manifest["machine_config"]}
        models = [{"type": one["kind"], "name": one["name"], "digest": one["digest"]}
                  for one in manifest["models"]]  # fmt: skip
        agents = [{"type": "agent", **one} for one in manifest["agents"]]
        by_name = [sorted(part, key=lambda one: str(one["name"])) for part in (models, agents)]
        caps = [{"type": "cap", "pcr": pcr} for pcr in PREDICTED]
        return [config, *by_name[0], *by_name[1], *caps]

    @staticmethod
    def _pcr(content: Mapping[str, object]) -> int:
        kinds = {"boot": 15, "machine-config": 12, "model": 13, "policy": 13, "agent": 14}
        return int(str(content["pcr"])) if content["type"] == "cap" else kinds[str(content["type"])]


def second_of(machine: Machine, place: Path) -> Second:
    """The second verifier of a machine of the tests."""
    from tests.unit.attest.machine import manifest

    return Second(place, manifest(), machine.tpm.manufacturers)


def agree(second: Second, machine: Machine, answer: Enrolment) -> tuple[bool, bool]:
    """What our verifier says of an answer, and what the second one says."""
    from ainit.attest.evidence import FILES

    asked = answer.activation
    files = {name: getattr(answer.evidence, field) for field, name in FILES.items()}
    challenge = Challenge(asked.ak_name, asked.ek_pub, asked.secret, asked.answer)
    ours = machine.judge(answer).accepted
    return ours, second.accepts(files, answer.nonce, challenge)
