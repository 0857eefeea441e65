"""What a verifier remembers: nonces that it gave out, and machines that it accepted before.

A nonce is good for one answer and for a while. A machine is known by its endorsement key; once it
was accepted, another EK or AK under its name is refused, and its TPM's counters must not go back.
One JSON file each, replaced as a whole.

    register = Register("/var/lib/ainos-verifier")
    nonce = register.issue(now)
    …
    why = register.redeem(nonce, now)
"""

from __future__ import annotations

import datetime
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from ..errors import ConfigError, Finding
from ..linux import files
from ..wire import codec
from .evidence import Evidence
from .verdict import Finding as Objection
from .verdict import Scope, Verdict
from .verify import Trust, verify

NONCE_BYTES = 32
LIFETIME = datetime.timedelta(minutes=5)
OUTSTANDING = 10_000  # so that nobody fills the disk by asking
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class Known:
    """A machine as it was accepted last: its keys, and its quote (hexadecimal) with counters."""

    ek: str  # fingerprint of the EK's certificate
    ak: str  # the AK's name
    quote: str
    version: str
    at: str


class Register:
    """The files of one verifier. Raises OSError, and ConfigError for a file that is not its own."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        os.makedirs(f"{directory}/machines", mode=0o700, exist_ok=True)

    # Nonces

    def issue(self, now: datetime.datetime) -> bytes:
        """A fresh nonce. Raises BlockingIOError while too many wait for their answer."""
        nonce = os.urandom(NONCE_BYTES)
        with self._nonces(now) as known:
            if len(known) >= OUTSTANDING:
                raise BlockingIOError("too many nonces wait for an answer")
            known[nonce.hex()] = (now + LIFETIME).isoformat()
        return nonce

    def redeem(self, nonce: bytes, now: datetime.datetime) -> str:
        """Use a nonce up. Why it is not good, or nothing."""
        with self._nonces(datetime.datetime.min.replace(tzinfo=datetime.UTC)) as known:
            until = known.pop(nonce.hex(), None)
        if until is None:
            return "the nonce was never given out, or was used before"
        if now > datetime.datetime.fromisoformat(str(until)):
            return f"the nonce was good until {until}"
        return ""

    @contextmanager
    def _nonces(self, now: datetime.datetime) -> Iterator[dict[str, str]]:
        """What waits for an answer, less what expired before ``now``; written back at the end."""
        path = f"{self._directory}/nonces.json"
        with self._locked():
            stored = self._load(path) or {}
            known = {
                str(nonce): str(until)
                for nonce, until in stored.items()
                if datetime.datetime.fromisoformat(str(until)) >= now
            }
            yield known
            files.replace(path, codec.canonical(known) + b"\n")

    # Machines

    def known(self, name: str) -> Known | None:
        """The machine of this name as it was accepted last."""
        record = self._load(self._path(name))
        return Known(**record) if record else None  # type: ignore[arg-type]

    def objections(self, name: str, verdict: Verdict) -> list[Objection]:
        """What speaks against evidence that is said to be of this machine."""
        known = self.known(name)
        if known is None:
            return []
        found = []
        for what, before, now in (
            ("endorsement key", known.ek, verdict.facts.ek_fingerprint),
            ("attestation key", known.ak, verdict.facts.ak),
        ):
            if before != now:
                text = f"has another {what} than before: another TPM, or a cleared one"
                found.append(Objection(Scope.EVIDENCE, "another-machine", name, text))
        return found

    def accept(self, name: str, verdict: Verdict, quote: bytes, now: datetime.datetime) -> None:
        """Remember a machine that was accepted."""
        facts = verdict.facts
        at = now.isoformat(timespec="seconds")
        known = Known(facts.ek_fingerprint, facts.ak, quote.hex(), facts.version, at)
        with self._locked():
            files.replace(self._path(name), codec.canonical(asdict(known)) + b"\n")

    def forget(self, name: str) -> None:
        """Forget a machine, whose TPM was replaced or cleared. Raises FileNotFoundError."""
        os.unlink(self._path(name))

    def names(self) -> list[str]:
        """The machines that are known."""
        entries = os.listdir(f"{self._directory}/machines")
        return sorted(entry.removesuffix(".json") for entry in entries if entry.endswith(".json"))

    def _path(self, name: str) -> str:
        if not _NAME.match(name):
            raise ConfigError([Finding(name, 0, "is no name of a machine")])
        return os.path.abspath(f"{self._directory}/machines/{name}.json")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(f"{self._directory}/lock", "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _load(path: str) -> dict[str, object] | None:
        try:
            with open(path, "rb") as file:
                record = codec.loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ConfigError(
                [Finding(path, 1, f"not what the verifier wrote: {error}")]
            ) from error
        if not isinstance(record, dict):
            raise ConfigError([Finding(path, 1, "not what the verifier wrote")])
        return record


def judge(evidence: Evidence, trust: Trust, register: Register, machine: str) -> Verdict:
    """Judge what is said to be evidence of this machine, also by what is remembered of it; remember
    it when it is accepted.
    """
    known = register.known(machine)
    previous = bytes.fromhex(known.quote) if known else None
    verdict = verify(evidence, replace(trust, previous=previous))
    verdict = verdict.with_findings(register.objections(machine, verdict))
    if verdict.accepted:
        register.accept(machine, verdict, evidence.quote_msg, trust.now)
    return verdict
