"""``ainitctl logs``: what units have written, from PID 1's memory or from the files of a boot."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

import click

from ..errors import UnavailableError
from . import render, reply
from .base import Command, Settings
from .unit import complete_units

METHOD = "org.ainos.Control.Logs"
FILES = "org.ainos.Log.Read"
NOT_KEPT = "of older output are no longer in memory; --boot current reads the files"
TOO_SLOW = "were skipped: they came faster than they were read"
LINES_MAX = 10_000
RETRIES = 50
RETRY_SECONDS = 0.1
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A number of seconds, or a number with one of the units s, m, h and d."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration such as 90, 90s, 10m, 2h or 1d")
    return float(found[1]) * SECONDS[found[2] or "s"]


def _level(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """A priority of syslog(3), by name or by number."""
    if value is None:
        return None
    if value in PRIORITIES:
        return PRIORITIES.index(value)
    if re.fullmatch("[0-7]", value):
        return int(value)
    raise click.BadParameter(f"{value!r} is none of {', '.join(PRIORITIES)} or 0 to 7")


@click.command(cls=Command)
@click.argument("unit", required=False, shell_complete=complete_units)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0, max=LINES_MAX),
    default=50,
    show_default=True,
    metavar="N",
    help="How many of the last lines to show.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--since", callback=duration, metavar="DURATION", help="Not older than 90s, 10m, 2h.")
@click.option(
    "-p", "--priority", callback=_level, metavar="LEVEL", help="As urgent as err, 4, …, or more so."
)
@click.option("--boot", metavar="current|previous|ID", help="Read the files of that boot.")
@click.pass_obj
def logs(
    settings: Settings,
    unit: str | None,
    lines: int,
    follow: bool,
    since: float | None,
    priority: int | None,
    boot: str | None,
) -> None:
    """Show the last lines that UNIT has written, or those of all units.

    Each line starts with the seconds since boot and the unit's name. Lines come from PID 1's
    memory, which is of a fixed size for each unit: the oldest go first, and what went is said on
    standard error. With `--boot`, they come from the files that outlive a reboot. With `--json`,
    each line is one object. Needs root.
    """
    if boot is not None and (follow or (since is not None and boot != "current")):
        raise click.UsageError("--boot goes with neither --follow nor, but for current, --since")
    oldest = 0.0
    if since is not None:
        machine = reply.record(settings.call("org.ainos.Control.Status"), "machine")
        up = machine.get("uptime")
        oldest = max(float(up) - since, 0.0) if isinstance(up, int | float) else 0.0
    parameters: dict[str, object] = {"lines": lines}
    if unit is not None:
        parameters["unit"] = unit
    wanted = _Wanted(settings, oldest, priority)
    if boot is not None:
        found = {"boot": boot, "since": oldest or None, "priority": priority}
        parameters |= {key: value for key, value in found.items() if value is not None}
        wanted.show(settings.call(FILES, parameters), lines)
        return
    if wanted.chooses:
        parameters["lines"] = LINES_MAX
    if follow:
        _follow(settings, wanted, parameters, lines)
    else:
        answer = settings.call(METHOD, parameters)
        _say_lost(answer, 0, NOT_KEPT)
        wanted.show(answer, lines)


class _Wanted:
    """Which lines to show: not older than ``since`` (seconds since boot), at least as urgent."""

    def __init__(self, settings: Settings, since: float, priority: int | None) -> None:
        self._settings = settings
        self._since = since
        self._priority = priority
        self.chooses = priority is not None or since > 0

    def _fits(self, line: reply.Record) -> bool:
        at, priority = line.get("time"), line.get("priority")
        return not (isinstance(at, int | float) and at < self._since) and not (
            self._priority is not None and isinstance(priority, int) and priority > self._priority
        )

    def show(self, answer: Mapping[str, object], count: int | None = None) -> None:
        """Print the lines of an answer that fit, the last ``count`` of them."""
        lines = [line for line in reply.records(answer, "lines") if self._fits(line)]
        for line in lines if count is None else lines[-count:] if count else ():
            if self._settings.json:
                render.as_json_line(line)
                continue
            at = line.get("time")
            stamp = f"{at:12.6f}" if isinstance(at, int | float) else ""
            text = render.visible(line.get("text"))
            click.echo(f"[{stamp}] {render.visible(line.get('unit'))}: {text}")


def _say_lost(answer: Mapping[str, object], known: int, why: str) -> int:
    """Tell an answer's loss when that is more than ``known``; returns the loss."""
    lost = answer.get("dropped")
    if isinstance(lost, int) and lost > known:
        click.echo(f"ainitctl: {lost - known} bytes {why}", err=True)
        return lost
    return known


def _follow(
    settings: Settings, wanted: _Wanted, parameters: Mapping[str, object], lines: int
) -> None:
    # The first answer tells what the machine has forgotten, later ones what this client missed.
    missed: int | None = None
    for answer, is_first in _answers(settings, {**parameters, "follow": True}):
        if missed is None:
            _say_lost(answer, 0, NOT_KEPT)
            wanted.show(answer, lines)
            missed = 0
        else:
            missed = _say_lost(answer, 0 if is_first else missed, TOO_SLOW)
            wanted.show(answer)


def _answers(
    settings: Settings, parameters: dict[str, object]
) -> Iterator[tuple[reply.Record, bool]]:
    """Every answer, and whether it is the first of its connection. When PID 1 starts over, the
    stream goes on from the cursors on a new connection.
    """
    cursors: dict[str, object] = {}
    retries = 0
    while True:
        is_first = True
        try:
            for answer in settings.follow(METHOD, parameters):
                cursors |= reply.record(answer, "cursors")
                parameters = {**parameters, "cursors": cursors}
                retries = 0
                yield answer, is_first
                is_first = False
            return
        except UnavailableError:
            retries += 1
            if "cursors" not in parameters or retries > RETRIES:
                raise
            time.sleep(RETRY_SECONDS)
