"""The ``[remote]`` part of the machine configuration: who may steer the machine over the network.

    [remote]
    listen = "tcp:0.0.0.0:7443"

    [remote.operators.alice]
    role = "admin"                      # viewer, operator or admin: see ``access``
    certificate = '''
    -----BEGIN CERTIFICATE-----
    ...
    -----END CERTIFICATE-----
    '''

Nobody else is answered. Leaves out: whether ``certificate`` is one (``ainit.remote.operators``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ..errors import ConfigError, Finding
from . import access, values
from .toml import Table

OPERATORS_MAX = 32
_PEM_CHARACTERS = 3000  # a certificate with a long name and an RSA key of 4096 bits
_NAME = re.compile(r"[a-z][a-z0-9.-]{0,31}\Z")
_PEM = re.compile(
    rf"\s*-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{{1,{_PEM_CHARACTERS}}}"
    r"-----END CERTIFICATE-----\s*\Z"
)

_KEYS: Mapping[str, values.Check] = {
    "role": values.one_of(access.ROLES),
    "certificate": values.matching(_PEM, "one certificate in PEM form"),
}


@dataclass(frozen=True)
class Operator:
    """One who may call, as what. ``certificate`` is PEM: his own, not that of an authority."""

    name: str
    role: str
    certificate: str


def remote(table: Table) -> tuple[dict[str, object] | None, list[Finding]]:
    """The record of ``[remote]``: ``listen`` and ``operators``, a list by name; None without the
    table. And every finding.
    """
    findings: list[Finding] = []
    if not table.values:
        return None, []
    checks = {"listen": values.address("tcp"), "operators": lambda value: value}
    found = table.checked(checks, findings)
    if "listen" not in table.values:
        findings.append(table.finding(None, "[remote] needs listen: tcp:ADDRESS:PORT"))
    operators: list[dict[str, object]] = []
    try:
        operators = _operators(table.table("operators"), findings)
    except ConfigError as error:
        findings += error.findings
    if not table.values.get("operators"):
        findings.append(table.finding(None, "[remote] names no operators: nobody is let in"))
    return {**found, "operators": operators}, findings


def _operators(table: Table, findings: list[Finding]) -> list[dict[str, object]]:
    if len(table.values) > OPERATORS_MAX:
        findings.append(table.finding(None, f"{OPERATORS_MAX} operators are the most"))
    found: list[dict[str, object]] = []
    for name in table.values:
        if not _NAME.match(name):
            findings.append(table.finding(name, f"{name} is no name of an operator"))
            continue
        try:
            part = table.table(name)
        except ConfigError as error:
            findings += error.findings
            continue
        checked = part.checked(_KEYS, findings)
        lacking = [key for key in _KEYS if key not in part.values]
        findings += [part.finding(None, f"the operator {name} needs {key}") for key in lacking]
        if len(checked) == len(_KEYS):
            found.append(asdict(Operator(name, **checked)))  # type: ignore[arg-type]
    return sorted(found, key=lambda record: str(record["name"]))


def from_record(record: object) -> tuple[str, list[Operator]]:
    """Where to listen, and for whom, from what ``remote`` returned and JSON carried. ValueError."""
    if not isinstance(record, dict) or not isinstance(record.get("listen"), str):
        raise ValueError("no settings of [remote]")
    operators = record.get("operators")
    return record["listen"], [
        Operator(str(one["name"]), str(one["role"]), str(one["certificate"]))
        for one in (operators if isinstance(operators, list) else [])
    ]
