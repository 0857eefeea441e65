"""``ainitctl logs``: what units have written, from PID 1's bounded memory."""

from __future__ import annotations

import click

from . import render, reply
from .base import Command, Settings
from .unit import complete_units


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

    Each line starts with the seconds since boot and the unit's name; `kernel` and `ainit` are
    names, too. Logs are kept in memory of a fixed size for each unit: the oldest lines go first.
    With `--json`, each line is one object.
    """
    parameters: dict[str, object] = {"lines": lines}
    if unit is not None:
        parameters["unit"] = unit
    method = "org.ainos.Control.Logs"
    if follow:
        answers = settings.follow(method, {**parameters, "follow": True})
    else:
        answers = iter((settings.call(method, parameters),))
    dropped = 0
    for answer in answers:
        for line in reply.records(answer, "lines"):
            _show(settings, line)
        lost = answer.get("dropped")
        if isinstance(lost, int) and lost > dropped:
            click.echo(f"ainitctl: {lost} bytes of older output were discarded", err=True)
            dropped = lost


def _show(settings: Settings, line: reply.Record) -> None:
    if settings.json:
        render.as_json_line(line)
        return
    at = line.get("time")
    stamp = f"{at:12.6f}" if isinstance(at, int | float) else " " * 12
    click.echo(f"[{stamp}] {render.visible(line.get('unit'))}: {render.visible(line.get('text'))}")
