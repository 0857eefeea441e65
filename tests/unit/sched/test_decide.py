from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import candidates, decide, place
from ainit.sched.decide import Decider, Shadow
from ainit.sched.errors import PolicyError, PolicyLateError
from ainit.sched.onnx import Policy
from ainit.sched.place import Device
from ainit.sched.state import Request, Running, State, single
from ainit.sched.tables import Tables
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.policies import path_of
from tests.unit.sched.test_place import PROFILES, holding, machines

EMPTY = (board("H100-80GB", 0), board("H100-80GB", 1))
USED = (holding(EMPTY[0], ("1g.10gb", 0)), EMPTY[1])
TABLES = Tables()


@dataclass
class Answer:
    choice: int
    score: float = 0.5
    scores: Any = None


class Says:
    """A policy that answers with one thing, whatever it is asked."""

    def __init__(self, answer: int | PolicyError) -> None:
        self.answer = answer
        self.asked = 0

    def propose(self, rows: array[float], legal: Sequence[bool], boards: Collection[str]) -> Answer:
        self.asked += 1
        if isinstance(self.answer, PolicyError):
            raise self.answer
        return Answer(self.answer)


def active(answer: int | PolicyError) -> tuple[Decider, Says]:
    policy = Says(answer)
    return Decider(policy, decide.ACTIVE), policy


def test_a_legal_proposal_is_taken() -> None:
    decider, _ = active(9)
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert (decision.proposal.gpu, decision.proposal.start) == (1, 2)
    assert (decision.decided_by, decision.fallback) == ("policy", "")
    assert (decision.candidates, decision.legal, decision.score) == (14, 13, 0.5)
    assert decision.features["size"] == pytest.approx(1 / 8, abs=1e-4)
    assert (decider.proposals, decider.accepted) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (0, "overlaps instance 1"),
        (14, "candidate 14 of 14"),
        (-1, "candidate -1 of 14"),
        (PolicyError("a score is NaN or infinite"), "NaN"),
        (PolicyError("late: stopped after 50 ms"), "late"),
    ],
)
def test_the_heuristic_takes_over_and_says_why(answer: int | PolicyError, reason: str) -> None:
    decider, _ = active(answer)
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert decision.decided_by == "heuristic"
    assert reason in decision.fallback
    assert decision.proposal == place.best("1g.10gb", USED)
    assert (decider.proposals, decider.accepted) == (1, 0)


def test_a_missing_policy_is_the_reason() -> None:
    decider = Decider(None, decide.MISSING, "no policy was handed over")
    decision = decider.decide(single("1g.10gb", EMPTY))
    assert decision is not None
    assert (decision.decided_by, decision.score) == ("heuristic", None)
    assert decision.fallback == "missing: no policy was handed over"
    assert decider.proposals == 0


def test_without_room_nobody_is_asked() -> None:
    decider, policy = active(0)
    full = [holding(each, ("7g.80gb", 0)) for each in EMPTY]
    assert decider.decide(single("1g.10gb", full)) is None
    assert decider.decide(single("9g.90gb", EMPTY)) is None
    assert policy.asked == 0


def test_three_useless_answers_in_a_row_set_the_policy_aside() -> None:
    decider, policy = active(0)
    for _ in range(5):
        assert decider.decide(single("1g.10gb", USED)) is not None
    assert policy.asked == 3
    assert decider.state == decide.SET_ASIDE
    assert "overlaps" in decider.reason


def test_a_good_answer_clears_the_record() -> None:
    decider, policy = active(0)
    for answer in (0, 0, 1, 0, 0):
        policy.answer = answer
        decider.decide(single("1g.10gb", USED))
    assert decider.state == decide.ACTIVE


@given(machines(), PROFILES, st.integers(-2, 40))
def test_no_policy_ever_gets_an_illegal_placement_through(
    devices: tuple[Device, ...], profile: str, choice: int
) -> None:
    decider, _ = active(choice)
    decision = decider.decide(single(profile, devices))
    options = place.candidates(profile, devices)
    if decision is None:
        assert all(place.check(each, profile, devices) for each in options)
    else:
        assert place.check(decision.proposal, profile, devices) == []


