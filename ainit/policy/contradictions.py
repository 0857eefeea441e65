"""What the keys of one unit file say about each other, when each alone is right.

A key that could never have an effect is a mistake, too. Leaves out what files say about each other,
see ``assembly``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from ..errors import Finding
from . import keys, plan, sandbox_config
from .plan import Unit
from .toml import Document, Table


def contradictions(document: Document, unit: Unit, wrong: Container[int]) -> Iterator[Finding]:
    """Everything that is wrong between the keys of a unit file.

    ``wrong`` holds the lines whose value was refused already; ``unit`` has the default there, and
    nothing is concluded from it.
    """
    main = document.table(unit.kind)
    if main.line("type") not in wrong or "type" not in main.values:
        yield from _type(document, main, unit)
        yield from _probe(document.table("probe"), unit)
    yield from _program(document, main, unit)
    yield from _dependencies(main, unit)
    if main.line("provides") not in wrong and unit.probe_varlink not in ("", *unit.provides):
        message = f"{unit.probe_varlink} is not among what the unit provides"
        yield document.table("probe").finding("varlink", message)
    yield from _activation(document, unit)
    if unit.kind == plan.AGENT:
        yield from _gpu(document.table("gpu"), unit)
        yield from sandbox_config.contradictions(main, document.table("sandbox"), unit)
    yield from _numbers(document, unit)


def _target(document: Document, main: Table) -> Iterator[Finding]:
    for key in main.values:
        if key not in keys.TARGET:
            yield main.finding(key, f"{key} means nothing for a target, which has no process")
    for table, value in document.values.items():
        if table not in keys.TARGET_TABLES:
            name = f"[[{table}]]" if isinstance(value, list) else f"[{table}]"
            yield document.finding(table, f"{name} means nothing for a target")


def _type(document: Document, main: Table, unit: Unit) -> Iterator[Finding]:
    given = main.values
    if unit.type == plan.TARGET:
        yield from _target(document, main)
        return
    if unit.type != plan.NOTIFY:
        for key in keys.NOTIFY_ONLY:
            if key in given:
                yield main.finding(key, f'{key} is of units of type "notify"')
    elif unit.notify_access == "none":
        message = 'notify_access is not "none" where the unit says that it is ready'
        yield main.finding("notify_access", message)
    if unit.type == plan.ONESHOT:
        for key in ("survives", "reload_signal"):
            if given.get(key):
                yield main.finding(key, f"{key} is of units that keep running, not of a oneshot")


def _program(document: Document, main: Table, unit: Unit) -> Iterator[Finding]:
    if unit.type != plan.TARGET and "exec" not in main.values:
        yield main.finding(None, "exec is missing")
    if unit.kind != plan.SERVICE:
        return
    if unit.exec and not unit.exec[0].startswith("/"):
        yield main.finding("exec", "exec starts with an absolute path")
    if unit.probe_exec and not unit.probe_exec[0].startswith("/"):
        yield document.table("probe").finding("exec", "exec starts with an absolute path")


def _dependencies(main: Table, unit: Unit) -> Iterator[Finding]:
    if unit.name in unit.conflicts:
        yield main.finding("conflicts", f"{unit.name} conflicts with itself")
    needed = {*unit.requires, *unit.wants, *unit.bound_to} - {unit.name}
    for name in unit.conflicts:
        if name in needed:
            yield main.finding("conflicts", f"{name} is both needed and in conflict")


def _probe(table: Table, unit: Unit) -> Iterator[Finding]:
    if not table.values or unit.type == plan.TARGET:
        return
    kinds = [key for key in ("exec", "connect", "varlink") if key in table.values]
    if len(kinds) != 1:
        yield table.finding(kinds[1] if kinds else None, "a probe is one of exec, connect, varlink")
    if unit.type == plan.ONESHOT:
        yield table.finding(None, "a oneshot ends, so there is nothing to probe")
    elif unit.probe_readiness and unit.type != plan.SIMPLE:
        yield table.finding("readiness", 'readiness is of units of type "simple"')


def _activation(document: Document, unit: Unit) -> Iterator[Finding]:
    timer = document.table("timer")
    if timer.values and not timer.values.keys() & {"calendar", "boot_s", "every_s"}:
        yield timer.finding(None, "a timer has at least one of calendar, boot_s, every_s")
    elif timer.values.get("persistent") and "calendar" not in timer.values:
        yield timer.finding("persistent", "persistent is of timers with a calendar")
    activation = document.table("activation")
    if activation.values.get("on_demand") and not (unit.provides or "socket" in document.values):
        yield activation.finding("on_demand", "on_demand needs a [[socket]], or provides")


def _gpu(table: Table, unit: Unit) -> Iterator[Finding]:
    given = table.values
    if not given:
        return
    if "profile" in given and "profiles" in given:
        yield table.finding("profiles", "an agent has either a profile or profiles")
    elif "profile" not in given and not given.get("profiles"):
        yield table.finding(None, "profile or profiles is missing")
    wanted = unit.gpu_profiles or (unit.gpu_profile,)
    for profile in unit.gpu_speeds:
        if profile not in wanted:
            yield table.finding("speeds", f"speeds names {profile}, which is none of its profiles")
    if unit.gpu_resizable and unit.type == plan.ONESHOT:
        message = "resizable is of units that keep running, not of a oneshot"
        yield table.finding("resizable", message)


def _numbers(document: Document, unit: Unit) -> Iterator[Finding]:
    """Bounds that pass each other. Zero is no bound."""
    if unit.backoff_first > unit.backoff_max:
        backoff = document.table("backoff")
        key = "first_s" if "first_s" in backoff.values else "max_s"
        message = f"first_s, {unit.backoff_first:g}, is more than max_s, {unit.backoff_max:g}"
        yield backoff.finding(key, message)
    resources = document.table("resources")
    below, least = "", 0
    for key in ("memory_min", "memory_low", "memory_high", "memory_max"):
        size = getattr(unit, key)
        if size and least > size:
            yield resources.finding(below, f"{below} is more than {key}")
        if size:
            below, least = key, size
    given = resources.values
    if "memory_pressure_action" in given and "memory_pressure" not in given:
        message = "memory_pressure_action needs a memory_pressure"
        yield resources.finding("memory_pressure_action", message)
