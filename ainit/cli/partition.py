"""``ainitctl gpu plan``, ``apply`` and ``events``: another partition for the GPUs of a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..child.client import Client
from ..errors import ConfigError, Finding
from ..wire.protocol import VarlinkError
from . import render, reply
from .base import Settings
from .partition_file import FileEntry, load

COLUMNS = ("GPU", "CHANGE", "PROFILE", "SLICES", "INSTANCE", "AGENT")
POLL_S = 0.2
WAIT_S = 300.0
_GPU = "org.ainos.Gpu"
_Command = TypeVar("_Command", bound=Callable[..., object])


def file_options(command: _Command) -> _Command:
    """The arguments that say what is wished for."""
    unknown = click.option(
        "--unknown",
        type=click.Choice(("keep", "adopt", "remove")),
        default="keep",
        show_default=True,
        help="Instances that were not made here: they stay and are in the way; stay and count; or "
        "are kept where they fit and removed where not.",
    )
    config = click.option(
        "--config", metavar="NAME", default="", help="Which of the file's configurations."
    )
    path = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
    return path(config(unknown(command)))


def plan(settings: Settings, path: Path, config: str, unknown: str) -> int:
    """Print what would change; 1 when it cannot be done."""
    _, entries = load(path, config)
    answer = settings.call(f"{_GPU}.Plan", _wish(entries, unknown))
    if settings.json:
        render.as_json(answer)
    else:
        show(answer)
    findings = problems(answer, path, entries)
    if findings and not settings.json:
        raise ConfigError(findings)
    return 1 if findings else 0


def apply(settings: Settings, path: Path, config: str, unknown: str, *, wait: bool) -> int:
    """Have it done, and follow it to its end; 1 when that is not the wish."""
    name, entries = load(path, config)
    with settings.client() as client:
        seen = _last_event(client)
        try:
            answer = client.call(f"{_GPU}.Apply", {**_wish(entries, unknown), "name": name})
        except VarlinkError as error:
            if error.name == f"{_GPU}.Impossible":
                raise ConfigError(problems(error.parameters, path, entries)) from error
            raise
        if settings.json and not wait:
            render.as_json(answer)
        if not settings.json:
            show(answer)
        if not wait:
            return 0
        return _follow(settings, client, answer["transaction"], seen)


def events(settings: Settings, *, follow: bool) -> None:
    """Print what happened, and with ``follow`` what happens."""
    with settings.client() as client:
        last = 0
        while True:
            answer = client.call(f"{_GPU}.Events", {"after": last})
            if settings.json:
                render.as_json(answer)
            last = _print_events(answer, last, quiet=settings.json)
            if not follow:
                return
            time.sleep(POLL_S * 5)


def _follow(settings: Settings, client: Client, number: object, seen: int) -> int:
    until = time.monotonic() + WAIT_S
    while True:
        progress = client.call(f"{_GPU}.Progress", {"transaction": number})
        if not settings.json:
            seen = _print_events(client.call(f"{_GPU}.Events", {"after": seen}), seen)
        if progress.get("end") is not None:
            break
        if time.monotonic() > until:
            raise click.ClickException(
                f"transaction {number} is under way after {WAIT_S:g} s, and goes on; "
                "`ainitctl gpu status` shows it"
            )
        time.sleep(POLL_S)
    if settings.json:
        render.as_json(progress)
    elif progress["end"] != "committed":
        click.echo(f"ainitctl: {progress['end']}: {progress.get('reason')}", err=True)
    return 0 if progress["end"] == "committed" else 1


def _last_event(client: Client) -> int:
    found = reply.records(client.call(f"{_GPU}.Events", {}), "events")
    return _number(found[-1]) if found else 0


def _number(event: reply.Record) -> int:
    number = event.get("number")
    return number if isinstance(number, int) else 0


def _print_events(answer: reply.Record, last: int, *, quiet: bool = False) -> int:
    for event in reply.records(answer, "events"):
        last = max(last, _number(event))
        if not quiet:
            at = event.get("time")
            seconds = f"{at:10.3f}" if isinstance(at, int | float) else ""
            text = f"{seconds}  {reply.text(event, 'kind'):<12}  {reply.text(event, 'text')}"
            click.echo(render.visible(text))
    return last


def _wish(entries: Sequence[FileEntry], unknown: str) -> dict[str, object]:
    return {"entries": [entry.wire() for entry in entries], "unknown": unknown}


def problems(answer: reply.Record, path: Path, entries: Sequence[FileEntry]) -> list[Finding]:
    """The machine's objections, at the lines of the entries that they are about."""
    found = []
    for problem in reply.records(answer, "problems"):
        number, gpu = problem.get("entry"), problem.get("gpu")
        is_known = isinstance(number, int) and 0 <= number < len(entries)
        line = entries[number].line if isinstance(number, int) and is_known else 1
        where = "" if gpu is None else f"GPU {gpu}: "
        found.append(Finding(str(path), line, f"{where}{reply.text(problem, 'reason')}"))
    return found


def show(answer: reply.Record) -> None:
    """Print the changes of a plan."""
    changes = reply.record(answer, "plan")
    rows = [
        (
            reply.text(each, "index") or reply.text(each, "gpu"),
            word,
            reply.text(each, "profile"),
            _slices(each),
            reply.text(each, "instance"),
            reply.text(each, "agent"),
        )
        for key, word in (("remove", "remove"), ("create", "create"), ("keep", "keep"))
        for each in reply.records(changes, key)
    ]
    if rows:
        render.table(COLUMNS, rows)
    disturbed = reply.words(changes, "disturbed")
    if disturbed:
        click.echo(f"\nstopped for it, and started again: {', '.join(disturbed)}")
    if rows and not any(row[1] != "keep" for row in rows):
        click.echo("\nnothing changes")


def _slices(placed: reply.Record) -> str:
    start, size = placed.get("start"), placed.get("size")
    if not isinstance(start, int) or not isinstance(size, int):
        return ""
    return f"{start}-{start + size - 1}" if size > 1 else str(start)