@pytest.mark.parametrize(
    ("mutant", "devices", "reason"),
    [
        ("nan", EMPTY, "NaN"),
        ("nan", USED, "NaN"),
        ("overlap", EMPTY, "candidate 14 of 14"),
        ("overlap", USED, "overlaps instance 1"),
    ],
)
def test_the_mutants_decide_nothing(mutant: str, devices: tuple[Device, ...], reason: str) -> None:
    decider = Decider(Policy.load(path_of(mutant), deadline=30.0), decide.ACTIVE)
    decision = decider.decide(single("1g.10gb", devices))
    assert decision is not None
    assert decision.decided_by == "heuristic"
    assert reason in decision.fallback
    assert decision.proposal == place.best("1g.10gb", devices)


def test_the_shipped_policy_decides() -> None:
    decider = Decider(Policy.load(path_of(), deadline=30.0), decide.ACTIVE)
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert (decision.decided_by, decision.fallback) == ("policy", "")


def test_a_gpu_without_mig_is_no_candidate() -> None:
    decider = Decider(None, decide.MISSING, "")
    off = replace(EMPTY[0], mig=False)
    assert decider.decide(single("1g.10gb", [off])) is None
    decision = decider.decide(single("1g.10gb", [off, EMPTY[1]]))
    assert decision is not None
    assert decision.proposal.gpu == 1


SPEEDS = {"1g.10gb": 0.3, "3g.40gb": 0.7}
SHORT = Request("short", SPEEDS, estimate_s=10.0)
LONG = Request("long", SPEEDS, estimate_s=1000.0)


def test_a_queue_is_decided_by_the_policy() -> None:
    decider = Decider(Policy.load(path_of(), deadline=30.0), decide.ACTIVE)
    decision = decider.decide(State(EMPTY, (LONG, SHORT)))
    assert decision is not None
    assert (decision.decided_by, decision.candidate.request) == ("policy", "short")


def test_without_a_policy_the_shortest_gets_its_smallest_profile() -> None:
    decision = Decider(None, decide.MISSING, "").decide(State(EMPTY, (LONG, SHORT)))
    assert decision is not None
    assert (decision.candidate.request, decision.proposal.profile) == ("short", "1g.10gb")


def test_to_wait_is_an_answer_without_a_placement() -> None:
    state = State(EMPTY, (LONG,))
    decider, policy = active(0)
    policy.answer = len(candidates.ask(state).candidates) - 1
    decision = decider.decide(state)
    assert decision is not None
    assert decision.candidate.kind is candidates.Kind.WAIT
    with pytest.raises(ValueError, match="no placement"):
        _ = decision.proposal


def test_nobody_is_asked_when_to_wait_is_all_there_is() -> None:
    decider, policy = active(0)
    full = [holding(each, ("7g.80gb", 0)) for each in EMPTY]
    assert decider.decide(State(full, (LONG,))) is None
    assert decider.decide(State(EMPTY, ())) is None
    assert policy.asked == 0


def test_who_may_not_be_stopped_is_not_stopped() -> None:
    """Whatever a policy answers, work that may not be moved keeps its instance."""
    full = holding(EMPTY[0], ("7g.80gb", 0))
    runs = Running(Request("runs", {"7g.80gb": 1.0}, 9999.0), 0, "7g.80gb", 0, 500.0)
    for choice in range(4):
        decider, _ = active(choice)
        assert decider.decide(State([full], (SHORT,), (runs,))) is None
    decider, _ = active(0)
    decision = decider.decide(State([full], (SHORT,), (replace(runs, movable=True),)))
    assert decision is not None
    assert decision.candidate.displaces == ("runs",)


# Late answers, a shadow, the alternative, and another policy.


class Scores(Says):
    """A policy that scores every candidate, and chooses the best."""

    def __init__(self, *scores: float) -> None:
        super().__init__(0)
        self.scores = np.array(scores)

    def propose(self, rows: Any, legal: Any, boards: Collection[str]) -> Answer:
        self.asked += 1
        best = int(self.scores.argmax())
        return Answer(best, float(self.scores[best]), self.scores)


