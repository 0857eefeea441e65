"""``ainitctl sandbox``: what agents may do, in words or as policies, and what a change comes to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..child.compile import read
from ..errors import AinosError, ConfigError, WireError
from ..policy import cedar, config, plan, sandbox_words
from ..policy.calls import CONTROL
from ..policy.plan import Plan, Unit
from ..wire import interface_text
from ..wire.protocol import SERVICE
from . import learn, render, reply
from .base import Group, Settings

MANIFEST = "manifest.toml"
_METHOD = re.compile(r"^method (\w+)", re.MULTILINE)
_MARKS = {True: "+", False: "-", None: " "}


@click.group(cls=Group)
def sandbox() -> None:
    """What agents may do: files, network, system calls, devices, secrets, limits.

    An agent may do what every agent may and what its manifest lists in [sandbox], and nothing else.

    AGENT is the name of one on the machine, or a manifest, or the directory of an agent that has a
    `manifest.toml`; those need no machine. What holds a slash, or is there as a file or directory,
    is taken for a path. Asking the machine needs root.
    """


for _command in (learn.audit, learn.learn, learn.revert):
    sandbox.add_command(_command)


@sandbox.command()
@click.argument("agent", metavar="AGENT")
@click.pass_obj
def explain(settings: Settings, agent: str) -> None:
    """Say in words what an agent may do.

    What every agent may is listed, too; docs/sandbox.md says which key of the manifest gives what.
    Of an agent of the machine it is what it may from its next start on, as it was tightened there.
    With `--json`, `grants` are the things that this agent may beyond what every agent may.

    \b
      ainitctl sandbox explain filetype
      ainitctl sandbox explain ./my-agent/
      ainitctl --host node1 sandbox explain speech
    """
    unit = _unit(settings, agent)
    overlay = {} if _is_path(agent) else learn.overlay(settings, agent)
    problem = reply.text(overlay, "problem")
    if overlay and not problem:
        unit.sandbox = reply.record(overlay, "sandbox")
    sections = sandbox_words.explain(unit)
    if settings.json:
        grants = [{"matter": one, "what": what} for one, what in sandbox_words.grants(unit)]
        found = {"agent": unit.name, "explanation": sections, "grants": grants}
        render.as_json({**found, "overlay": overlay or None})
        return
    title = f"{unit.name}: {unit.description}" if unit.description else unit.name
    click.echo(render.visible(title))
    if overlay:
        click.echo(f"\ntightened on this machine\n  {reply.text(overlay, 'digest')}")
    if problem:
        click.echo(f"  with which it is refused at its next start: {render.visible(problem)}")
    for section, lines in sections.items():
        click.echo(f"\n{section}")
        for line in lines:
            click.echo(f"  {render.visible(line)}")


@sandbox.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.pass_obj
@click.pass_context
def diff(context: click.Context, settings: Settings, old: str, new: str) -> None:
    """Say what an agent may by one manifest that it may not by another.

    OLD and NEW are agents as for `explain`. A line that begins with `+` is something that NEW may
    and OLD may not, with `-` the other way round; an indented line is something that NEW lists and
    OLD allowed already, as part of something wider. Exits with 1 when there is a `+`, because NEW
    is looser.

    \b
      ainitctl sandbox diff speech ./speech/manifest.toml
      ainitctl sandbox diff v1/filetype v2/filetype
    """
    changes = sandbox_words.difference(_unit(settings, old), _unit(settings, new))
    looser = sandbox_words.is_looser(changes)
    if settings.json:
        listed = [{"looser": change.looser, "text": change.text} for change in changes]
        render.as_json({"looser": looser, "changes": listed})
    elif not changes:
        click.echo("the same")
    else:
        for change in changes:
            click.echo(render.visible(f"{_MARKS[change.looser]} {change.text}"))
    context.exit(1 if looser else 0)


@sandbox.command("cedar")
@click.option("--entities", is_flag=True, help="Print the entities instead, as JSON.")
@click.pass_obj
def as_cedar(settings: Settings, entities: bool) -> None:
    """Print who may call whom on the machine as policies of Cedar.

    PID 1 goes by the manifests; these are the same rules in a language that other programs read.
    Whatever no policy permits is forbidden. With `--json`, both policies and entities are printed.

    \b
      ainitctl sandbox cedar > calls.cedar
      ainitctl sandbox cedar --entities > entities.json
    """
    units = _units(settings)
    listed = cedar.entities(units, _methods(units))
    if settings.json:
        render.as_json({"policies": cedar.policies(units), "entities": listed})
    elif entities:
        render.as_json(listed)
    else:
        for line in cedar.policies(units).splitlines():
            click.echo(render.visible(line))


def _methods(units: Sequence[Unit]) -> Iterator[str]:
    """The methods of the interfaces that the units provide, as far as their files are here."""
    for interface in (SERVICE, CONTROL, *(name for unit in units for name in unit.provides)):
        try:
            text = interface_text(interface)
        except OSError:
            continue  # an agent's own, which it describes itself
        yield from (f"{interface}.{name}" for name in _METHOD.findall(text))


def _units(settings: Settings) -> list[Unit]:
    """The units of the machine's plan. Raises AinosError."""
    answer = settings.call("org.ainos.Control.GetPlan")
    try:
        return Plan.from_record(reply.record(answer, "plan")).units
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"plan in the answer is no plan: {error}") from error


def _unit(settings: Settings, agent: str) -> Unit:
    """The agent that an argument means. Raises AinosError."""
    if _is_path(agent):
        return _from_manifest(Path(agent))
    found = [unit for unit in _units(settings) if unit.name == agent]
    if not found:
        raise AinosError(f"there is no unit {agent}, and no file; `ainitctl status` lists units")
    if found[0].kind != plan.AGENT:
        raise AinosError(f"{agent} is a {found[0].kind}: only agents are in a sandbox")
    return found[0]


def _is_path(agent: str) -> bool:
    return "/" in agent or Path(agent).exists()


def _from_manifest(path: Path) -> Unit:
    """The agent of a manifest, or of a directory that has one. Raises AinosError, ConfigError."""
    if path.suffix == ".erofs":
        hint = f"`mount -o ro,loop {path} DIRECTORY` opens it, and DIRECTORY is an AGENT then"
        raise AinosError(f"{path} is a packed bundle; {hint}")
    file = path / MANIFEST if path.is_dir() else path
    unit, findings = config.agent(read(file), str(file), file.absolute().parent.name, bundle="")
    if findings:
        raise ConfigError(findings)
    return unit
