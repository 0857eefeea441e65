"""``ainitctl gpu explain`` and ``reload``: why a unit is where it is, and another policy."""

from __future__ import annotations

import click

from . import render, reply
from .base import Command, Settings
from .unit import complete_units

EXPLAIN, RELOAD, QUEUE = (f"org.ainos.Gpu.{name}" for name in ("Explain", "Reload", "Queue"))


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_units)
@click.pass_obj
def explain(settings: Settings, name: str | None) -> None:
    """Show why the unit NAME has its instance, or waits: decisions, scores, features.

    A score is the policy's, and only worth something beside another: the alternative is the legal
    candidate that came next. Features lie between 0 and 1; docs/gpu-scheduler.md says what each
    is. Without NAME, the last decision for every unit.
    """
    answer = settings.call(EXPLAIN, {} if name is None else {"name": name})
    if settings.json:
        render.as_json(answer)
        return
    waiting = reply.records(settings.call(QUEUE), "waiting")
    for one in waiting:
        if name in (None, one.get("name")):
            render.facts(_waits(one))
            click.echo()
    found = reply.records(answer, "decisions")
    if name is None:
        found = list({reply.text(one, "agent"): one for one in found}.values())
    for one in found:
        render.facts(_decision(one))
        click.echo()
    if not found and not any(one.get("name") == name for one in waiting):
        click.echo("nothing was decided lately")


def _waits(one: reply.Record) -> list[tuple[str, object]]:
    rank, share = one.get("rank"), one.get("share")
    return [
        ("unit", one.get("name")),
        ("waits", reply.text(one, "reason")),
        ("since", render.span(one.get("waited_s"))),
        ("rank", f"{rank:.1f} points" if isinstance(rank, int | float) else ""),
        ("share left", f"{share:.0%}" if isinstance(share, int | float) else ""),
    ]


def _decision(one: reply.Record) -> list[tuple[str, object]]:
    fallback = reply.text(one, "fallback")
    milliseconds = one.get("milliseconds")
    features = reply.record(one, "features")
    told = (f"{name} {value:g}" for name, value in features.items() if isinstance(value, float))
    gone = ", ".join(reply.words(one, "displaces"))
    where = f"{reply.text(one, 'profile')} at {reply.text(one, 'gpu')}:{reply.text(one, 'start')}"
    return [
        ("unit", one.get("agent")),
        ("decided", f"{reply.text(one, 'does')} {where}{f' instead of {gone}' if gone else ''}"),
        ("by", reply.text(one, "decided_by") + (f" ({fallback})" if fallback else "")),
        ("of", f"{reply.text(one, 'legal')} legal, {reply.text(one, 'candidates')} in all"),
        ("score", _number(one.get("score"))),
        ("alternative", one.get("alternative")),
        ("its score", _number(one.get("alternative_score"))),
        ("shadow", one.get("shadow")),
        ("took", f"{milliseconds:.3f} ms" if isinstance(milliseconds, int | float) else ""),
        ("outcome", one.get("outcome")),
        ("features", "  ".join(each for each in told if not each.endswith(" 0"))),
    ]


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""


@click.command(cls=Command)
@click.pass_obj
def reload(settings: Settings) -> None:
    """Let the policy decide that the model store has now.

    It is measured first, then loaded and tried; if it does not load, the one in force stays. What
    runs is not disturbed. Needs root.
    """
    answer = settings.call(RELOAD)
    if settings.json:
        render.as_json(answer)
        return
    policy = reply.record(answer, "policy")
    render.facts([("policy", policy.get("state")), ("deadline", f"{policy.get('deadline_ms')} ms")])
