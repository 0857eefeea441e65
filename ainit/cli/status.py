"""``ainitctl status``: the machine at a glance."""

from __future__ import annotations

import click

from . import render, reply
from .base import Command, Settings

_WRONG = ("failed", "refused", "backoff", "quarantined")
HEADERS = ("UNIT", "KIND", "STATE", "PID", "RESTARTS", "MEMORY", "FOR", "DETAIL")


@click.command(cls=Command)
@click.option("--failed", is_flag=True, help="Show only units that are not where they should be.")
@click.pass_obj
def status(settings: Settings, failed: bool) -> None:
    """Show health, boot phases and every unit.

    Health is `starting`, `healthy`, `degraded` or `refused`; below it stands what keeps the machine
    from being healthy. FOR is how long the unit has been in its state; DETAIL says why it is not
    ready, or which GPU partition it holds.
    """
    answer = settings.call("org.ainos.Control.Status")
    if settings.json:
        render.as_json(answer)
        return
    machine = reply.record(answer, "machine")
    uptime = machine.get("uptime")
    render.facts(
        [
            (
                "machine",
                f"{reply.text(machine, 'hostname')}, AINOS {reply.text(machine, 'version')}",
            ),
            ("health", machine.get("health")),
            *(("", finding) for finding in reply.words(machine, "findings")),
            ("secure boot", machine.get("secure_boot")),
            ("tpm", machine.get("tpm")),
            ("enforcement", machine.get("enforcement")),
            ("root", machine.get("root")),
            ("state", machine.get("state")),
            ("configuration", machine.get("configuration")),
            ("up", render.span(uptime)),
            ("boot", _phases(reply.records(answer, "phases"))),
        ]
    )
    units = reply.records(answer, "units")
    if failed:
        units = [unit for unit in units if unit.get("state") in _WRONG]
    click.echo()
    render.table(HEADERS, [row(unit, uptime) for unit in units])


def row(unit: reply.Record, uptime: object) -> tuple[str, ...]:
    """One line of the table of units."""
    since = unit.get("since")
    known = isinstance(since, int | float) and isinstance(uptime, int | float)
    return (
        reply.text(unit, "name"),
        reply.text(unit, "kind"),
        reply.text(unit, "state"),
        reply.text(unit, "pid"),
        reply.text(unit, "restarts"),
        render.size(unit.get("memory_bytes")),
        render.span(uptime - since) if known else "",  # type: ignore[operator]
        reply.text(unit, "reason") or _notes(unit),
    )


def _notes(unit: reply.Record) -> str:
    denied = unit.get("denied_opens")
    notes = (partition(reply.record(unit, "gpu")), f"denied {denied} files" if denied else "")
    return ", ".join(filter(None, notes))


def partition(gpu: reply.Record) -> str:
    """The GPU partition that a unit asked for, and where it lies once it is allocated."""
    if not gpu:
        return ""
    where = f" on GPU {gpu['gpu']}" if gpu.get("gpu") is not None else ""
    return f"{reply.text(gpu, 'profile')}{where}"


def _phases(phases: list[reply.Record]) -> str:
    return ", ".join(
        f"{reply.text(phase, 'name')} {render.span(phase.get('seconds'))}" for phase in phases
    )
