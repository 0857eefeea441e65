"""What rounds of decisions know and say: limits, claims, and decisions with their outcome. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from .decide import Decision
from .place import Proposal

CLAIM_S = 120.0  # how long those in the way may take to stop, with all that PID 1 does for that
UNCOLLECTED_S = 120.0  # an instance that nobody fetched goes back
STEPS_MAX = 64  # of one round
FAILURES_MAX = 3
ALLOCATED = "allocated"


@dataclass(frozen=True, slots=True)
class Limits:
    """How often services are moved, and how long one is left alone."""

    moves_per_hour: int = 6
    residency_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A place for somebody, once all who are in the way let go; good until a time."""

    name: str
    proposal: Proposal
    waits_for: frozenset[str]
    until: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision, who it was for, and what became of it; ``time`` in seconds since boot."""

    time: float
    agent: str
    decision: Decision
    outcome: str
