"""Checked units and a machine configuration become one plan: references, start order, users.

>>> assemble([], {}).units
[]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import ConfigError, Finding
from . import graph, plan
from .plan import Plan, Unit

# The line of a file, a table and a key in it: findings about several files are located afterwards.
Locate = Callable[[str, str, str], int]

GPU_INTERFACE = "org.ainos.Gpu"
_OWN = ("org.ainos.Control", "org.varlink.service")
_EDGES = ("requires", "after", "wants")
AGENT_UID_FIRST = 61184  # the range that systemd's documentation gives to dynamic users


def assemble(
    units: Sequence[tuple[Unit, str]],
    machine: Mapping[str, object],
    *,
    file: str = "machine configuration",
    locate: Locate = lambda file, table, key: 1,
) -> Plan:
    """The plan of checked units, each with the file it came from; ``file`` is that of ``machine``.

    Raises ConfigError for names used twice, unknown references and cycles (the whole cycle named).
    """
    disabled = machine.get("disabled")
    off = set(disabled) if isinstance(disabled, list) else set()
    active = [(unit, file) for unit, file in units if unit.name not in off]
    findings = _references(active, locate)
    findings += [
        Finding(file, locate(file, "units", "disabled"), f"disabled names no unit: {name}")
        for name in sorted(off - {unit.name for unit, _ in units})
    ]
    _order_after_gpus([unit for unit, _ in active])
    edges = graph.predecessors(unit for unit, _ in active)
    ordered = graph.order(edges)
    if edges and not ordered:
        loop = graph.cycle(edges)
        unit, path = next((unit, path) for unit, path in active if unit.name == loop[0])
        key = next((key for key in _EDGES if loop[1] in getattr(unit, key)), "")
        message = "dependency cycle: " + " → ".join(loop)
        findings.append(Finding(path, locate(path, unit.kind, key), message))
    if findings:
        raise ConfigError(findings)
    by_name = {unit.name: unit for unit, _ in active}
    agents = sorted(unit.name for unit, _ in active if unit.kind == plan.AGENT)
    for index, name in enumerate(agents):
        by_name[name].user = AGENT_UID_FIRST + index
    return Plan([by_name[name] for name in ordered], dict(machine))


def _order_after_gpus(units: Sequence[Unit]) -> None:
    """Whoever wants a GPU instance starts after, and stops before, the unit that hands them out."""
    for provider in units:
        if GPU_INTERFACE in provider.provides:
            for unit in units:
                if unit.gpu_profile and unit is not provider and provider.name not in unit.after:
                    unit.after = [*unit.after, provider.name]


def _references(units: Sequence[tuple[Unit, str]], locate: Locate) -> list[Finding]:
    findings = []
    seen: dict[str, str] = {}
    provided: dict[str, str] = {}
    for unit, file in units:
        if unit.name in seen:
            findings.append(Finding(file, 1, f"{unit.name} is also defined in {seen[unit.name]}"))
        seen[unit.name] = file
        for interface in unit.provides:
            other = "PID 1" if interface in _OWN else provided.get(interface)
            if other:
                line = locate(file, unit.kind, "provides")
                findings.append(Finding(file, line, f"{interface} is also provided by {other}"))
            provided[interface] = unit.name
    for unit, file in units:
        findings += [
            Finding(
                file,
                locate(file, unit.kind, "requires"),
                f"{unit.name} requires {name}, which is no unit",
            )
            for name in unit.requires
            if name not in seen
        ]
    return findings
