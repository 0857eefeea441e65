"""``ainitctl logs``: what units have written, from PID 1's bounded memory."""

from __future__ import annotations

import itertools

import click

from . import render, reply
from .base import Command, Settings
from .unit import complete_units

NOT_KEPT = "of older output are no longer kept"
TOO_SLOW = "were skipped: they came faster than they were read"


@click.command(cls=Command)
@click.argument("unit", required=False, shell_complete=complete_units)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="How many of the last lines to show.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.pass_obj
def logs(settings: Settings, unit: str | None, lines: int, follow: bool) -> None:
    """Show the last lines that UNIT has written, or those of all units.

    Each line starts with the seconds since boot and the unit's name. Logs are kept in memory of a
    fixed size for each unit: the oldest lines go first, and what went is said on standard error.
    With `--json`, each line is one object. Needs root.
    """
    parameters: dict[str, object] = {"lines": lines}
    if unit is not None:
        parameters["unit"] = unit
    method = "org.ainos.Control.Logs"
    if not follow:
        _show(settings, settings.call(method, parameters), 0, NOT_KEPT)
        return
    # The first answer tells what the machine has forgotten, later ones what this client missed.
    answers = settings.follow(method, {**parameters, "follow": True})
    for answer in itertools.islice(answers, 1):
        _show(settings, answer, 0, NOT_KEPT)
    missed = 0
    for answer in answers:
        missed = _show(settings, answer, missed, TOO_SLOW)


def _show(settings: Settings, answer: reply.Record, known: int, why: str) -> int:
    """Print an answer's lines, and its loss when that is more than ``known``; returns the loss."""
    lost = answer.get("dropped")
    if isinstance(lost, int) and lost > known:
        click.echo(f"ainitctl: {lost - known} bytes {why}", err=True)
        known = lost
    for line in reply.records(answer, "lines"):
        if settings.json:
            render.as_json_line(line)
            continue
        at = line.get("time")
        stamp = f"{at:12.6f}" if isinstance(at, int | float) else ""
        text = render.visible(line.get("text"))
        click.echo(f"[{stamp}] {render.visible(line.get('unit'))}: {text}")
    return known
