from __future__ import annotations

from hypothesis import given

from ainit.sched import candidates, fallback, place
from ainit.sched.state import Hold, Request, State
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.test_candidates import states
from tests.unit.sched.test_place import holding

EMPTY = board("H100-80GB", 0)


@given(states())
def test_what_it_chooses_is_legal(state: State) -> None:
    chosen = fallback.choose(state)
    assert chosen is None or candidates.check(chosen, state) == []


def test_the_shortest_that_fits_starts_on_its_thriftiest_profile() -> None:
    small = Request("small", {"1g.10gb": 0.2, "2g.20gb": 0.5}, 100.0)
    large = Request("large", {"7g.80gb": 1.0}, 1.0)
    chosen = fallback.choose(State([EMPTY], [small, large]))
    assert chosen is not None
    assert chosen.request == "large"
    used = holding(EMPTY, ("1g.10gb", 6))
    chosen = fallback.choose(State([used], [small, large]))
    assert chosen is not None
    assert chosen.proposal == place.best("2g.20gb", [used])


def test_what_is_held_back_is_not_used() -> None:
    request = Request("one", {"3g.40gb": 1.0})
    held = State([EMPTY], [request], holds=[Hold(0, 0b1, 60.0)])
    chosen = fallback.choose(held)
    assert chosen is not None
    assert chosen.proposal is not None
    assert chosen.proposal.start == 4
    assert fallback.choose(State([EMPTY], [request], holds=[Hold(0, 0b10001, 60.0)])) is None
