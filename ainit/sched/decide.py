"""One decision: the policy proposes, the checker verifies, the heuristic takes over when it must.

Nothing here changes a machine. The policy comes in as an object, so that onnxruntime is loaded only
where there is a policy at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from . import features, place
from .errors import PolicyError
from .place import Device, Proposal

STRIKES_MAX = 3  # useless answers in a row before a policy is set aside

POLICY = "policy"
HEURISTIC = "heuristic"
ACTIVE = "active"
MISSING = "missing"
REFUSED = "refused"
SET_ASIDE = "set-aside"


class Answer(Protocol):
    """What a policy answers; ``onnx.Answer`` is one."""

    @property
    def choice(self) -> int: ...
    @property
    def score(self) -> float: ...


class Scorer(Protocol):
    """What is asked of a policy; ``onnx.Policy`` is one."""

    def propose(
        self, rows: Sequence[Sequence[float]], legal: Sequence[bool], boards: Collection[str]
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an instance goes, who said so, and why not the policy."""

    proposal: Proposal
    decided_by: str
    fallback: str
    candidates: int
    legal: int
    score: float | None
    seconds: float
    features: dict[str, float]


class Decider:
    """Decides placements. Keeps only how well the policy has done."""

    def __init__(
        self,
        policy: Scorer | None,
        state: str,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._strikes = 0
        self.state = state
        self.reason = reason
        self.proposals = 0
        self.accepted = 0

    def decide(self, profile: str, devices: Sequence[Device]) -> Decision | None:
        """The placement to make, legal on ``devices`` as given; None when there is no room."""
        started = self._clock()
        options = place.candidates(profile, devices)
        legal = [not place.check(each, profile, devices) for each in options]
        if not any(legal):
            return None
        by_index = {device.index: device for device in devices}
        rows = [features.describe(each, by_index[each.gpu]) for each in options]
        score: float | None = None
        try:
            boards = {by_index[each.gpu].name for each in options}
            proposal, score = self._ask(options, rows, legal, boards)
            if findings := place.check(proposal, profile, devices):
                raise PolicyError("; ".join(findings))
        except PolicyError as error:
            fallback = self._strike(error)
            best = place.best(profile, devices)
            if best is None:
                return None
            proposal = best
        else:
            fallback = ""
            self._strikes = 0
            self.accepted += 1
        chosen = rows[options.index(proposal)]
        return Decision(
            proposal=proposal,
            decided_by=HEURISTIC if fallback else POLICY,
            fallback=fallback,
            candidates=len(options),
            legal=sum(legal),
            score=score,
            seconds=self._clock() - started,
            features={
                name: round(value, 4)
                for name, value in zip(features.NAMES, chosen, strict=True)
                if not name.startswith("slice")
            },
        )

    def _ask(
        self,
        options: Sequence[Proposal],
        rows: Sequence[Sequence[float]],
        legal: Sequence[bool],
        boards: Collection[str],
    ) -> tuple[Proposal, float]:
        if self._policy is None:
            raise PolicyError(self.reason)
        self.proposals += 1
        answer = self._policy.propose(rows, legal, boards)
        if not 0 <= answer.choice < len(options):
            raise PolicyError(f"it chose candidate {answer.choice} of {len(options)}")
        return options[answer.choice], answer.score

    def _strike(self, error: PolicyError) -> str:
        """Count a useless answer; the reason, in words."""
        reason = f"{self.state}: {error}" if self._policy is None else str(error)
        if self._policy is not None:
            self._strikes += 1
            if self._strikes == STRIKES_MAX:
                self._policy = None
                self.state = SET_ASIDE
                self.reason = f"{STRIKES_MAX} useless answers in a row, the last: {error}"
        return reason
