"""One decision: the policy proposes, the checker verifies, the heuristic takes over when it must.

Nothing here changes a machine. The policy comes in as an object, so that onnxruntime is loaded only
where there is a policy at all. A *shadow* is a second policy: it is asked the same, after the first
and off its clock; what it would have done is counted, and never done.

    decision = decider.decide(state.single("1g.10gb", devices))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import candidates, fallback, features
from .candidates import Candidate
from .errors import PolicyError, PolicyLateError
from .place import Proposal
from .state import State

STRIKES_MAX = 3  # useless answers in a row before a policy is set aside
LATE_MAX = 10  # and late ones: a machine may be busy for a moment

POLICY = "policy"
HEURISTIC = "heuristic"
ACTIVE = "active"
MISSING = "missing"
REFUSED = "refused"
SET_ASIDE = "set-aside"


class Answer(Protocol):
    """What a policy answers; ``onnx.Answer`` is one, and has the ``scores`` of all candidates."""

    @property
    def choice(self) -> int: ...
    @property
    def score(self) -> float: ...


class Scorer(Protocol):
    """What is asked of a policy; ``onnx.Policy`` is one."""

    def propose(self, rows: Any, legal: Any, boards: Collection[str]) -> Answer: ...


class Question(Protocol):
    """What there is to decide; ``candidates.Question`` and ``tables.Question`` are."""

    @property
    def candidates(self) -> Sequence[Candidate]: ...
    @property
    def legal(self) -> Any: ...
    @property
    def rows(self) -> Any: ...
    @property
    def boards(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, who said so, and why not the policy. ``candidate`` may be to wait.

    ``alternative`` is the legal candidate that the policy scored next; ``shadow`` what a second
    policy would have done, None without one. ``values``: the features of what was chosen.
    """

    candidate: Candidate
    decided_by: str
    fallback: str
    candidates: int
    legal: int
    score: float | None
    seconds: float
    alternative: Candidate | None = None
    alternative_score: float | None = None
    shadow: str | None = None
    values: Any = field(default=(), repr=False, compare=False)

    @property
    def proposal(self) -> Proposal:
        """The placement. Only what is not to wait has one."""
        if self.candidate.proposal is None:
            raise ValueError("to wait has no placement")
        return self.candidate.proposal

    @property
    def features(self) -> dict[str, float]:
        """The features of what was chosen, by name."""
        pairs = zip(features.NAMES, self.values, strict=False)
        return {name: round(float(value), 4) for name, value in pairs}


class Shadow:
    """A second policy, and how often it agreed with what was done."""

    def __init__(self, policy: Scorer) -> None:
        self.policy = policy
        self.asked = 0
        self.agreed = 0
        self.failed = 0

    def watch(self, question: Question, chosen: Candidate, state: State) -> str:
        """What it would have done, in words."""
        self.asked += 1
        try:
            answer = self.policy.propose(question.rows, question.legal, question.boards)
            wanted = question.candidates[answer.choice]
            if findings := candidates.check(wanted, state):
                raise PolicyError("; ".join(findings))
        except (PolicyError, IndexError) as error:
            self.failed += 1
            return f"failed: {error}"
        if wanted == chosen:
            self.agreed += 1
            return "agrees"
        return describe(wanted)


