"""``ainitctl top``: what every unit uses, over and over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import click

from ..child import accounts
from . import render, repeated, reply
from .base import Command, Settings

HEADERS = (
    "UNIT", "STATE", "CPU %", "MEMORY", "PEAK", "PIDS", "READ/S", "WRITE/S", "RESTARTS", "OOM",
    "PRESSURE %",
)  # fmt: skip
# What units are sorted by: the largest first, names from a to z.
SORTS = {
    "cpu": "cpu_percent",
    "memory": "memory_bytes",
    "pids": "pids",
    "io": "io_bytes_per_s",
    "restarts": "restarts",
    "pressure": "memory_pressure",
    "name": "name",
}
_ROWS_ROUND_THE_TABLE = 4

Accounts = dict[str, reply.Record]


@click.command(cls=Command)
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    default="cpu",
    show_default=True,
    help="What to sort by; the largest comes first.",
)
@repeated.options(default=2.0, help="Time between two readings.")
@click.pass_obj
def top(settings: Settings, sort: str, interval: float, iterations: int | None) -> None:
    """Show what every unit uses, again and again until interrupted.

    CPU is in per cent of one processor, and like READ and WRITE an average over the interval, so
    the first table comes after one. PRESSURE is the share of the last ten seconds in which some
    task of the unit waited for memory. A `-` is what the kernel does not account for. With
    `--json`, each table is one object.
    """
    live, count = repeated.often(settings, iterations)
    tables = itertools.islice(_tables(settings, interval, sort), count)
    if live:
        _show_live(tables)
        return
    for number, units in enumerate(tables):
        if settings.json:
            answer = {"interval": interval, "units": units}
            (render.as_json if count == 1 else render.as_json_line)(answer)
            continue
        if number:
            click.echo()
        render.table(HEADERS, map(row, units))


def _tables(settings: Settings, interval: float, sort: str) -> Iterator[list[reply.Record]]:
    """The sorted units after each interval, for ever."""
    before = _read(settings)
    while True:
        time.sleep(interval)
        after = _read(settings)
        units = [usage(before.get(name, {}), account) for name, account in after.items()]
        yield sorted(units, key=lambda unit: _key(unit, SORTS[sort]))
        before = after


def _read(settings: Settings) -> Accounts:
    with settings.client() as client:
        return accounts.read(client)


def usage(before: reply.Record, after: reply.Record) -> reply.Record:
    """An account with what was used since the one before: of the processor in per cent of one, of
    disks in bytes a second. None where nobody counts, or where the counting began anew.

    >>> used = usage({"time": 1.0, "cpu_usec": 0}, {"time": 3.0, "cpu_usec": 500000})
    >>> used["cpu_percent"], used["io_bytes_per_s"]
    (25.0, None)
    """
    cpu = _rate(before, after, "cpu_usec")
    reads, writes = (_rate(before, after, f"io_{way}_bytes") for way in ("read", "write"))
    return {
        **after,
        "cpu_percent": None if cpu is None else round(cpu / 10_000, 1),
        "io_read_bytes_per_s": reads,
        "io_write_bytes_per_s": writes,
        "io_bytes_per_s": None if reads is None or writes is None else reads + writes,
    }


def _rate(before: reply.Record, after: reply.Record, key: str) -> float | None:
    first, last = before.get(key), after.get(key)
    begin, end = before.get("time"), after.get("time")
    if not all(isinstance(value, int | float) for value in (first, last, begin, end)):
        return None
    seconds = end - begin  # type: ignore[operator]
    amount = last - first  # type: ignore[operator]
    return amount / seconds if seconds > 0 and amount >= 0 else None


def _key(unit: reply.Record, field: str) -> tuple[float, str]:
    name, value = reply.text(unit, "name"), unit.get(field)
    return (-value if isinstance(value, int | float) else 1.0), name


def row(unit: reply.Record) -> tuple[str, ...]:
    """One line of the table."""
    return (
        reply.text(unit, "name"),
        reply.text(unit, "state"),
        reply.text(unit, "cpu_percent"),
        render.size(unit.get("memory_bytes")),
        render.size(unit.get("memory_peak_bytes")),
        reply.text(unit, "pids"),
        render.size(unit.get("io_read_bytes_per_s")),
        render.size(unit.get("io_write_bytes_per_s")),
        reply.text(unit, "restarts"),
        reply.text(unit, "oom_kills"),
        reply.text(unit, "memory_pressure"),
    )


def _show_live(tables: Iterator[list[reply.Record]]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for units in tables:
            rows = [row(unit) for unit in units[: max(console.height - _ROWS_ROUND_THE_TABLE, 1)]]
            live.update(render.rich_table(HEADERS, rows), refresh=True)
