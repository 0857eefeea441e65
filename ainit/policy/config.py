"""Unit files and agent manifests: TOML text in, a unit and every finding out.

The same code runs when the image is built, so that a bad unit breaks the build, and on the machine
when it has a configuration of its own. The keys are in ``keys``, what they may be in ``values``.
Leaves out: what files say about each other (``assembly``), and reading them
(``ainit.child.compile``).

>>> unit('[service]\\nexec = ["/bin/true"]\\n', "a.toml", "a")[1]
[]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import ConfigError, Finding
from . import activation, plan, sandbox_config
from .contradictions import contradictions
from .keys import SANDBOX, TABLES, Keys
from .machine_config import machine
from .plan import Unit
from .sandbox import wrong
from .toml import Document, Table, parse
from .values import NAME

__all__ = ["agent", "machine", "sandbox", "unit"]

_ARRAYS = ("socket", "path", "device")


def unit(text: str, file: str, name: str) -> tuple[Unit, list[Finding]]:
    """The service or target in a unit file, and everything that is wrong with it."""
    return _unit(text, file, name, plan.SERVICE)


def agent(text: str, file: str, name: str, bundle: str) -> tuple[Unit, list[Finding]]:
    """The agent in a bundle's manifest, and everything that is wrong with it."""
    unit, findings = _unit(text, file, name, plan.AGENT)
    unit.bundle = bundle
    return unit, findings


def sandbox(text: str, file: str) -> tuple[Mapping[str, object], list[Finding]]:
    """The record of a table [sandbox] in a file of its own, and everything that is wrong there."""
    unit = Unit("job", plan.JOB)
    unit.sandboxed = True
    try:
        document = parse(text, file)
        table = document.table("sandbox")
    except ConfigError as error:
        return {}, list(error.findings)
    findings = _unknown_tables(document, {"sandbox"})
    if "sandbox" not in document.values:
        findings.append(Finding(file, 1, "the table [sandbox] is missing"))
    findings += _fill(table, SANDBOX, unit)
    if not findings:
        findings += sandbox_config.contradictions(table, table, unit)
    if not findings and (problem := wrong(unit.sandbox)):
        findings.append(table.finding(None, problem))
    return unit.sandbox, findings


def _unit(text: str, file: str, name: str, kind: str) -> tuple[Unit, list[Finding]]:
    unit = Unit(name, kind)
    try:
        document = parse(text, file)
    except ConfigError as error:
        return unit, list(error.findings)
    sections = TABLES[kind]
    findings = _unknown_tables(document, {*sections, *_ARRAYS})
    for section, known in sections.items():
        try:
            findings += _fill(document.table(section), known, unit)
        except ConfigError as error:
            findings += error.findings
    findings += activation.triggers(document, unit)
    if unit.gpu_profiles and not unit.gpu_profile:
        unit.gpu_profile = unit.gpu_profiles[0]
    if isinstance(unit.user, str):
        unit.user, unit.user_name = 0, unit.user
    main = next(iter(sections))
    if main not in document.values:
        findings.append(Finding(file, 1, f"the table [{main}] is missing"))
    else:
        findings += _contradictions(document, unit, findings)
    if not NAME.match(name):
        findings.append(Finding(file, 1, f"{name!r} is no name: lower-case letters, digits, -"))
    return unit, findings


def _fill(table: Table, keys: Keys, unit: Unit) -> list[Finding]:
    """Set the fields of ``unit`` that ``table`` gives; a finding for each wrong or unknown key."""
    findings: list[Finding] = []
    checks = {key: check for key, (_, check) in keys.items()}
    for key, value in table.checked(checks, findings).items():
        field, _, inner = keys[key][0].partition(".")
        setattr(unit, field, {**getattr(unit, field), inner: value} if inner else value)
    return findings


def _contradictions(document: Document, unit: Unit, wrong: list[Finding]) -> list[Finding]:
    """What keys say about each other, but nothing more about keys that are wrong already."""
    try:
        lines = {finding.line for finding in wrong}
        return [each for each in contradictions(document, unit, lines) if each.line not in lines]
    except ConfigError:
        return []  # a table that is none, which is among ``wrong``


def _unknown_tables(document: Document, known: Collection[str]) -> list[Finding]:
    return [
        document.finding(key, f"unknown table [{key}] (known: {', '.join(sorted(known))})")
        for key in document.values
        if key not in known
    ]