class Decider:
    """Decides. Keeps only how well the policy has done."""

    def __init__(
        self,
        policy: Scorer | None,
        state: str,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
        ask: Callable[[State], Question] = candidates.ask,
    ) -> None:
        self._clock = clock
        self._ask_all = ask
        self.shadow: Shadow | None = None
        self.take_over(policy, state, reason)

    def take_over(self, policy: Scorer | None, state: str, reason: str = "") -> None:
        """Decide by this policy from now on; its record is clear."""
        self._policy = policy
        self._strikes = self._late = 0
        self.state = state
        self.reason = reason
        self.proposals = self.accepted = self.late = 0

    def set_aside(self, reason: str) -> None:
        """Decide without the policy."""
        if self._policy is not None:
            self._policy = None
            self.state, self.reason = SET_ASIDE, reason

    @property
    def has_policy(self) -> bool:
        """Whether a policy is asked."""
        return self._policy is not None

    def decide(self, state: State) -> Decision | None:
        """What to do, legal in ``state``; None when there is nothing that could be done."""
        started = self._clock()
        question = self._ask_all(state)
        if not is_able(question):
            return None
        answer: Answer | None = None
        try:
            answer = self._propose(question)
            index = answer.choice
            chosen = question.candidates[index]
            if findings := candidates.check(chosen, state):
                raise PolicyError("; ".join(findings))
        except PolicyError as error:
            reason = self._strike(error)
            best = fallback.choose(state)
            if best is None:
                return None
            chosen, index = best, _index(best, question)
        else:
            reason = ""
            self._strikes = self._late = 0
            self.accepted += 1
        seconds = self._clock() - started
        other, score = (None, None) if answer is None else _next(answer, index, question)
        width = len(features.NAMES)
        return Decision(
            candidate=chosen,
            decided_by=HEURISTIC if reason else POLICY,
            fallback=reason,
            candidates=len(question.candidates),
            legal=_count(question.legal),
            score=None if answer is None else answer.score,
            seconds=seconds,
            alternative=other,
            alternative_score=score,
            shadow=self.shadow.watch(question, chosen, state) if self.shadow else None,
            values=() if index < 0 else _row(question.rows, index, width),
        )

    def _propose(self, question: Question) -> Answer:
        if self._policy is None:
            raise PolicyError(self.reason)
        self.proposals += 1
        answer = self._policy.propose(question.rows, question.legal, question.boards)
        if not 0 <= answer.choice < len(question.candidates):
            raise PolicyError(f"it chose candidate {answer.choice} of {len(question.candidates)}")
        return answer

    def _strike(self, error: PolicyError) -> str:
        """Count a useless answer; the reason, in words."""
        if self._policy is None:
            return f"{self.state}: {error}"
        if isinstance(error, PolicyLateError):
            self.late += 1
            self._late += 1
            if self._late >= LATE_MAX:
                self.set_aside(f"{LATE_MAX} late answers in a row, the last: {error}")
            return str(error)
        self._strikes += 1
        if self._strikes >= STRIKES_MAX:
            self.set_aside(f"{STRIKES_MAX} useless answers in a row, the last: {error}")
        return str(error)


def is_able(question: Question) -> bool:
    """Whether something but waiting is legal; ``tables.Question`` knows that already."""
    if isinstance(able := getattr(question, "able", None), bool):
        return able
    pairs = zip(question.candidates, question.legal, strict=True)
    return any(legal and each.kind is not candidates.Kind.WAIT for each, legal in pairs)


def describe(candidate: Candidate) -> str:
    """A candidate in words: ``start a 2g.20gb at 0:4``."""
    proposal = candidate.proposal
    if proposal is None:
        return "wait"
    where = f"{proposal.profile} at {proposal.gpu}:{proposal.start}"
    gone = f" instead of {', '.join(candidate.displaces)}" if candidate.displaces else ""
    return f"{candidate.kind.value} {candidate.request} {where}{gone}".replace("  ", " ")


def _index(candidate: Candidate, question: Question) -> int:
    """The place of a candidate, -1 where it is none of them."""
    return next((at for at, each in enumerate(question.candidates) if each == candidate), -1)


def _count(legal: Any) -> int:
    return int(legal.sum() if hasattr(legal, "sum") else sum(legal))


def _row(rows: Any, index: int, width: int) -> Any:
    if getattr(rows, "ndim", 1) == 2:
        return rows[index].copy()
    return tuple(rows[index * width : (index + 1) * width])


def _next(answer: Answer, index: int, question: Question) -> tuple[Candidate | None, float | None]:
    """The legal candidate with the highest score but one."""
    scores = getattr(answer, "scores", None)
    if scores is None:
        return None, None
    others = scores.copy()
    others[index if index >= 0 else answer.choice] = -math.inf
    best = int(others.argmax())
    if not question.legal[best] or others[best] == -math.inf:
        return None, None
    return question.candidates[best], float(others[best])
