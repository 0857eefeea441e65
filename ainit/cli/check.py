"""``ainitctl check``: the machine's own parser, on any computer, before anything is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ..child.compile import locate
from ..errors import ConfigError, Finding
from ..policy import config
from ..policy.assembly import assemble
from ..policy.plan import Unit
from ..policy.toml import parse
from . import render
from .base import Command, Settings

KINDS = ("unit", "agent", "machine")
_MACHINE_TABLES = {"machine", "network", "policy", "units"}


@click.command(cls=Command)
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    help="What the files are; otherwise told from their names and tables.",
)
@click.pass_obj
@click.pass_context
def check(
    context: click.Context, settings: Settings, paths: tuple[Path, ...], kind: str | None
) -> None:
    """Check unit files, agent manifests and machine configuration.

    PATH is a file or a directory. Every finding is printed as `file:line: message`, and the
    exit code is then 1. For a directory that holds units, the units are also checked together:
    names used twice, units that are required and not there, cycles. Needs no machine.
    """
    findings: list[Finding] = []
    count = 0
    for path in paths:
        files = sorted(_files(path)) if path.is_dir() else [path]
        if not files:
            findings.append(Finding(str(path), 1, "the directory holds no .toml file"))
        count += len(files)
        findings += _check(files, kind, together=path.is_dir())
    if settings.json:
        render.as_json(
            [{"file": one.file, "line": one.line, "message": one.message} for one in findings]
        )
    else:
        for finding in findings:
            click.echo(render.visible(finding))
        if not findings:
            click.echo(f"{count} {'file' if count == 1 else 'files'}: no findings")
    context.exit(1 if findings else 0)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*.toml") if path.is_file())


def _check(files: list[Path], kind: str | None, *, together: bool) -> list[Finding]:
    """The findings of each file; with ``together``, those of the whole once each file is right."""
    findings: list[Finding] = []
    units: list[tuple[Unit, str]] = []
    machine: dict[str, object] = {}
    for path in files:
        file = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            findings.append(Finding(file, 1, f"cannot be read: {error}"))
            continue
        match kind or _kind(path, text):
            case "machine":
                machine, wrong = config.machine(text, file)
            case "agent":
                found, wrong = config.agent(text, file, path.absolute().parent.name, bundle="")
                units.append((found, file))
            case _:
                found, wrong = config.unit(text, file, path.stem)
                units.append((found, file))
        findings += wrong
    if together and units and not findings:
        try:
            assemble(units, machine, locate=locate)
        except ConfigError as error:
            findings += error.findings
    return findings


def _kind(path: Path, text: str) -> str:
    """What a file is: its name says it, or else its tables do."""
    match path.name:
        case "manifest.toml":
            return "agent"
        case "machine.toml":
            return "machine"
    try:
        tables = parse(text, str(path)).values.keys()
    except ConfigError:
        return "unit"
    if "agent" in tables:
        return "agent"
    return "machine" if "service" not in tables and tables & _MACHINE_TABLES else "unit"
