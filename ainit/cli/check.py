"""``ainitctl check``: the machine's own parser, on any computer, before anything is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ..child.compile import locate, read, read_plan
from ..errors import ConfigError, Finding
from ..policy import config, relations
from ..policy.assembly import assemble, overlay
from ..policy.machine_config import TABLES
from ..policy.plan import Plan
from ..policy.relations import Source
from ..policy.toml import parse
from . import render
from .base import Command, Settings

KINDS = ("unit", "agent", "machine")
MACHINE_TABLES = set(TABLES)


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
@click.option(
    "--base",
    metavar="PLAN",
    type=click.Path(path_type=Path),
    help="The compiled plan of the image whose units the files add to.",
)
@click.pass_obj
@click.pass_context
def check(
    context: click.Context,
    settings: Settings,
    paths: tuple[Path, ...],
    kind: str | None,
    base: Path | None,
) -> None:
    """Check unit files, agent manifests and machine configuration.

    PATH is a file or a directory. Every finding is printed as `file:line: message`, and the
    exit code is then 1. For a directory that holds units, the units are also checked together:
    names used twice, units that are required and not there, cycles, conflicts. Units that are named
    and not there without harm are warned of. With `--base`, the directory is a machine's own
    configuration, and is checked together with the image's units. Needs no machine.
    """
    findings: list[Finding] = []
    warnings: list[Finding] = []
    count = 0
    image: Plan | None = None
    try:
        image = read_plan(base) if base is not None else None
    except ConfigError as error:
        findings += error.findings
    for path in paths:
        files = sorted(_files(path)) if path.is_dir() else [path]
        if not files:
            findings.append(Finding(str(path), 1, "the directory holds no .toml file"))
        count += len(files)
        units, machine, wrong = _read(files, kind)
        findings += wrong
        if path.is_dir() and units and not wrong:
            over = [(unit, str(base)) for unit in image.units] if image is not None else []
            _together(over, units, machine, findings, warnings)
    _show(settings, findings, warnings)
    if not (settings.json or findings or warnings):
        click.echo(f"{count} {'file' if count == 1 else 'files'}: no findings")
    context.exit(1 if findings else 0)


def _show(settings: Settings, findings: list[Finding], warnings: list[Finding]) -> None:
    if settings.json:
        render.as_json(
            [
                {"file": one.file, "line": one.line, "message": one.message, "severity": severity}
                for severity, found in (("error", findings), ("warning", warnings))
                for one in found
            ]
        )
        return
    for one in findings:
        click.echo(render.visible(one))
    for one in warnings:
        click.echo(render.visible(f"{one.file}:{one.line}: warning: {one.message}"))


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*.toml") if path.is_file())


def _read(
    files: list[Path], kind: str | None
) -> tuple[list[Source], tuple[dict[str, object], str], list[Finding]]:
    """The units and the machine configuration in some files, and the findings of each file."""
    findings: list[Finding] = []
    units: list[Source] = []
    machine: tuple[dict[str, object], str] = {}, "machine configuration"
    for path in files:
        file = str(path)
        try:
            text = read(path)
        except ConfigError as error:
            findings += error.findings
            continue
        match kind or kind_of(path, text):
            case "machine":
                settings, wrong = config.machine(text, file)
                machine = settings, file
            case "agent":
                found, wrong = config.agent(text, file, path.absolute().parent.name, bundle="")
                units.append((found, file))
            case _:
                found, wrong = config.unit(text, file, path.stem)
                units.append((found, file))
        findings += wrong
    return units, machine, findings


def _together(
    image: list[Source],
    units: list[Source],
    machine: tuple[dict[str, object], str],
    findings: list[Finding],
    warnings: list[Finding],
) -> None:
    """What units that are right alone say about each other, and about the image's."""
    settings, file = machine
    try:
        whole = overlay(image, units, settings, file=file, locate=locate) if image else units
        assemble(whole, settings, file=file, locate=locate)
        warnings += relations.warnings(units, {unit.name for unit, _ in whole}, locate)
    except ConfigError as error:
        findings += error.findings


def kind_of(path: Path, text: str) -> str:
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
    return "machine" if "service" not in tables and tables & MACHINE_TABLES else "unit"
