"""Start order, cycles, and what comes and goes with a unit."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import graph
from ainit.policy.plan import Unit
from tests.support.units import make_unit

names = st.sampled_from("abcdef")
edges = st.dictionaries(names, st.lists(names, unique=True), min_size=1).map(
    lambda found: {name: sorted(set(before) & set(found)) for name, before in found.items()}
)


def units(*made: Unit) -> dict[str, Unit]:
    return {unit.name: unit for unit in made}


@given(edges)
def test_either_an_order_or_cycles(found: dict[str, list[str]]) -> None:
    order, cycles = graph.order(found), graph.cycles(found)
    assert bool(order) != bool(cycles)
    if order:
        assert sorted(order) == sorted(found)
        assert all(
            order.index(before) < order.index(name) for name in found for before in found[name]
        )
    for cycle in cycles:
        assert cycle[0] == cycle[-1] == min(cycle)
        assert all(after in found[name] for name, after in pairwise(cycle))
        assert len(set(cycle)) == len(cycle) - 1
    knotted = [name for cycle in cycles for name in cycle[1:]]
    assert len(set(knotted)) == len(knotted)


@given(edges)
def test_of_those_that_may_go_the_first_name_goes_first(found: dict[str, list[str]]) -> None:
    expected: list[str] = []
    while free := [
        name for name in found if name not in expected and set(found[name]) <= set(expected)
    ]:
        expected.append(min(free))
    assert graph.order(found) == (expected if len(expected) == len(found) else [])


@given(edges)
def test_dependents_are_the_edges_the_other_way_round(found: dict[str, list[str]]) -> None:
    behind = graph.dependents(found)
    assert behind.keys() == found.keys()
    pairs = [(name, before) for name in found for before in found[name]]
    assert sorted((after, name) for name in behind for after in behind[name]) == sorted(pairs)
    assert all(after == sorted(after) for after in behind.values())


def test_each_knot_is_named() -> None:
    found = {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["e", "a"], "e": ["c"], "f": ["f"], "g": []}
    assert graph.cycles(found) == [["a", "b", "a"], ["c", "d", "e", "c"], ["f", "f"]]


def test_two_loops_through_one_unit_are_one_knot() -> None:
    assert graph.cycles({"a": ["b", "c"], "b": ["a"], "c": ["a"]}) == [["a", "b", "a"]]


def test_no_units() -> None:
    assert graph.order({}) == []
    assert graph.cycles({}) == []
    assert graph.predecessors([]) == {}


def test_a_long_chain_of_ten_thousand() -> None:
    chain = {f"u{number:05}": [f"u{number - 1:05}"] for number in range(1, 10_000)}
    chain["u00000"] = []
    assert graph.order(chain) == sorted(chain)
    chain["u00000"] = ["u09999"]
    (cycle,) = graph.cycles(chain)
    assert len(cycle) == 10_001


def test_every_kind_of_dependency_orders() -> None:
    found = [
        make_unit("a", after=["b", "x"], requires=["c"], wants=["b", "y"], bound_to=["d"]),
        make_unit("b", before=["c", "z"], conflicts=["a"]),
        make_unit("c"),
        make_unit("d", before=["a"]),
    ]
    assert graph.predecessors(found) == {"a": ["b", "c", "d"], "b": [], "c": ["b"], "d": []}


def test_a_conflict_holds_both_ways() -> None:
    found = [
        make_unit("a", conflicts=["b", "x"]),
        make_unit("b", conflicts=["a"]),
        make_unit("c", conflicts=["b"]),
        make_unit("d"),
    ]
    assert graph.rivals(found) == {"a": ["b"], "b": ["a", "c"], "c": ["b"]}


def test_what_is_pulled_in() -> None:
    found = units(
        make_unit("a", requires=["c"], wants=["b", "x"], after=["e"], before=["f"]),
        make_unit("b", bound_to=["d"]),
        make_unit("c", wants=["a", "d"]),
        make_unit("d"),
        make_unit("e"),
        make_unit("f"),
    )
    assert graph.pulled_in(found, "a") == ["c", "b", "d"]
    assert graph.pulled_in(found, "c") == ["a", "d", "b"]
    assert graph.pulled_in(found, "a", "b") == ["c", "d"]
    assert graph.pulled_in(found, "e") == []


def test_a_knot_away_from_where_it_began_is_gone_through_once() -> None:
    found = units(
        make_unit("a", wants=["b"]),
        make_unit("b", requires=["c"]),
        make_unit("c", requires=["b", "d"]),
        make_unit("d"),
    )
    assert graph.pulled_in(found, "a") == ["b", "c", "d"]
    assert graph.stopped_with(found, "d") == ["c", "b"]


def test_what_stops_with_a_unit() -> None:
    found = units(
        make_unit("a"),
        make_unit("b", requires=["a"], bound_to=["a"]),
        make_unit("c", bound_to=["b"]),
        make_unit("d", wants=["a"], after=["a"]),
        make_unit("e", requires=["c", "a"]),
        make_unit("f", requires=["f"]),
    )
    assert graph.stopped_with(found, "a") == ["b", "e", "c"]
    assert graph.stopped_with(found, "b") == ["c", "e"]
    assert graph.stopped_with(found, "d") == graph.stopped_with(found, "f") == []
    needed = graph.needed_by(found.values())
    assert graph.stopped_with(found, "a", needed) == ["b", "e", "c"]
