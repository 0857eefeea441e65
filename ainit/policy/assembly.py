"""Checked units and a machine configuration become one plan: references, start order, users.

What units say about each other is checked in ``relations``.

>>> assemble([], {}).units
[]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..errors import ConfigError, Finding
from ..wire.codec import dumps
from . import graph, identity, jobs, plan, relations, values
from .plan import Plan, Unit
from .relations import Locate, Source

GPU_INTERFACE = "org.ainos.Gpu"
IDENTITY_INTERFACE = "org.ainos.Identity"
AGENT_UID_FIRST = values.DYNAMIC[0]


def assemble(
    units: Sequence[Source],
    machine: Mapping[str, object],
    *,
    file: str = "machine configuration",
    locate: Locate = lambda file, table, key: 1,
) -> Plan:
    """The plan of checked units, each with the file it came from; ``file`` is that of ``machine``.

    Raises ConfigError for names used twice, unknown references and cycles (each whole cycle named).
    """
    off = set(_names(machine, "disabled"))
    active = [(unit, path) for unit, path in units if unit.name not in off]
    findings = [
        Finding(file, locate(file, "units", "disabled"), f"disabled names no unit: {name}")
        for name in sorted(off - {unit.name for unit, _ in units})
    ]
    findings += relations.findings(active, locate)
    _give_users([unit for unit, _ in units])
    _order_after_gpus([unit for unit, _ in active])
    _order_after_identity([unit for unit, _ in active])
    _configure([unit for unit, _ in active], machine)
    edges = graph.predecessors(unit for unit, _ in active)
    ordered = graph.order(edges)
    if not ordered:
        findings += relations.cycles(active, graph.cycles(edges), locate)
    if findings:
        raise ConfigError(findings)
    by_name = {unit.name: unit for unit, _ in active}
    return Plan([by_name[name] for name in ordered], dict(machine))


def overlay(
    base: Sequence[Source],
    own: Sequence[Source],
    machine: Mapping[str, object],
    *,
    file: str = "machine configuration",
    locate: Locate = lambda file, table, key: 1,
) -> list[Source]:
    """The units of the image with the machine's ``own`` ones: new ones, and those that the machine
    configuration allows to replace one of the image (``replace`` in [units]).

    Programs of a machine's own units lie on the verified root, because they are not measured.
    Raises ConfigError with every finding.
    """
    replace = _names(machine, "replace")
    image = {unit.name: unit for unit, _ in base}
    names = {unit.name for unit, _ in own}
    findings = []
    for name in replace:
        if name not in image or name not in names:
            where = "this machine has no unit" if name in image else "the image has no unit"
            line = locate(file, "units", "replace")
            findings.append(Finding(file, line, f"replace names {name}, but {where} of that name"))
    for unit, path in own:
        if unit.name in image and image[unit.name].kind == plan.AGENT:
            message = f"{unit.name} is an agent of the image, which no unit replaces"
            findings.append(Finding(path, 1, message))
        elif unit.name in image and unit.name not in replace:
            message = f"{unit.name} is a unit of the image; [units] replace does not name it"
            findings.append(Finding(path, 1, message))
        for table, words in ((unit.kind, unit.exec), ("probe", unit.probe_exec)):
            if words and not jobs.is_verified(words[0]):
                message = f"{words[0]} does not lie on the verified root"
                findings.append(Finding(path, locate(path, table, "exec"), message))
    if findings:
        raise ConfigError(findings)
    return [(unit, path) for unit, path in base if unit.name not in names] + list(own)


def _names(machine: Mapping[str, object], key: str) -> list[str]:
    found = machine.get(key)
    return [str(name) for name in found] if isinstance(found, list) else []


def _order_after_gpus(units: Sequence[Unit]) -> None:
    """Whoever wants a GPU instance starts after, and stops before, the unit that hands them out."""
    for provider in units:
        if GPU_INTERFACE in provider.provides:
            for unit in units:
                if unit.gpu_profile and unit is not provider and provider.name not in unit.after:
                    unit.after = [*unit.after, provider.name]


def _order_after_identity(units: Sequence[Unit]) -> None:
    """Whoever has a certificate starts after the unit that issues them."""
    for provider in units:
        if IDENTITY_INTERFACE in provider.provides:
            for unit in units:
                if identity.is_wanted(unit) and provider.name not in unit.wants:
                    unit.wants = [*unit.wants, provider.name]


def _configure(units: Sequence[Unit], machine: Mapping[str, object]) -> None:
    """Give units that are there for a table of the configuration that table, or take it away. The
    table of certificates is there when an agent wants one.
    """
    machine = {**machine, identity.TABLE: identity.settings(units, machine)}
    for unit in units:
        if unit.configured_by:
            rest = {key: value for key, value in unit.environment.items() if key != plan.SETTINGS}
            table = machine.get(unit.configured_by)
            unit.environment = {**rest, plan.SETTINGS: dumps(table)} if table else rest


def _give_users(units: Sequence[Unit]) -> None:
    """A user of its own for each agent that has none. Disabled agents count, so that disabling one
    changes nothing for the others.
    """
    agents = sorted((unit for unit in units if unit.kind == plan.AGENT), key=lambda unit: unit.name)
    taken = {unit.user for unit in agents}
    free = itertools.count(AGENT_UID_FIRST)
    for unit in agents:
        if not unit.user:
            unit.user = next(uid for uid in free if uid not in taken)
