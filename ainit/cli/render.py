"""How results look: tables for a person at a terminal, aligned plain columns for everything else.

Texts come from units and may hold anything, so control characters are made visible; otherwise a
log line could drive the reader's terminal. ``rich`` is imported only where a terminal is.

>>> plain(("NAME", "PID"), [("gpu", "71")])
'NAME  PID\\ngpu   71'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    "healthy": "green", "ready": "green", "admitted": "green", "up": "green", "on": "green",
    "starting": "yellow", "waiting": "yellow", "allocating": "yellow", "stopping": "yellow",
    "backoff": "yellow", "degraded": "yellow",
    "failed": "red", "refused": "red", "quarantined": "red", "absent": "red", "off": "red",
    "inactive": "dim", "exited": "dim", "down": "dim",
}  # fmt: skip
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


def visible(text: object) -> str:
    """The text on one line, with control characters spelt out (tab stays)."""
    return str(text).translate(_VISIBLE)


def plain(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns without decoration; an empty cell is ``-`` so that columns can be counted."""
    lines = [tuple(headers), *(tuple(visible(cell) or "-" for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    if not sys.stdout.isatty():
        click.echo(plain(headers, rows))
        return
    from rich.console import Console

    Console(highlight=False).print(rich_table(headers, rows))


def rich_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Table(*headers, box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        cells = [visible(cell) for cell in row]
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    return shown


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; pairs without a value are left out."""
    known = [(name, visible(value)) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name:<{width}}  {click.style(value, fg=_colour(value))}")


def _colour(value: str) -> str | None:
    style = _STYLES.get(value)
    return None if style == "dim" else style


def as_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


def as_json_line(value: object) -> None:
    """Print a value as one line of JSON, for streams."""
    click.echo(json.dumps(value, separators=(",", ":")))


def size(count: object) -> str:
    """A number of bytes in binary units: ``12.5M``."""
    if not isinstance(count, int | float):
        return ""
    amount = float(count)
    for unit in ("B", "K", "M", "G"):
        if amount < 1024:
            return f"{amount:.0f}B" if unit == "B" else f"{amount:.1f}{unit}"
        amount /= 1024
    return f"{amount:.1f}T"


def span(seconds: object) -> str:
    """A duration in its two largest units: ``3min 20s``."""
    if not isinstance(seconds, int | float):
        return ""
    rest = max(int(seconds), 0)
    if rest < 60:
        return f"{max(seconds, 0):.1f}s"
    for unit, length, smaller, part in (
        ("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1),
    ):  # fmt: skip
        if rest >= length:
            return f"{rest // length}{unit} {rest % length // part}{smaller}"
    return ""


@contextmanager
def progress(what: str) -> Iterator[Callable[[object, object], None]]:
    """A bar with rate and time for bytes that come, on standard error; a line at the end elsewhere.

    The function that it gives is told how many bytes are done, and how many there will be.
    """
    if not sys.stderr.isatty():
        last: tuple[object, object] = (0, 0)

        def remember(done: object, total: object) -> None:
            nonlocal last
            last = done, total

        yield remember
        if last[1]:
            click.echo(f"{visible(what)}: {size(last[0])} of {size(last[1])}", err=True)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeElapsedColumn())
    click.echo(visible(what), err=True)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def show(done: object, total: object) -> None:
            if isinstance(done, int) and isinstance(total, int):
                bar.update(task, completed=done, total=total or None)

        yield show
