"""The machine configuration: TOML text in, a record and every finding out; the bytes measured.

    [machine]                   [policy]                    [units]
    hostname = "node1"          without_tpm = "refuse"      disabled = ["crasher"]
                                                            replace = ["network"]

Leaves out: the tables of the network (``network``) and of publishers (``publishers``), and what the
names of units stand for (``assembly``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ConfigError, Finding
from . import values
from .network import network
from .publishers import publishers
from .toml import parse
from .values import Check

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?\Z")

_WITHOUT = values.one_of(("refuse", "start"))

# Table of the machine configuration → its keys.
MACHINE: Mapping[str, Mapping[str, Check]] = {
    "machine": {"hostname": values.matching(_HOSTNAME, "a host name")},
    "policy": {"without_tpm": _WITHOUT, "without_enforcement": _WITHOUT},
    "units": {"disabled": values.names, "replace": values.names},
}
# Every table that a machine configuration may have.
TABLES = tuple(sorted((*MACHINE, "network", "publishers")))


def machine(text: str, file: str) -> tuple[dict[str, object], list[Finding]]:
    """The machine configuration: every key of MACHINE, and the tables network and publishers."""
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
    try:
        settings, found = network(document.table("network"))
        result["network"] = _listed(settings)
        findings += found
    except ConfigError as error:
        findings += error.findings
    try:
        records, found = publishers(document.table("publishers"))
        result["publishers"] = _listed(records)
        findings += found
    except ConfigError as error:
        findings += error.findings
    return result, findings


def _listed(value: object) -> object:
    """The JSON form, in which every sequence is a list: two records can then be compared."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
