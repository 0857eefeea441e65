"""``ainitctl gpu``: devices, their partitions, and how they came about."""

from __future__ import annotations

import click

from . import render, reply
from .base import Group, Settings

INSTANCES = ("GPU", "PROFILE", "SLICES", "HELD BY", "INSTANCE")
DECISIONS = ("AGENT", "PROFILE", "PLACE", "DECIDED BY", "TOOK", "OUTCOME")


@click.group(cls=Group)
def gpu() -> None:
    """GPUs of this machine, partitioned with MIG."""


@gpu.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show devices, MIG instances with their holders, the policy and its last decisions.

    SLICES are memory slices, first to last. A decision is the policy's, or the heuristic's with the
    reason why the policy's was not taken. Everything is marked when the GPUs are emulated.
    """
    answer = settings.call("org.ainos.Gpu.Status")
    if settings.json:
        render.as_json(answer)
        return
    emulated = ", emulated" if answer.get("emulated") else ""
    policy = reply.record(answer, "policy")
    render.facts(
        [
            ("state", reply.text(answer, "state")),
            ("reason", reply.text(answer, "reason")),
            ("driver", f"{reply.text(answer, 'driver')}{emulated}"),
            ("policy", _policy(policy)),
            *(("pending", text) for text in reply.words(answer, "pending")),
            *(("note", text) for text in reply.words(answer, "notes")),
        ]
    )
    devices = reply.records(answer, "devices")
    if devices:
        click.echo()
        render.facts((f"GPU {one.get('index')}", _device(one, emulated)) for one in devices)
        click.echo()
        render.table(INSTANCES, [row for device in devices for row in _instances(device)])
    decisions = reply.records(answer, "decisions")
    if decisions:
        click.echo()
        render.table(DECISIONS, [_decision(decision) for decision in decisions])


def _policy(policy: reply.Record) -> str:
    reason = reply.text(policy, "reason")
    used = f"{reply.text(policy, 'accepted')} of {reply.text(policy, 'proposals')} proposals taken"
    return f"{reply.text(policy, 'state')}{f': {reason}' if reason else ''}, {used}"


def _device(device: reply.Record, emulated: str) -> str:
    mig = "MIG on" if device.get("mig") else "MIG off"
    free = f"{reply.text(device, 'free')} of {reply.text(device, 'slices')} slices free"
    return f"{reply.text(device, 'name')}{emulated}, {mig}, {free}, {reply.text(device, 'uuid')}"


def _slices(placed: reply.Record) -> str:
    start, size = placed.get("start"), placed.get("size")
    if not isinstance(start, int) or not isinstance(size, int):
        return ""
    return f"{start}-{start + size - 1}" if size > 1 else str(start)


def _instances(device: reply.Record) -> list[tuple[str, ...]]:
    return [
        (
            reply.text(device, "index"),
            reply.text(instance, "profile"),
            _slices(instance),
            reply.text(instance, "agent"),
            reply.text(instance, "uuid"),
        )
        for instance in reply.records(device, "instances")
    ]


def _decision(decision: reply.Record) -> tuple[str, ...]:
    fallback = reply.text(decision, "fallback")
    milliseconds = decision.get("milliseconds")
    return (
        reply.text(decision, "agent"),
        reply.text(decision, "profile"),
        f"GPU {reply.text(decision, 'gpu')}, {_slices(decision)}",
        reply.text(decision, "decided_by") + (f" ({fallback})" if fallback else ""),
        f"{milliseconds:.1f} ms" if isinstance(milliseconds, int | float) else "",
        reply.text(decision, "outcome"),
    )
