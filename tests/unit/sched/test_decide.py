from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import decide, place
from ainit.sched.decide import Decider
from ainit.sched.errors import PolicyError
from ainit.sched.onnx import Policy
from ainit.sched.place import Device
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.policies import path_of
from tests.unit.sched.test_place import PROFILES, holding, machines

EMPTY = (board("H100-80GB", 0), board("H100-80GB", 1))
USED = (holding(EMPTY[0], ("1g.10gb", 0)), EMPTY[1])


@dataclass
class Answer:
    choice: int
    score: float = 0.5


class Says:
    """A policy that answers with one thing, whatever it is asked."""

    def __init__(self, answer: int | PolicyError) -> None:
        self.answer = answer
        self.asked = 0

    def propose(
        self, rows: Sequence[Sequence[float]], legal: Sequence[bool], boards: Collection[str]
    ) -> Answer:
        self.asked += 1
        if isinstance(self.answer, PolicyError):
            raise self.answer
        return Answer(self.answer)


def active(answer: int | PolicyError) -> tuple[Decider, Says]:
    policy = Says(answer)
    return Decider(policy, decide.ACTIVE), policy


def test_a_legal_proposal_is_taken() -> None:
    decider, _ = active(9)
    decision = decider.decide("1g.10gb", USED)
    assert decision is not None
    assert (decision.proposal.gpu, decision.proposal.start) == (1, 2)
    assert (decision.decided_by, decision.fallback) == ("policy", "")
    assert (decision.candidates, decision.legal, decision.score) == (14, 13, 0.5)
    assert decision.features["compute"] == pytest.approx(1 / 7, abs=1e-4)
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
    decision = decider.decide("1g.10gb", USED)
    assert decision is not None
    assert decision.decided_by == "heuristic"
    assert reason in decision.fallback
    assert decision.proposal == place.best("1g.10gb", USED)
    assert (decider.proposals, decider.accepted) == (1, 0)


def test_a_missing_policy_is_the_reason() -> None:
    decider = Decider(None, decide.MISSING, "no policy was handed over")
    decision = decider.decide("1g.10gb", EMPTY)
    assert decision is not None
    assert (decision.decided_by, decision.score) == ("heuristic", None)
    assert decision.fallback == "missing: no policy was handed over"
    assert decider.proposals == 0


def test_without_room_nobody_is_asked() -> None:
    decider, policy = active(0)
    full = [holding(each, ("7g.80gb", 0)) for each in EMPTY]
    assert decider.decide("1g.10gb", full) is None
    assert decider.decide("9g.90gb", EMPTY) is None
    assert policy.asked == 0


def test_three_useless_answers_in_a_row_set_the_policy_aside() -> None:
    decider, policy = active(0)
    for _ in range(5):
        assert decider.decide("1g.10gb", USED) is not None
    assert policy.asked == 3
    assert decider.state == decide.SET_ASIDE
    assert "overlaps" in decider.reason


def test_a_good_answer_clears_the_record() -> None:
    decider, policy = active(0)
    for answer in (0, 0, 1, 0, 0):
        policy.answer = answer
        decider.decide("1g.10gb", USED)
    assert decider.state == decide.ACTIVE


@given(machines(), PROFILES, st.integers(-2, 40))
def test_no_policy_ever_gets_an_illegal_placement_through(
    devices: tuple[Device, ...], profile: str, choice: int
) -> None:
    decider, _ = active(choice)
    decision = decider.decide(profile, devices)
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
    decision = decider.decide("1g.10gb", devices)
    assert decision is not None
    assert decision.decided_by == "heuristic"
    assert reason in decision.fallback
    assert decision.proposal == place.best("1g.10gb", devices)


def test_the_shipped_policy_decides() -> None:
    decider = Decider(Policy.load(path_of(), deadline=30.0), decide.ACTIVE)
    decision = decider.decide("1g.10gb", USED)
    assert decision is not None
    assert (decision.decided_by, decision.fallback) == ("policy", "")


def test_a_gpu_without_mig_is_no_candidate() -> None:
    decider = Decider(None, decide.MISSING, "")
    off = replace(EMPTY[0], mig=False)
    assert decider.decide("1g.10gb", [off]) is None
    decision = decider.decide("1g.10gb", [off, EMPTY[1]])
    assert decision is not None
    assert decision.proposal.gpu == 1
