"""``ainitctl quarantine`` and ``release``."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from click.shell_completion import CompletionItem

from ..errors import AinosError
from . import render, reply
from .base import Command, Settings

HEADERS = ("UNIT", "STATE", "SINCE", "BY", "EVIDENCE", "REASON")
COMPLETION_SECONDS = 1.0


def _complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Agents and jobs, or with `release` those that are held; silent without a machine."""
    settings = context.ensure_object(Settings)
    settings.timeout = COMPLETION_SECONDS
    try:
        units = reply.records(settings.call("org.ainos.Control.Status"), "units")
    except AinosError:
        return []
    held = context.command.name == "release"
    return [
        CompletionItem(name, help=reply.text(unit, "description"))
        for unit in units
        if unit.get("kind") != "service" and bool(unit.get("quarantine")) == held
        if (name := reply.text(unit, "name")).startswith(incomplete)
    ]


@click.command(cls=Command)
@click.argument("name", metavar="UNIT", required=False, shell_complete=_complete)
@click.option("--reason", metavar="TEXT", help="Why; everybody sees it in `ainitctl status`.")
@click.option("--list", "list_", is_flag=True, help="Show what is in quarantine.")
@click.pass_obj
def quarantine(settings: Settings, name: str | None, reason: str | None, list_: bool) -> None:
    """Freeze the agent or job UNIT, cut its network, and keep what there is of it to see.

    It stays in quarantine, over a reboot if it is an agent, until `ainitctl release`; a stop kills
    it and leaves it there. `ainitctl crash show` has the evidence. Needs root, or the role admin.
    """
    if list_ != (name is None) or list_ == (reason is not None):
        raise click.UsageError("give UNIT and --reason TEXT, or --list")
    if list_:
        _list(settings)
        return
    answer = settings.call("org.ainos.Control.Quarantine", {"name": name, "reason": reason})
    if settings.json:
        render.as_json(answer)
        return
    if answer.get("frozen") is not True:
        click.echo(f"ainitctl: a process of {name} has not stopped yet", err=True)
    click.echo(f"{name} is in quarantine; its evidence: {reply.text(answer, 'evidence')}")


@click.command(cls=Command)
@click.argument("names", metavar="UNIT...", nargs=-1, required=True, shell_complete=_complete)
@click.pass_obj
def release(settings: Settings, names: tuple[str, ...]) -> None:
    """Let each UNIT go on where it stood, or start if it is to be up.

    What was kept of it stays. The way to the hosts that an agent lists is open again when it has
    been restarted. Needs root, or the role admin.
    """
    for name in names:
        answer = settings.call("org.ainos.Control.Release", {"name": name})
        if settings.json:
            render.as_json_line(answer)


def facts(held: reply.Record) -> list[tuple[str, object]]:
    """What there is to say of a unit's quarantine; nothing when it is in none."""
    if not held:
        return []
    who = f"{_when(held)} by {reply.text(held, 'by')}: {reply.text(held, 'reason')}"
    return [("quarantine", who), ("evidence", held.get("evidence"))]


def _list(settings: Settings) -> None:
    units = reply.records(settings.call("org.ainos.Control.Status"), "units")
    held = [unit for unit in units if unit.get("quarantine")]
    if settings.json:
        render.as_json({"units": held})
        return
    render.table(HEADERS, [_row(unit, reply.record(unit, "quarantine")) for unit in held])


def _row(unit: reply.Record, held: reply.Record) -> tuple[str, ...]:
    words = (reply.text(held, key) for key in ("by", "evidence", "reason"))
    return reply.text(unit, "name"), reply.text(unit, "state"), _when(held), *words


def _when(held: reply.Record) -> str:
    at = held.get("time")
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" if isinstance(at, int) else ""
