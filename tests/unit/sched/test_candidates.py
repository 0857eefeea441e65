from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import candidates, place
from ainit.sched.candidates import Candidate, Kind, Question
from ainit.sched.place import Device, Proposal
from ainit.sched.state import RESIDENCY_S, Hold, Request, Running, State, single, speeds
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.test_place import PROFILES, holding, machines

EMPTY = board("H100-80GB", 0)
SPEEDS = {"1g.10gb": 0.3, "3g.40gb": 0.7}
SHORT = Request("short", SPEEDS, estimate_s=10.0)


@st.composite
def states(draw: st.DrawFn) -> State:
    """Machines on which some instances belong to work, and some requests of any kind wait."""
    devices = draw(machines())
    seconds = st.floats(0.0, 1e7)
    running = [
        Running(
            Request(f"r{gpu.index}.{each.start}", {each.profile: 0.5}, draw(seconds)),
            gpu.index,
            each.profile,
            each.start,
            draw(st.sampled_from([1.0, RESIDENCY_S, 1e5])),
            draw(st.booleans()),
        )
        for gpu in devices
        for each in gpu.instances
        if draw(st.booleans())
    ]
    queue = [
        Request(
            f"q{number}",
            speeds(devices, draw(st.sampled_from([0, 9000, 30000, 10**6]))),
            draw(seconds),
            draw(seconds),
            draw(seconds),
            draw(st.floats(0.0, 60.0)),
            draw(st.floats(0.01, 100.0)),
            draw(st.none() | st.floats(-1e4, 1e6)),
        )
        for number in range(draw(st.integers(0, 20)))
    ]
    holds = [Hold(gpu.index, 0b11 << draw(st.integers(0, 2)), 60.0) for gpu in devices[:1]]
    return State(devices, queue, running, holds if draw(st.booleans()) else ())


@given(states())
def test_what_is_legal_passes_the_check_and_features_are_in_range(state: State) -> None:
    question = candidates.ask(state)
    assert all(0.0 <= value <= 1.0 for value in question.rows)
    for candidate, legal in zip(question.candidates, question.legal, strict=True):
        assert (candidates.check(candidate, state) == []) or not legal
    assert question.candidates[-1].kind is Kind.WAIT


@given(machines(), PROFILES)
def test_one_request_gives_the_placements_of_its_profile(
    devices: tuple[Device, ...], profile: str
) -> None:
    question = candidates.ask(single(profile, devices))
    options = place.candidates(profile, devices)
    assert [each.proposal for each in question.candidates] == options
    assert list(question.legal) == [not place.check(each, profile, devices) for each in options]


def starts(question: Question, name: str) -> list[Proposal | None]:
    return [
        each.proposal
        for each, legal in zip(question.candidates, question.legal, strict=True)
        if legal and each.kind is Kind.START and each.request == name
    ]


def test_a_profile_without_a_speed_is_no_candidate() -> None:
    proposals = starts(candidates.ask(State([EMPTY], [SHORT])), "short")
    assert {each.profile for each in proposals if each} == {"1g.10gb", "3g.40gb"}


def test_what_is_held_back_is_no_candidate() -> None:
    held = State([EMPTY], [SHORT], holds=[Hold(0, 0b1111, 60.0)])
    assert {each.start for each in starts(candidates.ask(held), "short") if each} == {4, 5, 6}


@pytest.mark.parametrize(
    ("movable", "since", "legal"),
    [(True, RESIDENCY_S, True), (True, 1.0, False), (False, 1e9, False)],
)
def test_only_what_may_move_and_has_run_a_while_is_displaced(
    movable: bool, since: float, legal: bool
) -> None:
    full = holding(EMPTY, ("7g.80gb", 0))
    work = Running(Request("work", {"7g.80gb": 1.0}, 1e5), 0, "7g.80gb", 0, since, movable)
    question = candidates.ask(State([full], [SHORT], [work]))
    assert any(question.legal[:-1]) is legal
    assert not legal or question.candidates[0].displaces == ("work",)
    named = question.row(0)
    assert (named["displaces"] > 0) is legal


def test_what_runs_may_move_to_free_slices_and_over_its_own() -> None:
    used = holding(EMPTY, ("1g.10gb", 0))
    work = Running(Request("work", SPEEDS, 1e4), 0, "1g.10gb", 0, 100.0, True)
    question = candidates.ask(State([used], [], [work]))
    moves = [each.proposal for each in question.candidates if each.kind is Kind.MOVE]
    assert [(each.profile, each.start) for each in moves if each] == [
        ("3g.40gb", 0),
        ("3g.40gb", 4),
    ]
    assert question.row(0)["gain"] > 0


def test_waiting_for_a_better_placement_shows() -> None:
    """Beside a whole board that is free in a moment, a slow start now ends later."""
    request = Request("big", {"1g.10gb": 0.1, "3g.40gb": 1.0}, 1000.0)
    used = holding(EMPTY, ("3g.40gb", 0), ("3g.40gb", 4))
    busy = [
        Running(Request(str(start), {"3g.40gb": 1.0}, 5.0), 0, "3g.40gb", start, 100.0)
        for start in (0, 4)
    ]
    free = candidates.ask(State([EMPTY], [request])).row(0)
    late = candidates.ask(State([used, board("H100-80GB", 1)], [request], busy)).row(0)
    assert (free["later"], late["later"]) == (late["later"], free["later"])
    alone = candidates.ask(State([used], [request], busy)).row(0)
    assert alone["later"] > 0.7


@pytest.mark.parametrize(
    ("candidate", "finding"),
    [
        (Candidate(Kind.START, "nobody", Proposal(0, "1g.10gb", 0, 1)), "does not wait"),
        (Candidate(Kind.START, "short", Proposal(0, "2g.20gb", 0, 2)), "cannot run on"),
        (Candidate(Kind.START, "short", Proposal(0, "1g.10gb", 0, 1)), "held back"),
        (Candidate(Kind.START, "short", Proposal(0, "3g.40gb", 4, 4)), "overlaps"),
        (Candidate(Kind.START, "short", Proposal(0, "3g.40gb", 4, 4), ("work",)), "not be stopped"),
        (Candidate(Kind.MOVE, "work", Proposal(0, "1g.10gb", 1, 1)), "may not be moved"),
        (Candidate(Kind.START, "short"), "no placement"),
    ],
)
def test_the_check_trusts_nothing(candidate: Candidate, finding: str) -> None:
    used = holding(EMPTY, ("3g.40gb", 4))
    work = Running(Request("work", {"3g.40gb": 0.7}, 1e4), 0, "3g.40gb", 4, 100.0)
    state = State([used], [SHORT], [work], [Hold(0, 0b1, 60.0)])
    assert any(finding in each for each in candidates.check(candidate, state))


def test_a_weight_brings_a_request_forward() -> None:
    others = [replace(SHORT, name=f"o{n}", waited_s=1.0) for n in range(20)]
    long = Request("long", SPEEDS, 1e5)
    assert not starts(candidates.ask(State([EMPTY], [*others, long])), "long")
    assert starts(candidates.ask(State([EMPTY], [*others, replace(long, weight=1e6)])), "long")
    assert starts(candidates.ask(State([EMPTY], [*others, replace(long, waited_s=9.0)])), "long")
