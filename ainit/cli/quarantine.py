"""``ainitctl quarantine``: freeze a unit, list what is held, let it go."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from click.shell_completion import CompletionItem

from . import render, reply
from .base import Command, Settings
from .unit_names import complete

HEADERS = ("UNIT", "STATE", "SINCE", "BY", "EVIDENCE", "REASON")


def _complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Agents and jobs, or with `--release` those that are held; silent without a machine."""
    held = context.params.get("release") is True
    return complete(
        context,
        incomplete,
        lambda unit: unit.get("kind") != "service" and bool(unit.get("quarantine")) == held,
    )


@click.command(cls=Command)
@click.argument("name", metavar="UNIT", required=False, shell_complete=_complete)
@click.option("--reason", metavar="TEXT", help="Why; everybody sees it in `ainitctl status`.")
@click.option("--release", is_flag=True, help="Let it go on, or start if it is to be up.")
@click.option("--list", "list_", is_flag=True, help="Show what is in quarantine.")
@click.pass_obj
def quarantine(
    settings: Settings, name: str | None, reason: str | None, release: bool, list_: bool
) -> None:
    """Freeze the agent or job UNIT, cut its network, and keep what there is of it to see.

    It stays in quarantine, over a reboot if it is an agent, until it is released; a stop kills it
    and leaves it there. `ainitctl crash show` has the evidence, which stays when it is released;
    the way to the hosts that an agent lists is open again when it has been restarted. Needs root,
    or the role admin.

    \b
      ainitctl quarantine speech --reason "odd connections"
      ainitctl quarantine speech --release
      ainitctl quarantine --list
    """
    if [reason is not None, release, list_].count(True) != 1 or list_ != (name is None):
        raise click.UsageError("give UNIT and --reason TEXT, UNIT and --release, or --list")
    if list_:
        _list(settings)
        return
    if release:
        answer = settings.call("org.ainos.Control.Release", {"name": name})
        if settings.json:
            render.as_json_line(answer)
        return
    answer = settings.call("org.ainos.Control.Quarantine", {"name": name, "reason": reason})
    if settings.json:
        render.as_json(answer)
        return
    if answer.get("frozen") is not True:
        click.echo(f"ainitctl: a process of {name} has not stopped yet", err=True)
    click.echo(f"{name} is in quarantine; its evidence: {reply.text(answer, 'evidence')}")


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
