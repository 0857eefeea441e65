"""How units hang together: start order, cycles, and what comes and goes with a unit.

An edge points from a unit to what it starts after: ``after``, ``requires``, ``wants`` and
``bound_to`` order, and ``before`` orders the other way round. ``conflicts`` orders nothing: who
starts waits for its rivals to stop. Everything takes time in proportion to units and edges, and
every answer is in a fixed order. PID 1 imports this.

>>> order({"a": ["b"], "b": []})
['b', 'a']
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .plan import Unit

    Edges = Mapping[str, Sequence[str]]

# The keys that order a unit after another one, in the order in which a message names them.
AFTER_KEYS = ("requires", "after", "wants", "bound_to")


def predecessors(units: Iterable[Unit]) -> dict[str, list[str]]:
    """Name → names that it starts after, sorted, limited to units that exist."""
    units = list(units)
    found: dict[str, set[str]] = {unit.name: set() for unit in units}
    for unit in units:
        for key in AFTER_KEYS:
            found[unit.name].update(getattr(unit, key))
        for name in unit.before:
            if name in found:
                found[name].add(unit.name)
    return {name: sorted(before & found.keys()) for name, before in found.items()}


def dependents(edges: Edges) -> dict[str, list[str]]:
    """The edges the other way round: name → names that start after it, sorted.

    >>> dependents({"a": ["b"], "b": []})
    {'a': [], 'b': ['a']}
    """
    found: dict[str, list[str]] = {name: [] for name in edges}
    for name in sorted(edges):
        for before in edges[name]:
            found[before].append(name)
    return found


def order(edges: Edges) -> list[str]:
    """Names, each after all its predecessors; ties by name. Empty when there is a cycle."""
    from heapq import heapify, heappop, heappush  # PID 1 gets its plan in order

    behind = dependents(edges)
    waits = {name: len(before) for name, before in edges.items()}
    free = [name for name, count in waits.items() if not count]
    heapify(free)
    ordered: list[str] = []
    while free:
        name = heappop(free)
        ordered.append(name)
        for following in behind[name]:
            waits[following] -= 1
            if not waits[following]:
                heappush(free, following)
    return ordered if len(ordered) == len(waits) else []


def cycles(edges: Edges) -> list[list[str]]:
    """Cycles that have no unit in common, at least one when there is any; each begins with its
    first name, which is repeated at the end. One for each knot that is to be untied.

    >>> cycles({"a": ["b"], "b": ["a"], "c": ["a"]})
    [['a', 'b', 'a']]
    """
    found: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(edges):
        if start not in done:
            found += _cycles_from(edges, start, done)
    return sorted(found)


def _cycles_from(edges: Edges, start: str, done: set[str]) -> Iterator[list[str]]:
    """Depth first from ``start``; what was looked at goes to ``done``."""
    knotted: set[str] = set()
    place = {start: 0}  # of each name on the path
    path = [start]
    stack: list[Iterator[str]] = [iter(edges[start])]
    while stack:
        following = next(stack[-1], None)
        if following is None:
            done.add(path[-1])
            del place[path.pop()]
            stack.pop()
        elif following in place:
            loop = path[place[following] :]
            if knotted.isdisjoint(loop):
                knotted.update(loop)
                first = loop.index(min(loop))
                yield [*loop[first:], *loop[:first], loop[first]]
        elif following not in done:
            place[following] = len(path)
            path.append(following)
            stack.append(iter(edges[following]))


def rivals(units: Iterable[Unit]) -> dict[str, list[str]]:
    """Name → names that it conflicts with, whoever says so, sorted; only units that have some."""
    units = list(units)
    names = {unit.name for unit in units}
    found: dict[str, set[str]] = {}
    for unit in units:
        for name in unit.conflicts:
            if name in names:
                found.setdefault(unit.name, set()).add(name)
                found.setdefault(name, set()).add(unit.name)
    return {name: sorted(others) for name, others in found.items()}


def needed_by(units: Iterable[Unit]) -> dict[str, list[str]]:
    """Name → names of the units that require it or are bound to it, in the order of ``units``."""
    found: dict[str, list[str]] = {}
    for unit in units:
        for name in dict.fromkeys((*unit.requires, *unit.bound_to)):
            found.setdefault(name, []).append(unit.name)
    return found


def pulled_in(units: Mapping[str, Unit], *names: str) -> list[str]:
    """What is to be up with ``names``: all that they require, want or are bound to, and so on.

    Nearest first, without ``names`` and without units that do not exist.
    """
    found: dict[str, None] = {}
    given, seen = set(names), list(names)
    for each in seen:
        unit = units[each]
        for other in (*unit.requires, *unit.wants, *unit.bound_to):
            if other in units and other not in found and other not in given:
                found[other] = None
                seen.append(other)
    return list(found)


def stopped_with(units: Mapping[str, Unit], name: str, needed: Edges | None = None) -> list[str]:
    """What cannot be up without ``name``: all that require it or are bound to it, and so on.

    Nearest first, without ``name``. ``needed`` is what ``needed_by`` gave, where it is at hand:
    the answer then costs what it is long, not what all units are.
    """
    needed = needed_by(units.values()) if needed is None else needed
    stopped: dict[str, None] = {}
    seen = [name]
    for each in seen:
        for other in needed.get(each, ()):
            if other not in stopped and other != name:
                stopped[other] = None
                seen.append(other)
    return list(stopped)
