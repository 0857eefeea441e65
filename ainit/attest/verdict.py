"""What verification says: every finding, and the facts for the report. Frozen records only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum


class Scope(Enum):
    """What a finding speaks against."""

    EVIDENCE = "evidence"  # the evidence proves nothing, or not this machine
    MACHINE = "machine"  # the evidence holds, and the machine is not as it was built


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``subject`` is an evidence file, a PCR, or a named artefact."""

    scope: Scope
    code: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


class State(Enum):
    """What became of one artefact on the machine."""

    MEASURED = "measured"  # as predicted
    ALTERED = "altered"
    MISSING = "missing"
    EXTRA = "extra"
    REFUSED = "refused"
    ACCEPTED = "accepted"  # not the image's, and the policy accepts it


@dataclass(frozen=True, slots=True)
class PcrFact:
    """One quoted PCR. ``at_cap`` is its value when the boot set was closed (PCRs 12 to 14).

    Predictions hold at the cap; what was measured later is judged from the log. ``match`` is None
    for a PCR that has no prediction.
    """

    pcr: int
    predicted: str | None
    at_cap: str | None
    reported: str
    match: bool | None


@dataclass(frozen=True, slots=True)
class ArtefactFact:
    """One model, policy, agent or machine configuration. ``record`` is its number in the log."""

    kind: str
    name: str
    predicted: str | None
    measured: str | None
    state: State
    record: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ClockFact:
    """The TPM's clock and counters at the time of the quote."""

    milliseconds: int
    resets: int
    restarts: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the evidence says, believed or not. Fields are empty where it says nothing."""

    nonce: str = ""
    fresh: bool | None = None  # None: nobody said which nonce was sent
    ak: str = ""
    ek_issuer: str = ""
    ek_fingerprint: str = ""
    activated: bool | None = None
    secure_boot: bool | None = None
    firmware_events: int = 0
    clock: ClockFact | None = None
    pcrs: tuple[PcrFact, ...] = ()
    artefacts: tuple[ArtefactFact, ...] = ()
    version: str = ""  # of the image that the rest was held against


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings, worst first, and the facts."""

    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def genuine(self) -> bool:
        """Does the evidence hold, whatever it says about the machine?"""
        return all(finding.scope is not Scope.EVIDENCE for finding in self.findings)

    @property
    def accepted(self) -> bool:
        """Does the evidence hold, and is the machine as it was built?"""
        return not self.findings

    def with_findings(self, more: Iterable[Finding]) -> Verdict:
        """The verdict with findings that rest on what the verifier remembers."""
        return Verdict((*more, *self.findings), self.facts)

    def as_json(self) -> dict[str, object]:
        """The verdict as JSON values."""
        plain = asdict(self, dict_factory=_plain)
        return {"accepted": self.accepted, "genuine": self.genuine, **plain}


def _plain(items: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value.value if isinstance(value, Enum) else value for key, value in items}
