"""The ``[update]`` part of the machine configuration: where updates come from, and when.

    [update]
    repository = "https://updates.example/ainos"
    authorities = "-----BEGIN CERTIFICATE-----…"
    channel = "stable"
    automatic = "reboot"                # off, check, install or reboot
    windows = ["Sat,Sun 02:00"]         # when one may begin; UTC, see units.md#calendar
    window_s = 7200
    healthy_s = 600                     # so long without a break before an update is kept

Leaves out which release is whose (``ainit.ota.decide``) and how a machine is found healthy
(``ainit.ota.gate``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import Finding
from . import calendar_text, values
from .calendar import next_of
from .toml import Table

Compiled = Mapping[str, Sequence[int]]

CHANNELS = ("stable", "beta", "edge")
OFF, CHECK, INSTALL, REBOOT = AUTOMATIC = ("off", "check", "install", "reboot")
AGENTS, GPUS, NETWORK, ATTESTATION = REQUIRED = ("agents", "gpus", "network", "attestation")

_DAY = 86400
_ADDRESS = re.compile(r"(https?://[^\s/?#@]+(/[^\s?#]*)?|usb:[^\s/]+(/\S*)?|/\S+)\Z")
_PEM = re.compile(
    r"(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----)+\s*\Z"
)
_PROXY = re.compile(r"http://[^\s/?#@]+/?\Z")


@dataclass(frozen=True, slots=True)
class Settings:
    """``[update]`` with what it leaves out. Times are seconds, ``rate`` bytes a second, 0 for no
    limit; ``authorities`` vouch for an https:// server (PEM), without which none is believed.
    ``required``: what has to be healthy, besides units and machine, for a new release to
    stay. ``windows`` are compiled calendar expressions; none is always.
    """

    repository: str = ""
    channel: str = "stable"
    automatic: str = CHECK
    windows: tuple[Compiled, ...] = ()
    window_s: int = 4 * 3600
    poll_s: int = 6 * 3600
    jitter_s: int = 3600
    healthy_s: int = 300
    healthy_within_s: int = 1800
    rate: int = 0
    proxy: str = ""
    authorities: str = ""
    required: tuple[str, ...] = REQUIRED

    @property
    def polls(self) -> bool:
        """Whether the machine looks for updates by itself."""
        return bool(self.repository) and self.automatic != OFF


def _calendar(value: object) -> dict[str, list[int]]:
    try:
        return calendar_text.parse(values.text(value))
    except ValueError as error:
        raise ValueError(f"has {value!r}, which {error}") from error


_KEYS: Mapping[str, values.Check] = {
    "repository": values.matching(
        _ADDRESS, "an http:// or https:// address, usb:LABEL/PATH, or a directory (/...)"
    ),
    "channel": values.one_of(CHANNELS),
    "automatic": values.one_of(AUTOMATIC),
    "windows": values.list_of(_calendar),
    "window_s": values.whole(60, 7 * _DAY),
    "poll_s": values.whole(60, 30 * _DAY),
    "jitter_s": values.whole(0, 30 * _DAY),
    "healthy_s": values.whole(0, _DAY),
    "healthy_within_s": values.whole(10, 7 * _DAY),
    "rate": values.size(1024),
    "proxy": values.matching(_PROXY, "an http:// address such as http://10.0.0.9:3128"),
    "authorities": values.matching(_PEM, "certificates in PEM"),
    "required": values.names_list(values.one_of(REQUIRED)),
}


def update(table: Table) -> tuple[dict[str, object] | None, list[Finding]]:
    """The record of ``[update]``, None without the table; and every finding."""
    findings: list[Finding] = []
    if not table.values:
        return None, []
    found = from_record(table.checked(_KEYS, findings))
    if found.healthy_within_s <= found.healthy_s:
        key = "healthy_within_s" if "healthy_within_s" in table.values else "healthy_s"
        findings.append(
            table.finding(
                key,
                f"healthy_within_s {found.healthy_within_s} leaves no time to be healthy for"
                f" healthy_s {found.healthy_s}",
            )
        )
    if "repository" not in table.values:
        findings += [
            table.finding(key, f"{key} is of no use without a repository")
            for key in ("channel", "windows", "rate", "proxy")
            if key in table.values
        ]
    if found.automatic in (INSTALL, REBOOT) and not found.repository:
        findings.append(table.finding("automatic", "automatic needs a repository"))
    if found.repository.startswith("https:") and not found.authorities:
        findings.append(
            table.finding(
                "repository", "an https:// repository needs authorities: the image has none"
            )
        )
    if found.proxy and not found.repository.startswith("http"):
        findings.append(table.finding("proxy", "proxy is for a repository at an http address"))
    return asdict(found), findings


def from_record(record: object) -> Settings:
    """The settings in what ``update`` returned and JSON carried; the defaults for anything else."""
    if not isinstance(record, dict):
        return Settings()
    known = {field.name for field in fields(Settings)}
    listed: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record.items()
        if key in known
    }
    return Settings(**listed)


def opens(settings: Settings, now: float) -> float:
    """How long until the next maintenance window in seconds; 0 within one.

    ``now`` is in seconds since 1970. A machine whose windows never come again waits for a day.
    """
    if not settings.windows:
        return 0.0
    begin = next_of(settings.windows, int(now) - settings.window_s)
    return float(_DAY) if begin is None else max(0.0, begin - now)
