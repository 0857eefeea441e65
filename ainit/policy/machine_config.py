"""The machine configuration: TOML text in, a record and every finding out; the bytes measured.

    [machine]                   [policy]                    [units]
    hostname = "node1"          without_tpm = "refuse"      disabled = ["crasher"]
                                                            replace = ["network"]

Leaves out: the tables of GPUs (``gpu_config``), of the network (``network``), of publishers
(``publishers``, ``trusted_roots``), of agents' certificates (``identity``), of remote control
(``remote``) and of updates (``update``), and what the names of units stand for (``assembly``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..errors import ConfigError, Finding
from . import values
from .gpu_config import gpu
from .identity import identity
from .network import network
from .publishers import publishers
from .remote import remote
from .scheduler import scheduler
from .toml import Table, parse
from .trusted_roots import missing, trusted_roots
from .update import update
from .values import Check

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?\Z")

_WITHOUT = values.one_of(("refuse", "start"))

# Table of the machine configuration → its keys.
MACHINE: Mapping[str, Mapping[str, Check]] = {
    "machine": {"hostname": values.matching(_HOSTNAME, "a host name")},
    "policy": {"without_tpm": _WITHOUT, "without_enforcement": _WITHOUT},
    "units": {"disabled": values.names, "replace": values.names},
}
# Tables with a module of their own, which gives a record and every finding.
_PARTS: Mapping[str, Callable[[Table], tuple[object, list[Finding]]]] = {
    "gpu": gpu,
    "identity": identity,
    "network": network,
    "publishers": publishers,
    "remote": remote,
    "scheduler": scheduler,
    "trusted_roots": trusted_roots,
    "update": update,
}
# Every table that a machine configuration may have.
TABLES = tuple(sorted((*MACHINE, *_PARTS)))


def machine(text: str, file: str) -> tuple[dict[str, object], list[Finding]]:
    """The machine configuration: every key of MACHINE, and the tables that have a
    module of their own.
    """
    result: dict[str, object] = {
        "hostname": "ainos",
        "without_tpm": "refuse",
        "without_enforcement": "refuse",
        "disabled": [],
        "replace": [],
    }
    try:
        document = parse(text, file)
    except ConfigError as error:
        return result, list(error.findings)
    known = ", ".join(TABLES)
    findings = [
        document.finding(key, f"unknown table [{key}] (known: {known})")
        for key in document.values
        if key not in TABLES
    ]
    for section, keys in MACHINE.items():
        try:
            table = document.table(section)
        except ConfigError as error:
            findings += error.findings
            continue
        result.update(table.checked(keys, findings))
    for section, read in _PARTS.items():
        try:
            part, found = read(document.table(section))
        except ConfigError as error:
            findings += error.findings
            continue
        if part is not None:
            result[section] = _listed(part)
        findings += found
    return result, findings + missing(document)


def _listed(value: object) -> object:
    """The JSON form, in which every sequence is a list: two records can then be compared."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
