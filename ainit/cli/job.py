"""``ainitctl queue`` and ``job``: who waits for a GPU instance, and jobs that are there."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from ..errors import AinosError
from . import render, reply, run
from .base import Command, Group, Settings

QUEUE = "org.ainos.Gpu.Queue"
WAITING = ("POSITION", "NAME", "KIND", "OWNER", "WANTS", "WAITED", "WHY")
JOB = ("NAME", "STATE", "OWNER", "HAS", "SINCE", "EXIT", "COMMAND")


@click.command(cls=Command)
@click.pass_obj
def queue(settings: Settings) -> None:
    """Show who waits for a GPU instance, in order, and why.

    Agents go before jobs. Among either, the order is by priority, time waited and what is left of
    the owner's share; room is kept for an agent, and for a job that has waited too long.
    """
    answer = settings.call(QUEUE)
    if settings.json:
        render.as_json(answer)
        return
    render.table(WAITING, [_waiting(each) for each in reply.records(answer, "waiting")])
    for name in reply.words(answer, "moves"):
        click.echo(f"{render.visible(name)} was asked to stop, to make room or to move")


def _waiting(one: reply.Record) -> tuple[str, ...]:
    return (
        reply.text(one, "position"),
        reply.text(one, "name"),
        reply.text(one, "kind"),
        reply.text(one, "owner"),
        " ".join(reply.words(one, "profiles")),
        render.span(one.get("waited_s")),
        reply.text(one, "reason"),
    )


def complete_jobs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The machine's jobs for shell completion; silent when the machine does not answer."""
    try:
        jobs = reply.records(context.ensure_object(Settings).call(run.JOBS), "jobs")
    except AinosError:
        return []
    names = (reply.text(job, "name") for job in jobs)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.group(cls=Group)
def job() -> None:
    """Jobs that wait, run, or ended lately."""


@job.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Show the jobs. Needs root, or the role operator."""
    answer = settings.call(run.JOBS)
    if settings.json:
        render.as_json(answer)
        return
    render.table(JOB, [_row(each) for each in reply.records(answer, "jobs")])


def _row(one: reply.Record) -> tuple[str, ...]:
    gpu = one.get("gpu")
    has = f"{reply.text(one, 'profile')} of GPU {gpu}" if gpu is not None else ""
    since = one.get("ended") or one.get("started") or one.get("submitted")
    return (
        reply.text(one, "name"),
        reply.text(one, "state"),
        reply.text(one, "owner"),
        has,
        render.span(since),
        reply.text(one, "exit_status"),
        " ".join(reply.words(one, "command")),
    )


@job.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_jobs)
@click.pass_obj
def cancel(settings: Settings, names: tuple[str, ...]) -> None:
    """End each job NAME, whether it waits or runs. Needs root, or the role operator."""
    for name in names:
        full = name if name.endswith(".job") else f"{name}.job"
        answer = settings.call(run.CANCEL, {"name": full})
        if settings.json:
            render.as_json_line(answer)


@job.command()
@click.argument("name", metavar="NAME", shell_complete=complete_jobs)
@click.pass_obj
def follow(settings: Settings, name: str) -> int:
    """Show what the job NAME writes from its start to its end; its exit status is this command's.

    Interrupting leaves the job alone.
    """
    return run.follow(settings, name if name.endswith(".job") else f"{name}.job")
