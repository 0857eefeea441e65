"""What units say about each other: names, interfaces, sockets, references, stages, conflicts.

Every finding is at the line of the key that says it. Leaves out cycles that are not there, and what
a single file says (``contradictions``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from ..errors import Finding
from . import graph, plan, sandbox
from .plan import Unit

# The line of a file, a table and a key (or index) in it: files are located afterwards.
Locate = Callable[[str, str, str | int], int]
Source = tuple[Unit, str]  # a unit, and the file it came from

_OWN = ("org.ainos.Control", "org.varlink.service")
_NEEDS = ("requires", "bound_to")
_HINTS = ("after", "before", "wants", "conflicts")


def findings(units: Sequence[Source], locate: Locate) -> list[Finding]:
    """Everything that is wrong between units, cycles left aside."""
    found = list(_shared(units, locate))
    by_name = {unit.name: unit for unit, _ in units}
    for unit, file in units:
        for key in _NEEDS:
            for name in getattr(unit, key):
                if name not in by_name:
                    message = f"{unit.name} {_verb(key)} {name}, which is no unit"
                    found.append(Finding(file, locate(file, unit.kind, key), message))
        profile = sandbox.of(unit)
        for name in profile.agents if profile else ():
            if name in by_name and by_name[name].kind != plan.AGENT:
                message = f"network names {name}, which is a {by_name[name].kind} and no agent"
                found.append(Finding(file, locate(file, "sandbox", "network"), message))
    files = {unit.name: file for unit, file in units}
    found += _stages(by_name, files, locate)
    found += _survivors(units, by_name, locate)
    found += _rivals(units, by_name, locate)
    return found


def warnings(units: Sequence[Source], names: Container[str], locate: Locate) -> list[Finding]:
    """References of ``units`` that are right and without effect: no unit of ``names``."""
    found = [
        Finding(file, locate(file, unit.kind, key), f"{key} names {name}, which is no unit here")
        for unit, file in units
        for key in _HINTS
        for name in getattr(unit, key)
        if name not in names
    ]
    for unit, file in units:
        profile = sandbox.of(unit)
        for name in profile.agents if profile else ():
            if name not in names:
                message = f"network names the agent {name}, which is no unit here"
                found.append(Finding(file, locate(file, "sandbox", "network"), message))
    return found


def cycles(
    units: Sequence[Source], loops: Sequence[Sequence[str]], locate: Locate
) -> Iterator[Finding]:
    """A finding for each cycle, at the key that leads from its first unit to the next."""
    by_name = {unit.name: (unit, file) for unit, file in units}
    for loop in loops:
        (file, line) = _edge(by_name[loop[0]], by_name[loop[1]], locate)
        yield Finding(file, line, "dependency cycle: " + " → ".join(loop))


def _edge(later: Source, earlier: Source, locate: Locate) -> tuple[str, int]:
    """Where it is written that one unit starts after another."""
    unit, file = later
    for key in graph.AFTER_KEYS:
        if earlier[0].name in getattr(unit, key):
            return file, locate(file, unit.kind, key)
    unit, file = earlier
    return file, locate(file, unit.kind, "before")


def _shared(units: Sequence[Source], locate: Locate) -> Iterator[Finding]:
    """What only one may have: a name, an interface, an address."""
    seen: dict[str, str] = {}
    provided = dict.fromkeys(_OWN, "PID 1")
    listening: dict[object, str] = {}
    for unit, file in units:
        if unit.name in seen:
            yield Finding(file, 1, f"{unit.name} is also defined in {seen[unit.name]}")
        seen[unit.name] = file
        for interface in unit.provides:
            if interface in provided:
                line = locate(file, unit.kind, "provides")
                yield Finding(file, line, f"{interface} is also provided by {provided[interface]}")
            provided.setdefault(interface, unit.name)
        for index, socket in enumerate(unit.sockets):
            where = socket["listen"]
            if listening.get(where, unit.name) != unit.name:
                line = locate(file, "socket", index)
                yield Finding(file, line, f"{where} is also listened on for {listening[where]}")
            listening.setdefault(where, unit.name)


def _verb(key: str) -> str:
    return "is bound to" if key == "bound_to" else key


def _stages(
    by_name: Mapping[str, Unit], files: Mapping[str, str], locate: Locate
) -> Iterator[Finding]:
    """A unit after one of a later stage would wait for itself."""
    for name, before in graph.predecessors(by_name.values()).items():
        unit = by_name[name]
        for other in (by_name[each] for each in before):
            if plan.STAGES.index(other.stage) > plan.STAGES.index(unit.stage):
                file, line = _edge((unit, files[name]), (other, files[other.name]), locate)
                message = f"{name} of stage {unit.stage} is after {other.name}, which is of stage "
                yield Finding(file, line, message + other.stage)


def _survivors(
    units: Sequence[Source], by_name: Mapping[str, Unit], locate: Locate
) -> Iterator[Finding]:
    for unit, file in units:
        for key in _NEEDS if unit.survives else ():
            for name in getattr(unit, key):
                if name in by_name and not by_name[name].survives:
                    message = f"{unit.name} survives a soft reboot, but {name}, which it needs, not"
                    yield Finding(file, locate(file, unit.kind, key), message)


def _rivals(
    units: Sequence[Source], by_name: Mapping[str, Unit], locate: Locate
) -> Iterator[Finding]:
    """Two units that the boot starts must not push each other out."""
    roots = [name for name, unit in by_name.items() if unit.autostart and not unit.is_triggered]
    booted = {*roots, *graph.pulled_in(by_name, *roots)}
    for unit, file in units:
        for name in unit.conflicts:
            if unit.name in booted and name in booted and name != unit.name:
                line = locate(file, unit.kind, "conflicts")
                message = f"{unit.name} and {name} are in conflict, and the boot starts both"
                yield Finding(file, line, message)
