"""What starts a unit other than the boot: sockets, paths, devices and calendars of a unit file.

    [[socket]]                          [[path]]                      [[device]]
    listen = "unix:/run/weather"        exists = "/run/go"            SUBSYSTEM = "tty"
    mode = "0660"

Tables in, the plan's records and every finding out. In the plan a socket has ``listen``, ``name``,
``backlog`` (0 for datagrams) and, for a path, ``mode`` as a number. Leaves out: opening,
watching and waiting, which PID 1 does, and the rest of a timer (``keys``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..errors import ConfigError, Finding
from . import listen, values
from .calendar_text import parse
from .plan import Unit
from .toml import Document, Table
from .values import Check

BACKLOG = 128
MODE = 0o660

_FD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")  # LISTEN_FDNAMES is divided by colons
_PROPERTY = re.compile(r"[A-Z][A-Z0-9_]*\Z")

SOCKET: Mapping[str, Check] = {
    "listen": values.address(*listen.KINDS),
    "mode": values.octal,
    "name": values.matching(_FD_NAME, "a name of letters, digits, hyphens, dots and underscores"),
    "backlog": values.whole(1, 65535),
}
# TOML key → the plan's.
PATH = {"exists": "exists", "changed": "changed", "not_empty": "not-empty"}


def calendar(value: object) -> list[dict[str, list[int]]]:
    """The compiled form of one calendar expression, or of several. Raises ValueError."""
    expressions = value if isinstance(value, list) else [value]
    compiled: list[dict[str, list[int]]] = []
    for item in expressions:
        if not isinstance(item, str):
            compiled.clear()
            break
        try:
            compiled.append(parse(item))
        except ValueError as error:
            raise ValueError(f"{item!r} {error}") from None
    if not compiled:
        raise ValueError('is an expression such as "Mon..Fri 03:00", or a list of them')
    return compiled


def triggers(document: Document, unit: Unit) -> list[Finding]:
    """Set the sockets, paths and devices of ``unit``; returns all that is wrong with them."""
    findings: list[Finding] = []
    for key, field, read in (
        ("socket", "sockets", _socket),
        ("path", "paths", _path),
        ("device", "devices", _device),
    ):
        try:
            tables = list(document.tables(key))
        except ConfigError as error:
            findings += error.findings
            continue
        records = [read(table, unit, findings) for table in tables]
        if records:
            setattr(unit, field, records)
    return findings + list(_twice(document, unit))


def _socket(table: Table, unit: Unit, findings: list[Finding]) -> dict[str, object]:
    found = table.checked(SOCKET, findings)
    where = found.get("listen")
    if not isinstance(where, str):
        if "listen" not in table.values:
            findings.append(table.finding(None, "listen is missing"))
        return found
    family, style, _, _ = listen.address(where)
    if "mode" in found and family != listen.UNIX:
        findings.append(table.finding("mode", "mode is of Unix sockets"))
    if "backlog" in found and style == listen.DATAGRAM:
        findings.append(table.finding("backlog", "backlog is of sockets that accept connections"))
    record = {"name": unit.name, "backlog": 0 if style == listen.DATAGRAM else BACKLOG, **found}
    if family == listen.UNIX:
        record.setdefault("mode", MODE)
    return record


def _path(table: Table, _unit: Unit, findings: list[Finding]) -> dict[str, object]:
    found = table.checked(dict.fromkeys(PATH, values.path), findings)
    if len(table.values.keys() & PATH.keys()) != 1:
        findings.append(table.finding(None, f"a path has exactly one of {', '.join(PATH)}"))
    return {PATH[key]: value for key, value in found.items()}


def _device(table: Table, _unit: Unit, findings: list[Finding]) -> dict[str, object]:
    found: dict[str, object] = {}
    if not table.values:
        findings.append(table.finding(None, 'a device has udev properties: SUBSYSTEM = "tty"'))
    for key, value in table.values.items():
        if not _PROPERTY.match(key):
            message = f"{key} is no udev property, whose name is in upper case"
            findings.append(table.finding(key, message))
            continue
        try:
            found[key] = values.text(value)
        except ValueError as error:
            findings.append(table.finding(key, f"{key} {error}"))
    return found


def _twice(document: Document, unit: Unit) -> Iterator[Finding]:
    seen = set()
    for index, record in enumerate(unit.sockets):
        where = record.get("listen")
        if where in seen:
            line = document.line(("socket", index, "listen"))
            yield Finding(document.file, line, f"{where} is listened on twice")
        if where:
            seen.add(where)
