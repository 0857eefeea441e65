"""``[identity]`` of the machine configuration: for whom agents' certificates are, and how long.

    [identity]
    trust_domain = "rack-7.example.org"     # of their SPIFFE IDs; the host name without it
    life_s = 600
    attest_interval_s = 3600
    verdict_required = true

A certificate lives for less than the interval in which the machine is attested anew, and that is
how long one is still good when attestation has failed. The service of certificates
gets this with the agents that want one.

>>> settings([], {"hostname": "rack-7"}) is None
True
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import Finding
from . import sandbox, values
from .plan import Unit
from .toml import Table

TABLE = "identity"
LIFE_SECONDS = 600
INTERVAL_SECONDS = 3600
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}\Z")  # SPIFFE-ID, section 2.1

KEYS: Mapping[str, values.Check] = {
    "trust_domain": values.matching(_DOMAIN, "lower-case letters, digits, ., - and _"),
    "life_s": values.whole(60, 86400),
    "attest_interval_s": values.whole(120, 30 * 86400),
    "verdict_required": values.flag,
}


@dataclass(frozen=True)
class Settings:
    """What the service goes by. ``agents`` gives each agent that has a certificate its user."""

    trust_domain: str
    life: int
    interval: int
    verdict_required: bool
    agents: Mapping[str, int]


def identity(table: Table) -> tuple[dict[str, object] | None, list[Finding]]:
    """The record of ``[identity]``, None without the table; and every finding."""
    findings: list[Finding] = []
    if not table.values:
        return None, []
    found = table.checked(KEYS, findings)
    life, interval = _times(found)
    if not findings and life >= interval:
        key = "life_s" if "life_s" in table.values else "attest_interval_s"
        message = f"a life of {life} s is not shorter than attestation's interval of {interval} s"
        findings.append(table.finding(key, message))
    return found, findings


def is_wanted(unit: Unit) -> bool:
    """Whether a unit is an agent that has a certificate."""
    profile = sandbox.of(unit)
    return profile is not None and profile.certificate


def settings(units: Iterable[Unit], machine: Mapping[str, object]) -> dict[str, object] | None:
    """What the service is told, as JSON holds it; None when no agent has a certificate."""
    agents = {unit.name: unit.user for unit in units if is_wanted(unit)}
    if not agents:
        return None
    given = machine.get(TABLE)
    table = given if isinstance(given, dict) else {}
    life, interval = _times(table)
    return {
        "trust_domain": table.get("trust_domain", str(machine.get("hostname", "ainos")).lower()),
        "life_s": life,
        "attest_interval_s": interval,
        "verdict_required": table.get("verdict_required", False),
        "agents": agents,
    }


def from_record(record: object) -> Settings:
    """The settings that ``settings`` made and JSON carried. Raises KeyError or ValueError."""
    if not isinstance(record, dict) or not isinstance(record["agents"], dict):
        raise ValueError("no settings of [identity]")
    return Settings(
        str(record["trust_domain"]),
        int(record["life_s"]),
        int(record["attest_interval_s"]),
        record["verdict_required"] is True,
        {str(name): int(user) for name, user in record["agents"].items()},
    )


def _times(table: Mapping[str, object]) -> tuple[int, int]:
    life, interval = table.get("life_s"), table.get("attest_interval_s")
    return (
        life if isinstance(life, int) else LIFE_SECONDS,
        interval if isinstance(interval, int) else INTERVAL_SECONDS,
    )
