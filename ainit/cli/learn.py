"""``ainitctl sandbox audit``, ``learn`` and ``revert``: what agents use, and tighter sandboxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import click

from ..child.client import VarlinkError
from ..errors import AinosError
from ..policy import sandbox_words
from ..wire import protocol
from . import render, reply
from .base import Command, Settings
from .unit import complete_units

INTERFACE = "org.ainos.Audit"
HEADERS = ("AGENT", "AUDIT", "WATCHED", "STARTS", "TIME", "USES", "TIGHTENED")
_HOURS = 24.0
_UNAVAILABLE = (protocol.INTERFACE_NOT_FOUND, "org.ainos.Control.Unavailable")


@click.command(cls=Command)
@click.argument("agent", metavar="[AGENT]", required=False, shell_complete=complete_units)
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@click.pass_obj
def audit(settings: Settings, agent: str | None, state: str | None) -> None:
    """Record what AGENT uses of what it may, from its next start on; or no more.

    In audit mode an agent runs in its present sandbox, and a service is told of every file that it
    names, of every connection, and of every system call that needs one of its classes. That costs
    time at each of these calls. Switched on, the record begins anew. Without AGENT, the agents that
    are recorded are listed. Changing it needs root.

    \b
      ainitctl sandbox audit notes on && ainitctl restart notes
      ainitctl sandbox audit
    """
    if agent is None:
        answer = settings.call(f"{INTERFACE}.List")
        if settings.json:
            render.as_json(answer)
        else:
            render.table(HEADERS, [_listed(each) for each in reply.records(answer, "agents")])
        return
    if state is None:
        raise click.UsageError("say `on` or `off` after the agent")
    answer = _ask(settings, "Audit", agent, on=state == "on")
    if settings.json:
        render.as_json(answer)
    else:
        click.echo(
            f"audit of {agent} is {state} from its next start on: `ainitctl restart {agent}`"
        )


@click.command(cls=Command)
@click.argument("agent", metavar="AGENT", shell_complete=complete_units)
@click.option("--apply", is_flag=True, help="Put it in force from the agent's next start on.")
@click.option(
    "--hours",
    type=click.FloatRange(0),
    default=_HOURS,
    show_default=True,
    help="Apply only what was recorded for so many hours.",
)
@click.pass_obj
def learn(settings: Settings, agent: str, apply: bool, hours: float) -> None:
    """Propose the tightest sandbox that still allows all that AGENT was seen to use.

    Each thing that it may is kept, narrowed or dropped, with the evidence. What is proposed never
    allows anything new, and was held against the whole record: it would have denied nothing. With
    `--apply` this machine uses it from the agent's next start on, measured into PCR 14;
    `ainitctl sandbox revert` goes back. To have it everywhere, put the table into the manifest.
    Needs root.

    \b
      ainitctl sandbox learn notes
      ainitctl sandbox learn notes --apply && ainitctl restart notes
    """
    if apply:
        answer = _ask(settings, "Apply", agent, hours=hours)
    else:
        answer = _ask(settings, "Propose", agent)
    if settings.json:
        render.as_json(answer)
        return
    _show(reply.record(answer, "proposal"))
    if apply:
        click.echo(f"\nin force from its next start on: `ainitctl restart {agent}`")


@click.command(cls=Command)
@click.argument("agent", metavar="AGENT", shell_complete=complete_units)
@click.pass_obj
def revert(settings: Settings, agent: str) -> None:
    """Go back to the sandbox that AGENT had before the last `learn --apply`.

    Takes effect at its next start. Needs root.
    """
    answer = _ask(settings, "Revert", agent)
    if settings.json:
        render.as_json(answer)
        return
    what = "the sandbox that was learned before" if answer.get("overlay") else "its manifest's"
    click.echo(f"{agent} has {what} from its next start on: `ainitctl restart {agent}`")


def overlay(settings: Settings, agent: str) -> reply.Record:
    """The tighter sandbox of an agent of the machine: its answer to ``Overlay``. Empty when there
    is none, or nobody who could say so.
    """
    try:
        answer = settings.call(f"{INTERFACE}.Overlay", {"agent": agent})
    except VarlinkError as error:
        if error.name not in _UNAVAILABLE:
            raise
        click.echo("ainitctl: whether it was tightened is not known: audit is down", err=True)
        return {}
    return answer if answer.get("sandbox") is not None else {}


def _ask(settings: Settings, member: str, agent: str, **parameters: object) -> reply.Record:
    """The reply of a method that is about one agent. Raises AinosError with its reason."""
    try:
        return settings.call(f"{INTERFACE}.{member}", {"agent": agent, **parameters})
    except VarlinkError as error:
        if error.name == f"{INTERFACE}.NoSuchAgent":
            hint = "`ainitctl status` lists units"
            raise AinosError(f"there is no agent {agent}; {hint}") from error
        if error.name == f"{INTERFACE}.Refused":
            raise AinosError(f"{agent}: {reply.text(error.parameters, 'reason')}") from error
        raise


def _listed(agent: reply.Record) -> list[object]:
    return [
        agent.get("name"),
        "on" if agent.get("on") else "off",
        "now" if agent.get("watched") else "-",
        agent.get("starts"),
        render.span(agent.get("seconds")),
        agent.get("uses"),
        "yes" if agent.get("overlay") else "-",
    ]


def _show(proposal: reply.Record) -> None:
    starts, time = proposal.get("starts"), render.span(proposal.get("seconds"))
    click.echo(f"{render.visible(proposal.get('agent'))}: watched for {time} over {starts} starts")
    for line in reply.records(proposal, "lines"):
        click.echo(f"  {reply.text(line, 'verdict'):<6}  {render.visible(_says(line))}")
        for use in reply.records(line, "uses")[:3]:
            click.echo(f"          {render.visible(_evidence(use))}")
    click.echo(f"{proposal.get('after')} of {proposal.get('before')} things that it may remain")
    if dropped := proposal.get("dropped"):
        click.echo(f"{dropped} uses had no room in the record: what they may need stays")
    for use in reply.records(proposal, "denied"):
        click.echo(f"it would deny {render.visible(reply.text(use, 'what'))}: not to be applied")
    click.echo("\n[sandbox]")
    for key, value in reply.record(proposal, "sandbox").items():
        click.echo(render.visible(f"{key} = {json.dumps(value)}"))


def _says(line: Mapping[str, object]) -> str:
    words = sandbox_words.say((reply.text(line, "matter"), reply.text(line, "what")))
    if line.get("verdict") == "drop":
        return f"{words}: not used"
    if line.get("verdict") == "narrow":
        new = [(reply.text(each, "matter"), reply.text(each, "what"))
               for each in reply.records(dict(line), "new")]  # fmt: skip
        return f"{words}: {', '.join(map(sandbox_words.say, new))} is enough"
    return words


def _evidence(use: reply.Record) -> str:
    what, by, count = (reply.text(use, key) for key in ("what", "by", "count"))
    made = what if what == by else f"{what} by {by}"
    return f"{made}, {count} times, {_time(use.get('first'))} to {_time(use.get('last'))}"


def _time(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "?"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
