"""Start order of units, and the cycle when there is none.

Edges point from a unit to what it comes after: ``after`` orders, ``requires`` orders and demands.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plan import Unit


def predecessors(units: Iterable[Unit]) -> dict[str, list[str]]:
    """Name → names that it starts after, limited to units that exist."""
    units = list(units)
    names = {unit.name for unit in units}
    return {unit.name: sorted({*unit.after, *unit.requires, *unit.wants} & names) for unit in units}


def order(edges: Mapping[str, list[str]]) -> list[str]:
    """Names, each after all its predecessors; ties by name. Empty when there is a cycle."""
    remaining = {name: set(before) for name, before in edges.items()}
    ordered: list[str] = []
    while remaining:
        free = sorted(name for name, before in remaining.items() if not before)
        if not free:
            return []
        ordered += free
        for name in free:
            del remaining[name]
        for before in remaining.values():
            before.difference_update(free)
    return ordered


def cycle(edges: Mapping[str, list[str]]) -> list[str]:
    """One cycle, its first name repeated at the end, or nothing.

    >>> cycle({"a": ["b"], "b": ["a"], "c": ["a"]})
    ['a', 'b', 'a']
    """
    done: set[str] = set()
    for start in sorted(edges):
        path: list[str] = []
        stack = [(start, iter(edges[start]))] if start not in done else []
        if stack:
            path.append(start)
        while stack:
            name, rest = stack[-1]
            for following in rest:
                if following in path:
                    return [*path[path.index(following) :], following]
                if following not in done:
                    path.append(following)
                    stack.append((following, iter(edges[following])))
                    break
            else:
                done.add(name)
                path.pop()
                stack.pop()
    return []
