"""Start order and cycles."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import graph
from ainit.policy.plan import SERVICE, Unit

names = st.sampled_from("abcdef")
edges = st.dictionaries(names, st.lists(names, unique=True), min_size=1).map(
    lambda found: {name: sorted(set(before) & set(found)) for name, before in found.items()}
)


@given(edges)
def test_either_an_order_or_a_cycle(found: dict[str, list[str]]) -> None:
    order, cycle = graph.order(found), graph.cycle(found)
    assert bool(order) != bool(cycle)
    if order:
        assert sorted(order) == sorted(found)
        assert all(
            order.index(before) < order.index(name) for name in found for before in found[name]
        )
    else:
        assert cycle[0] == cycle[-1]
        assert all(after in found[name] for name, after in pairwise(cycle))
        assert len(set(cycle)) == len(cycle) - 1


def test_ties_are_broken_by_name() -> None:
    assert graph.order({"c": [], "a": ["c"], "b": []}) == ["b", "c", "a"]


def test_no_units() -> None:
    assert graph.order({}) == []
    assert graph.cycle({}) == []


def test_edges_lead_to_units_that_exist() -> None:
    unit = Unit("a", SERVICE)
    unit.after, unit.requires, unit.wants = ["b", "x"], ["c"], ["b", "y"]
    others = [Unit(name, SERVICE) for name in "bc"]
    assert graph.predecessors([unit, *others]) == {"a": ["b", "c"], "b": [], "c": []}
