"""``ainitctl edit``: another configuration for a machine, shown before it is applied, and taken
back unless somebody who still reaches the machine confirms it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from ..child.compile import read
from ..errors import ConfigError, Finding, WireError
from ..policy import candidate
from ..policy.change import difference
from ..policy.plan import Plan
from . import render, reply
from .base import Command, Settings
from .check import kind_of

CONFIRM = "confirm"
_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(s|min|m|h)?\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}
# What a list of a change means for its units.
_WORDS = {
    "stop": "stops",
    "start": "starts",
    "restart": "restarts",
    "along": "restarts, because it needs one that does",
    "refresh": "takes its new settings and goes on",
    "removed": "is no longer a unit",
    "machine": "is another setting of the machine",
}
_WAITS = "is known, and waits for what starts it"


class Span(click.ParamType):  # type: ignore[type-arg]
    """A time such as ``90``, ``90s``, ``5m`` or ``1h``, in seconds."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds of a text."""
        found = _SPAN.match(value)
        seconds = float(found[1]) * _SECONDS[found[2] or "s"] if found else 0.0
        if seconds <= 0:
            self.fail(f"{value!r} is no time such as 90s, 5m or 1h", param, ctx)
        return seconds


@click.command(cls=Command)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
@click.option(
    "--revert-after",
    metavar="TIME",
    type=Span(),
    help="Go back to the former configuration after 90s, 5m or 1h, unless it is confirmed.",
)
@click.pass_obj
def edit(
    settings: Settings, paths: tuple[str, ...], dry_run: bool, revert_after: float | None
) -> None:
    """Give the machine another configuration, without restarting what stays the same.

    PATH is a `machine.toml` or a unit file, which is added to the configuration or replaces the one
    of its name, or a directory, which replaces the configuration as a whole: its `machine.toml`,
    and the unit files in it or in its `units`. Everything is checked here before it is sent. Needs
    root.

    `ainitctl edit confirm` keeps a configuration that was applied with `--revert-after`.

    \b
      ainitctl edit --dry-run weather.toml
      ainitctl edit --revert-after 5m machine.toml weather.toml
      ainitctl edit confirm
    """
    if paths == (CONFIRM,):
        if dry_run or revert_after is not None:
            raise click.UsageError("`edit confirm` takes no other option")
        _finish(settings, settings.call("org.ainos.Control.Confirm"))
        return
    if dry_run and revert_after is not None:
        raise click.UsageError("--dry-run changes nothing that could be reverted")
    now = settings.call("org.ainos.Control.GetPlan")
    present = {file: str(text) for file, text in reply.record(now, "files").items()}
    files, labels = _files([Path(path) for path in paths])
    if any(Path(path).is_dir() for path in paths):
        files = {**dict.fromkeys(present, ""), **files}  # what is empty is removed
    wanted = {file: text for file, text in {**present, **files}.items() if text}
    found = candidate.compile_over(_plan(now, "base"), wanted, labels=labels)
    if dry_run:
        _show(settings, difference(_plan(now, "plan"), found, _running(settings)).to_record())
        return
    parameters: dict[str, object] = {"files": files}
    if revert_after is not None:
        parameters["revert_after_s"] = revert_after
    answer = settings.call("org.ainos.Control.Configure", parameters)
    if settings.json:
        render.as_json(answer)
        return
    _show(settings, reply.record(answer, "change"))
    if revert_after is not None:
        span = render.span(revert_after)
        click.echo(f"back to the former configuration in {span}, unless: ainitctl edit {CONFIRM}")


def _finish(settings: Settings, answer: Mapping[str, object]) -> None:
    if settings.json:
        render.as_json(answer)


def _plan(answer: Mapping[str, object], name: str) -> Plan:
    try:
        return Plan.from_record(reply.record(answer, name))
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"{name} in the answer is no plan: {error}") from error


def _running(settings: Settings) -> set[str]:
    """The units that are wanted up."""
    units = reply.records(settings.call("org.ainos.Control.Status"), "units")
    return {reply.text(unit, "name") for unit in units if unit.get("desired") == "up"}


def _files(paths: list[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """The files that paths hold, as the machine calls them, and how messages call them."""
    files: dict[str, str] = {}
    labels: dict[str, str] = {}
    findings: list[Finding] = []
    for path in [found for given in paths for found in _expanded(given, findings)]:
        try:
            text = read(path)
            kind = kind_of(path, text)
        except ConfigError as error:
            findings += error.findings
            continue
        if kind == "agent":
            findings.append(Finding(str(path), 1, "is of an agent, which comes with the image"))
            continue
        file = candidate.MACHINE if kind == "machine" else f"{candidate.UNITS}{path.name}"
        if file in labels:
            findings.append(Finding(str(path), 1, f"is given twice, also as {labels[file]}"))
        files[file], labels[file] = text, str(path)
    if findings:
        raise ConfigError(findings)
    return files, labels


def _expanded(path: Path, findings: list[Finding]) -> list[Path]:
    """The files of a directory that holds a configuration; any other path as it is."""
    if not path.is_dir():
        return [path]
    found = sorted([*path.glob("*.toml"), *path.glob("units/*.toml")])
    if not found:
        findings.append(Finding(str(path), 1, "the directory holds no .toml file"))
    return found


def _show(settings: Settings, change: reply.Record) -> None:
    if settings.json:
        render.as_json(change)
        return
    added = set(reply.words(change, "added"))
    rows = [
        (name, _WAITS if key == "refresh" and name in added else words)
        for key, words in _WORDS.items()
        for name in reply.words(change, key)
    ]
    if rows:
        render.table(("NAME", "WHAT HAPPENS"), rows)
    else:
        click.echo("nothing changes")
