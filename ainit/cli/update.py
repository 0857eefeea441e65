"""``ainitctl update``: what is offered, what is under way, what the last updates came to."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ..errors import AinosError
from . import render, reply
from .base import Group, Settings
from .crash import when

INTERFACE = "org.ainos.Update"
HISTORY = ("TIME", "VERSION", "BEFORE", "OUTCOME", "WHY")
SLOTS = ("VERSION", "TRIES", "RUNS")


@click.group(cls=Group)
def update() -> None:
    """Releases for this machine: look, install, go back.

    A release is written into the slot that does not run, boots next, and stays once the machine was
    healthy for long enough; otherwise the release before runs again by itself. Where releases come
    from and what the machine does unasked says [update] in its configuration.
    """


@update.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Say how an update stands, why, and what to do next.

    The state is `off`, `idle`, `offered`, `working`, `installed` (boots next), `trial` (runs, and
    has to show that it works), `returning` or `trouble`. TRIES is how often the loader starts a
    release before it takes the other one. Exits with 1 in trouble.
    """
    answer = settings.call(f"{INTERFACE}.Status")
    if settings.json:
        render.as_json(answer)
    else:
        _show(answer)
    if answer.get("state") == "trouble":
        raise AinosError(reply.text(answer, "reason"))


@update.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Look what the repository has for this machine, and say it."""
    follow(settings, "Check", {})
    if not settings.json:
        answer = settings.call(f"{INTERFACE}.Status")
        offered, hindrance = reply.text(answer, "offered"), reply.text(answer, "hindrance")
        click.echo(render.visible(hindrance or f"{offered} is offered: `ainitctl update install`"))


@update.command()
@click.argument("version", required=False)
@click.option("--reboot", is_flag=True, help="Reboot once it is written.")
@click.pass_obj
def install(settings: Settings, version: str | None, reboot: bool) -> None:
    """Write a release into the other slot; the next boot takes it.

    Without VERSION the newest that is offered to this machine now. With it, also one that failed
    here before, or an older one, but none below the floors.
    """
    follow(settings, "Install", {"version": version, "reboot": reboot})
    if not settings.json and not reboot:
        click.echo("it boots next: `ainitctl reboot`")


@update.command()
@click.pass_obj
def history(settings: Settings) -> None:
    """List what the last updates came to, the newest first. Times are UTC."""
    answer = settings.call(f"{INTERFACE}.History")
    if settings.json:
        render.as_json(answer)
        return
    rows = [
        (when(entry.get("time")), *(reply.text(entry, name) for name in _FIELDS))
        for entry in reversed(reply.records(answer, "entries"))
    ]
    render.table(HISTORY, rows)


_FIELDS = ("version", "before", "outcome", "reason")


@update.command()
@click.pass_obj
def rollback(settings: Settings) -> None:
    """Go back to the release before, which begins with a reboot.

    What is left is not installed again by itself. Refused when the release before is below the
    floors, or would not open a sealed state.
    """
    follow(settings, "Rollback", {})
    if not settings.json:
        click.echo("the machine reboots into the release before")


@update.command()
@click.pass_obj
def cancel(settings: Settings) -> None:
    """End what is being done, or forget what is installed and has not booted."""
    answer = settings.call(f"{INTERFACE}.Cancel")
    if settings.json:
        render.as_json(answer)
        return
    click.echo(f"cancelled: {render.visible(reply.text(answer, 'what'))}")


def _show(answer: reply.Record) -> None:
    render.facts(
        [
            ("state", answer.get("state")),
            ("because", answer.get("reason")),
            ("next", answer.get("next")),
            ("runs", f"{reply.text(answer, 'version')}, {reply.text(answer, 'image')}"),
            ("offered", answer.get("offered")),
            ("looked at", when(answer.get("checked"))),
            ("healthy for", _healthy(answer)),
            ("floors", _floors(answer)),
            ("from", _source(answer)),
        ]
    )
    if slots := reply.records(answer, "slots"):
        click.echo()
        render.table(
            SLOTS,
            [
                (reply.text(slot, "version"), reply.text(slot, "tries"), _yes(slot.get("runs")))
                for slot in slots
            ],
        )


def _healthy(answer: reply.Record) -> str:
    since = answer.get("healthy_for")
    if since is None:
        return ""
    return f"{render.span(since)} of {render.span(answer.get('healthy_s'))}"


def _floors(answer: reply.Record) -> str:
    version, generation = (
        reply.text(answer, f"{name}_floor") for name in ("version", "data_format")
    )
    return f"version {version}, data format {generation}"


def _source(answer: reply.Record) -> str:
    repository = reply.text(answer, "repository")
    if not repository:
        return ""
    words = [repository, reply.text(answer, "channel"), f"automatic: {answer.get('automatic')}"]
    window = answer.get("window")
    if isinstance(window, int | float) and window > 0:
        words.append(f"next window in {render.span(window)}")
    return ", ".join(words)


def _yes(value: object) -> str:
    return "yes" if value else ""


def follow(settings: Settings, method: str, parameters: Mapping[str, object]) -> None:
    """Start a job of the update service and show how far it is until it is finished. Raises
    AinosError when it failed.
    """
    job = reply.record(settings.call(f"{INTERFACE}.{method}", parameters), "job")
    number = job.get("id")
    with render.progress(reply.text(job, "what")) as show:
        if not job.get("finished"):
            for answer in settings.follow(f"{INTERFACE}.Job"):
                job = reply.record(answer, "job")
                if job.get("id") != number:
                    raise AinosError("something else was begun: `ainitctl update status`")
                show(job.get("done"), job.get("total"))
                if job.get("finished"):
                    break
    if settings.json:
        render.as_json_line(job)
    if why := reply.text(job, "reason"):
        raise AinosError(f"{reply.text(job, 'what')}: {why}")
