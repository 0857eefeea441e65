"""``ainitctl analyze``: where the time of the boot went."""

from __future__ import annotations

from dataclasses import asdict
from typing import IO

import click

from ..policy import timeline
from ..policy.timeline import Boot, Link, Row
from . import render, reply
from .base import Group, Settings

BLAME = ("STARTED IN", "WAITED", "READY AT", "STATE", "UNIT")


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def analyze(context: click.Context) -> None:
    """Show the phases of the boot, and the chain of units that its length came from.

    The chain starts with the last essential unit to become ready; each next one is what the one
    above it waited for. Times are seconds since the kernel started.
    """
    if context.invoked_subcommand is not None:
        return
    settings = context.ensure_object(Settings)
    boot, _ = _boot(settings)
    chain = timeline.critical_chain(boot)
    if settings.json:
        spans = [{**asdict(span), "seconds": span.seconds} for span in boot.phases]
        links = [_link_record(link) for link in chain]
        render.as_json({"phases": spans, "healthy_at": boot.healthy_at, "chain": links})
        return
    for span in boot.phases:
        click.echo(f"{span.name:<10} {span.seconds:8.3f} s")
    if boot.phases:
        total = boot.phases[-1].end - boot.phases[0].start
        click.echo(f"{'together':<10} {total:8.3f} s\n")
    for link in chain:
        click.echo(render.visible(timeline.sentence(link)))
    if not chain:
        click.echo("no essential unit that the boot started is ready")
    elif boot.healthy_at is None:
        click.echo("the boot is not over: the machine has not become healthy")


@analyze.command("blame")
@click.pass_obj
def blame(settings: Settings) -> None:
    """List units by how long their start took, the slowest first, in seconds."""
    boot, _ = _boot(settings)
    rows = timeline.blame(boot)
    if settings.json:
        render.as_json({"units": [_row_record(row) for row in rows]})
        return
    render.table(BLAME, [_line(row) for row in rows])


@analyze.command("plot")
@click.option(
    "-o",
    "--output",
    type=click.File("wb", atomic=True),
    required=True,
    metavar="FILE",
    help="Where the SVG goes; `-` is standard output.",
)
@click.option(
    "--rows",
    type=click.IntRange(1, 5000),
    default=100,
    show_default=True,
    metavar="N",
    help="Draw at most N units: the critical chain, the unready, the slowest.",
)
@click.pass_obj
def plot(settings: Settings, output: IO[bytes], rows: int) -> None:
    """Draw the boot as a picture (SVG)."""
    from .plot import draw

    boot, title = _boot(settings)
    output.write(draw(boot, title, rows))


def _boot(settings: Settings) -> tuple[Boot, str]:
    """The boot, and whose it was."""
    answer = settings.call("org.ainos.Control.Status")
    machine = reply.record(answer, "machine")
    title = f"{reply.text(machine, 'hostname')}, AINOS {reply.text(machine, 'version')}"
    boot = timeline.read(reply.records(answer, "units"), reply.records(answer, "phases"))
    return boot, title


def _line(row: Row) -> tuple[str, ...]:
    times = (row.starting, row.waited, row.ready)
    return (*("" if at is None else f"{at:.3f}" for at in times), row.state, row.name)


def _row_record(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "state": row.state,
        "wanted_at": row.wanted,
        "spawned_at": row.spawned,
        "ready_at": row.ready,
        "waited_s": row.waited,
        "started_in_s": row.starting,
        "restarts": row.restarts,
    }


def _link_record(link: Link) -> dict[str, object]:
    said = timeline.sentence(link)
    return {**_row_record(link.row), "waited_for": link.blocker, "explanation": said}