def test_one_late_answer_is_not_taken_and_no_strike() -> None:
    decider, policy = active(PolicyLateError("late: 3.0 ms of 1.0"))
    for _ in range(decide.LATE_MAX - 1):
        decision = decider.decide(single("1g.10gb", USED))
        assert decision is not None
        assert (decision.decided_by, decision.fallback) == ("heuristic", "late: 3.0 ms of 1.0")
    policy.answer = 1
    decider.decide(single("1g.10gb", USED))
    assert (decider.state, decider.late) == (decide.ACTIVE, decide.LATE_MAX - 1)


def test_a_policy_that_is_always_late_is_set_aside() -> None:
    decider, policy = active(PolicyLateError("late"))
    for _ in range(decide.LATE_MAX + 3):
        decider.decide(single("1g.10gb", USED))
    assert decider.state == decide.SET_ASIDE
    assert policy.asked == decide.LATE_MAX


def test_the_alternative_is_the_legal_one_with_the_next_score() -> None:
    decider = Decider(Scores(-9.0, 0.1, 0.9, 0.5, *[0.0] * 10), decide.ACTIVE)
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert decision.candidate == candidates.ask(single("1g.10gb", USED)).candidates[2]
    assert decision.alternative == candidates.ask(single("1g.10gb", USED)).candidates[3]
    assert (decision.score, decision.alternative_score) == (0.9, 0.5)


def test_an_illegal_candidate_is_no_alternative() -> None:
    decider = Decider(Scores(0.9, 0.1), decide.ACTIVE)
    state = single("3g.40gb", (holding(EMPTY[0], ("3g.40gb", 0)),))
    assert len(candidates.ask(state).candidates) == 2
    decision = decider.decide(state)
    assert decision is not None
    assert decision.decided_by == "heuristic"  # it chose the one that is taken


def test_a_shadow_is_asked_and_never_followed() -> None:
    decider, _ = active(9)
    other = Says(10)
    decider.shadow = Shadow(other)
    decision = decider.decide(single("1g.10gb", USED, "a"))
    assert decision is not None
    assert (decision.proposal.gpu, decision.proposal.start) == (1, 2)
    assert decision.shadow == "start a 1g.10gb at 1:3"
    other.answer = 9
    decision = decider.decide(single("1g.10gb", USED, "a"))
    assert decision is not None
    assert decision.shadow == "agrees"
    counts = decider.shadow
    assert (counts.asked, counts.agreed, counts.failed) == (2, 1, 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (PolicyError("a score is NaN"), "a score is NaN"),
        (0, "overlaps"),
        (99, "index out of range"),
    ],
)
def test_what_is_wrong_with_a_shadow_harms_nobody(answer: int | PolicyError, words: str) -> None:
    decider, _ = active(9)
    decider.shadow = Shadow(Says(answer))
    for _ in range(5):
        decision = decider.decide(single("1g.10gb", USED))
        assert decision is not None
        assert decision.decided_by == "policy"
        assert decision.shadow is not None
        assert words in decision.shadow
    assert decider.shadow.failed == 5
    assert decider.state == decide.ACTIVE


def test_a_shadow_watches_the_heuristic_too() -> None:
    decider = Decider(None, decide.MISSING, "none")
    decider.shadow = Shadow(Says(9))
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert decision.decided_by == "heuristic"
    assert decision.shadow is not None


def test_another_policy_begins_with_a_clear_record() -> None:
    decider, _ = active(0)
    for _ in range(decide.STRIKES_MAX):
        decider.decide(single("1g.10gb", USED))
    assert decider.state == decide.SET_ASIDE
    decider.take_over(Says(9), decide.ACTIVE)
    decision = decider.decide(single("1g.10gb", USED))
    assert decision is not None
    assert decision.decided_by == "policy"
    assert (decider.state, decider.proposals, decider.accepted) == (decide.ACTIVE, 1, 1)


@given(machines(), PROFILES, st.integers(-2, 40))
def test_the_fast_way_gets_no_illegal_placement_through(
    devices: tuple[Device, ...], profile: str, choice: int
) -> None:
    decider = Decider(Says(choice), decide.ACTIVE, ask=TABLES.ask)
    decision = decider.decide(single(profile, devices))
    if decision is not None:
        assert place.check(decision.proposal, profile, devices) == []
    else:
        options = place.candidates(profile, devices)
        assert all(place.check(each, profile, devices) for each in options)
