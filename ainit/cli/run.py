"""``ainitctl run``: a program with a GPU instance, from its place in the queue to its end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from ..child.compile import read
from ..errors import ConfigError, UnavailableError
from ..policy import config
from . import render, reply
from .base import Command, Settings
from .logs import duration

RUN, JOBS, CANCEL = (f"org.ainos.Control.{name}" for name in ("Run", "Jobs", "CancelJob"))
LOGS = "org.ainos.Control.Logs"
POLL_SECONDS = 0.3
PATIENCE_SECONDS = 15.0  # while PID 1 starts anew, say
IN_QUEUE = "in the queue"  # how such a reason begins
SIGNALLED = 128  # a shell's exit status for a signal, less its number
NOT_RUN = 1
LINES_MAX = 10_000
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)([KMGT]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no size such as 512M or 8G")
    return int(found[1]) * _SIZES[found[2]]


def _profiles(
    _context: click.Context, _option: click.Parameter, value: str
) -> tuple[list[str], dict[str, float]]:
    """Profiles, each perhaps with its speed: 2g.20gb=0.5,3g.40gb=0.7."""
    names: list[str] = []
    speeds: dict[str, float] = {}
    for part in value.split(","):
        name, said, speed = part.strip().partition("=")
        if not name:
            raise click.BadParameter("is profiles such as 2g.20gb,3g.40gb")
        names.append(name)
        if said:
            try:
                speeds[name] = float(speed)
            except ValueError:
                raise click.BadParameter(f"{speed!r} is no speed such as 0.5") from None
    return names, speeds


def _pairs(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, found, text = value.partition("=")
        if not found or not name:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        pairs[name] = text
    return pairs


def _sandbox(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> Mapping[str, object] | None:
    """The table of a file. Raises ConfigError with every finding."""
    if value is None:
        return None
    record, findings = config.sandbox(read(Path(value)), value)
    if findings:
        raise ConfigError(findings)
    return record


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.option(
    "--gpu",
    required=True,
    callback=_profiles,
    metavar="PROFILE[=SPEED],…",
    help="MIG profiles of which any will do, the best first; SPEED: 1 is a whole GPU.",
)
@click.option("--priority", type=click.IntRange(-100, 100), help="The higher goes first.")
@click.option("--deadline", callback=duration, metavar="DURATION", help="Wanted by then: 2h.")
@click.option(
    "--estimate", callback=duration, metavar="DURATION", help="On the first profile: 30m."
)
@click.option("--name", metavar="NAME", help="What it is called, NAME.job.  [default: a number]")
@click.option("--owner", metavar="NAME", help="Whose share it is charged to.")
@click.option("--cpus", type=float, metavar="N", help="Processors that it may use.")
@click.option("--memory", callback=_size, metavar="SIZE", help="Memory that it may use: 8G.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="A model to hand over.")
@click.option(
    "--extension", "extensions", multiple=True, metavar="NAME", help="An extension to mount."
)
@click.option(
    "--env", "environment", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="A variable."
)
@click.option(
    "--sandbox",
    type=click.Path(dir_okay=False),
    callback=_sandbox,
    metavar="FILE",
    help="TOML with a table [sandbox], as in an agent's manifest: it may what that lists.",
)
@click.option("-d", "--detach", is_flag=True, help="Do not follow it: print its name and return.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(
    settings: Settings,
    /,
    gpu: tuple[list[str], dict[str, float]],
    command: tuple[str, ...],
    detach: bool,
    deadline: float | None,
    estimate: float | None,
    memory: int | None,
    sandbox: Mapping[str, object] | None,
    **more: object,
) -> int:
    """Run COMMAND once there is a GPU instance for it, and follow it to its end.

    COMMAND is an absolute path on the verified root, or in an extension that it names
    (/run/ainit/extensions/NAME/…). It runs as nobody in particular, held to what was measured for
    it, and finds its instance in CUDA_VISIBLE_DEVICES. What it writes is shown; its exit status is
    this command's, 128 and the signal if one ended it. Interrupting cancels it, the second time
    without waiting. Needs root, or the role operator.
    """
    profiles, speeds = gpu
    parameters: dict[str, object] = {
        "command": list(command),
        "profiles": profiles,
        "speeds": speeds,
        "deadline_s": deadline,
        "estimate_s": estimate,
        "memory_bytes": memory,
        **more,
    }
    given = {key: _plain(value) for key, value in parameters.items() if value not in (None, (), {})}
    if sandbox is not None:
        given["sandbox"] = sandbox  # an empty one is the tightest
    answer = settings.call(RUN, given)
    name = reply.text(answer, "name")
    if detach:
        render.as_json_line(answer) if settings.json else click.echo(name)
        return 0
    click.echo(f"ainitctl: {name}", err=True)
    try:
        return follow(settings, name)
    except KeyboardInterrupt:
        click.echo(f"ainitctl: cancels {name}", err=True)
        settings.call(CANCEL, {"name": name})
        return follow(settings, name)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def follow(settings: Settings, name: str) -> int:
    """Show what a job writes and why it waits, until it is over; its exit status."""
    cursors: Mapping[str, object] = {name: 0}
    said = ""
    for job in _states(settings, name):
        state, reason = reply.text(job, "state"), reply.text(job, "reason")
        if state == "allocating" and reason.startswith(IN_QUEUE) and reason != said:
            click.echo(f"ainitctl: {name} is {reason}", err=True)
            said = reason
        cursors = _show(settings, name, cursors)
        if job.get("over") is True:
            time.sleep(POLL_SECONDS)  # what it wrote last is perhaps on its way
            _show(settings, name, cursors)
            return _status(job)
        time.sleep(POLL_SECONDS)
    return NOT_RUN


def _states(settings: Settings, name: str) -> Iterator[reply.Record]:
    """What becomes of a job. While nobody answers for a moment, the last word holds."""
    until = 0.0
    while True:
        try:
            (job,) = reply.records(settings.call(JOBS, {"name": name}), "jobs")
        except UnavailableError:
            until = until or time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > until:
                raise
            time.sleep(POLL_SECONDS)
            continue
        until = 0.0
        yield job


def _show(settings: Settings, name: str, cursors: Mapping[str, object]) -> Mapping[str, object]:
    """Print what came behind the cursors; the cursors behind that."""
    while True:
        parameters = {"unit": name, "lines": LINES_MAX, "cursors": cursors}
        answer = settings.call(LOGS, parameters)
        lines = [line for line in reply.records(answer, "lines") if line.get("source") == "unit"]
        for line in lines:
            if settings.json:
                render.as_json_line(line)
            else:
                click.echo(render.visible(line.get("text")))
        following = {**cursors, **reply.record(answer, "cursors")}
        if following == cursors:
            return cursors
        cursors = following


def _status(job: Mapping[str, object]) -> int:
    """A shell's exit status for a job's end."""
    status = job.get("exit_status")
    if not isinstance(status, int):
        reason = reply.text(job, "reason") or reply.text(job, "state")
        click.echo(f"ainitctl: {reply.text(job, 'name')} did not run: {reason}", err=True)
        return NOT_RUN
    if status < 0:
        click.echo(f"ainitctl: {reply.text(job, 'name')} was ended by signal {-status}", err=True)
        return SIGNALLED - status
    return status
