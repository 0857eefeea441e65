"""Units, agent manifests and machine configuration: TOML text in, records and every finding out.

The same code runs when the image is built, so that a bad unit breaks the build, and on the machine
when it has a configuration of its own. Leaves out: what files say about each other (``assembly``),
and reading them (``ainit.child.compile``).

>>> unit('[service]\\nexec = ["/bin/true"]\\n', "a.toml", "a")[1]
[]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ..errors import ConfigError, Finding
from . import plan
from .network import network
from .plan import Unit
from .toml import Document, Table, parse

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?\Z")
_INTERFACE = re.compile(r"[a-z][a-z0-9-]*(\.[A-Za-z0-9-]+)+\Z")
_PROFILE = re.compile(r"\d+g\.\d+gb(\+me)?\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SIZE = re.compile(r"(\d+)([KMGT]?)\Z")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

# A check turns a TOML value into the plan's, or raises ValueError with what it should have been.
Check = Callable[[object], object]


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("is a string")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def _number(low: float, high: float) -> Check:
    def check(value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ValueError(f"is a number from {low:g} to {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"is a whole number from {low} to {high}")
        return value

    return check


def _one_of(choices: Sequence[str]) -> Check:
    def check(value: object) -> str:
        if value not in choices:
            raise ValueError("is one of " + ", ".join(choices))
        return str(value)

    return check


def _matching(pattern: re.Pattern[str], description: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise ValueError(f"is {description}")
        return value

    return check


def _list_of(check: Check, least: int = 0) -> Check:
    def check_list(value: object) -> list[object]:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError("is a list" if not least else "is a list that is not empty")
        return [check(item) for item in value]

    return check_list


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        _VARIABLE.match(name) and isinstance(text, str) and "\0" not in text
        for name, text in value.items()
    ):
        raise ValueError("is a table of strings whose keys are variable names")
    return value


def _size(value: object) -> int:
    found = _SIZE.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('is a size such as "512M"')
    return int(found.group(1)) * _UNITS[found.group(2)]


_names = _list_of(_matching(_NAME, "a name of lower-case letters, digits and hyphens"))

# TOML key → (field of Unit, check).
_SERVICE: dict[str, tuple[str, Check]] = {
    "description": ("description", _text),
    "exec": ("exec", _list_of(_text, least=1)),
    "type": ("type", _one_of(plan.TYPES)),
    "stage": ("stage", _one_of(plan.STAGES)),
    "after": ("after", _names),
    "requires": ("requires", _names),
    "wants": ("wants", _names),
    "provides": ("provides", _list_of(_matching(_INTERFACE, "an interface such as org.ainos.X"))),
    "environment": ("environment", _environment),
    "models": ("models", _names),
    "optional_models": ("optional_models", _names),
    "extensions": ("extensions", _names),
    "optional_extensions": ("optional_extensions", _names),
    "essential": ("essential", _flag),
    "rescue": ("rescue", _flag),
    "restart": ("restart", _one_of(plan.RESTARTS)),
    "start_timeout_s": ("start_timeout", _number(0.1, 3600)),
    "stop_timeout_s": ("stop_timeout", _number(0.1, 3600)),
}
_AGENT = {
    **{key: value for key, value in _SERVICE.items() if key not in ("stage", "rescue")},
    "measurement": ("measurement", _one_of((plan.REQUIRED, plan.OPTIONAL))),
}
_BACKOFF: dict[str, tuple[str, Check]] = {
    "first_s": ("backoff_first", _number(0.01, 3600)),
    "factor": ("backoff_factor", _number(1, 10)),
    "max_s": ("backoff_max", _number(0.01, 86400)),
    "limit": ("backoff_limit", _whole(0, 1_000_000)),
}
_RESOURCES: dict[str, tuple[str, Check]] = {
    "memory_max": ("memory_max", _size),
    "pids_max": ("pids_max", _whole(1, 1 << 22)),
    "cpu_weight": ("cpu_weight", _whole(1, 10000)),
}
_GPU: dict[str, tuple[str, Check]] = {
    "profile": ("gpu_profile", _matching(_PROFILE, 'a MIG profile such as "1g.10gb"')),
    "required": ("gpu_required", _flag),
}

# Table of the machine configuration → its one key.
_MACHINE: dict[str, tuple[str, Check]] = {
    "machine": ("hostname", _matching(_HOSTNAME, "a host name")),
    "policy": ("without_tpm", _one_of(("refuse", "start"))),
    "units": ("disabled", _names),
}


def _fill(table: Table, keys: Mapping[str, tuple[str, Check]], unit: Unit) -> list[Finding]:
    """Set the fields of ``unit`` that ``table`` gives; a finding for each wrong or unknown key."""
    findings = []
    for key, value in table.values.items():
        if key not in keys:
            known = ", ".join(sorted(keys))
            findings.append(table.finding(key, f"unknown key {key} (known: {known})"))
            continue
        field, check = keys[key]
        try:
            setattr(unit, field, check(value))
        except ValueError as error:
            findings.append(table.finding(key, f"{key} {error}"))
    return findings


def _unit(text: str, file: str, name: str, kind: str) -> tuple[Unit, list[Finding]]:
    unit = Unit(name, kind)
    try:
        document = parse(text, file)
        main, keys = ("agent", _AGENT) if kind == plan.AGENT else ("service", _SERVICE)
        sections = {main: keys, "backoff": _BACKOFF, "resources": _RESOURCES}
        if kind == plan.AGENT:
            sections["gpu"] = _GPU
    except ConfigError as error:
        return unit, list(error.findings)
    findings = _unknown_tables(document, sections)
    for section, known in sections.items():
        try:
            findings += _fill(document.table(section), known, unit)
        except ConfigError as error:
            findings += error.findings
    if main not in document.values:
        findings.append(Finding(file, 1, f"the table [{main}] is missing"))
    elif not unit.exec and not findings:
        findings.append(document.table(main).finding(None, "exec is missing"))
    if kind == plan.SERVICE and unit.exec and not unit.exec[0].startswith("/"):
        findings.append(document.table(main).finding("exec", "exec starts with an absolute path"))
    if not _NAME.match(name):
        findings.append(Finding(file, 1, f"{name!r} is no name: lower-case letters, digits, -"))
    return unit, findings


def _unknown_tables(document: Document, known: Mapping[str, object]) -> list[Finding]:
    return [
        document.finding(key, f"unknown table [{key}] (known: {', '.join(sorted(known))})")
        for key in document.values
        if key not in known
    ]


def unit(text: str, file: str, name: str) -> tuple[Unit, list[Finding]]:
    """The service in a unit file, and everything that is wrong with it."""
    return _unit(text, file, name, plan.SERVICE)


def agent(text: str, file: str, name: str, bundle: str) -> tuple[Unit, list[Finding]]:
    """The agent in a bundle's manifest, and everything that is wrong with it."""
    unit, findings = _unit(text, file, name, plan.AGENT)
    unit.bundle = bundle
    return unit, findings


def machine(text: str, file: str) -> tuple[dict[str, object], list[Finding]]:
    """The machine configuration: hostname, without_tpm, disabled units, and the network."""
    result: dict[str, object] = {"hostname": "ainos", "without_tpm": "refuse", "disabled": []}
    try:
        document = parse(text, file)
    except ConfigError as error:
        return result, list(error.findings)
    findings = _unknown_tables(document, dict.fromkeys((*_MACHINE, "network")))
    for section, (key, check) in _MACHINE.items():
        try:
            table = document.table(section)
        except ConfigError as error:
            findings += error.findings
            continue
        try:
            for unknown in sorted(set(table.values) - {key}):
                findings.append(table.finding(unknown, f"unknown key {unknown} (known: {key})"))
            if key in table.values:
                result[key] = check(table.values[key])
        except ValueError as error:
            findings.append(table.finding(key, f"{key} {error}"))
    try:
        result["network"], found = network(document.table("network"))
        findings += found
    except ConfigError as error:
        findings += error.findings
    return result, findings
