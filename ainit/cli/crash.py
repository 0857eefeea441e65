"""``ainitctl crash``: how earlier boots ended, what PID 1 outlived in this one, and what was
kept of units in quarantine.
"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ..child.client import VarlinkError
from . import render, reply
from .base import Group, Settings

HEADERS = ("ID", "KIND", "TIME", "KERNEL", "CAUSE")
THIS_BOOT = "this-boot"
AINIT_FAULT = "ainit-fault"


@click.group(cls=Group)
def crash() -> None:
    """Boots that did not end in order: panics, hangs, power cuts; and units in quarantine.

    Faults of PID 1 that it outlived in the present boot are shown as `this-boot`.
    """


@crash.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List what is known, the newest first. Times are UTC."""
    answer = settings.call("org.ainos.Crash.List")
    crashes = [*_present(settings), *reply.records(answer, "crashes")]
    if settings.json:
        render.as_json({**answer, "crashes": crashes})
        return
    if problem := reply.text(answer, "problem"):
        click.echo(f"ainitctl: crashes are not kept: {render.visible(problem)}", err=True)
    render.table(HEADERS, [_line(crash) for crash in crashes])


@crash.command("show")
@click.argument("crash_id", metavar="ID")
@click.argument("file", required=False)
@click.pass_obj
def show(settings: Settings, crash_id: str, file: str | None) -> None:
    """Show one crash: cause, the end of the kernel's log, and the last lines of the log files.

    Of a quarantine, the last lines of the unit and what else was kept; with FILE, that.
    Needs root.
    """
    if file is not None:
        _show_file(settings, crash_id, file)
        return
    if crash_id == THIS_BOOT:
        present = _present(settings)
        if not present:
            raise click.ClickException("PID 1 has had no fault in this boot")
        answer: reply.Record = {"crash": present[0], "console": "", "log": "", "files": []}
    else:
        try:
            answer = settings.call("org.ainos.Crash.Show", {"id": crash_id})
        except VarlinkError as error:
            if error.name != "org.ainos.Crash.NoSuchCrash":
                raise
            hint = "`ainitctl crash list` lists them"
            raise click.ClickException(f"there is no crash {crash_id}; {hint}") from error
    if settings.json:
        render.as_json(answer)
        return
    record = reply.record(answer, "crash")
    render.facts(
        [
            ("id", record.get("id")),
            ("kind", record.get("kind")),
            ("time", when(record.get("time"))),
            ("boot", record.get("boot_id")),
            ("kernel", record.get("kernel")),
            ("cause", record.get("cause")),
            ("ainit faults", record.get("faults")),
            ("incomplete", _incomplete(record)),
            ("files", ", ".join(reply.words(answer, "files"))),
        ]
    )
    for title, key in (("kernel log", "console"), ("log files", "log")):
        if text := reply.text(answer, key):
            click.echo(f"\n{title}:")
            for line in text.splitlines():
                click.echo(render.visible(line))


def _incomplete(record: reply.Record) -> str:
    if not record.get("incomplete"):
        return ""
    kept = record.get("kind") == "quarantine"
    return "part of it was not kept" if kept else "part of the kernel's log is lost"


def _show_file(settings: Settings, piece: str, file: str) -> None:
    try:
        answer = settings.call("org.ainos.Crash.File", {"id": piece, "file": file})
    except VarlinkError as error:
        if error.name != "org.ainos.Crash.NoSuchCrash":
            raise
        hint = f"`ainitctl crash show {piece}` lists its files"
        raise click.ClickException(f"there is no {file} of {piece}; {hint}") from error
    if settings.json:
        render.as_json(answer)
        return
    for line in reply.text(answer, "text").splitlines():
        click.echo(render.visible(line))


def _present(settings: Settings) -> list[reply.Record]:
    """The faults of PID 1 in this boot, as one crash that was none."""
    machine = reply.record(settings.call("org.ainos.Control.Status"), "machine")
    faults = machine.get("faults")
    if not isinstance(faults, int) or not faults:
        return []
    return [
        {
            "id": THIS_BOOT,
            "kind": AINIT_FAULT,
            "time": None,
            "boot_id": "",
            "kernel": "",
            "cause": reply.text(machine, "last_fault") or "PID 1 caught a fault and went on",
            "faults": faults,
            "incomplete": False,
        }
    ]


def _line(crash: reply.Record) -> tuple[str, ...]:
    words = (reply.text(crash, name) for name in ("kernel", "cause"))
    return reply.text(crash, "id"), reply.text(crash, "kind"), when(crash.get("time")), *words


def when(time: object) -> str:
    """Seconds since 1970 as UTC; empty when it is no time."""
    if not isinstance(time, int | float):
        return ""
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return f"{time:g}"
