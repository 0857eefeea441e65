"""``ainitctl gpu``: devices, their partitions, and how they came about."""

from __future__ import annotations

from pathlib import Path

import click

from . import gpu_health, partition, render, reply
from .base import Group, Settings
from .gpu_policy import explain, reload

INSTANCES = ("GPU", "PROFILE", "SLICES", "HELD BY", "INSTANCE")
DECISIONS = ("AGENT", "PROFILE", "PLACE", "DECIDED BY", "TOOK", "OUTCOME")


@click.group(cls=Group)
def gpu() -> None:
    """GPUs of this machine, partitioned with MIG."""


gpu.add_command(explain)
gpu.add_command(reload)


@gpu.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show devices, MIG instances with their holders, the policy and its last decisions.

    SLICES are memory slices, first to last. A decision is the policy's, or the heuristic's with the
    reason why the policy's was not taken. A transaction is a change of the partition that is under
    way; in quarantine are slices that will not free: placement avoids them, and they are tried
    again. Everything is marked when the GPUs are emulated.
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
            *(("partition", text) for text in _partition(reply.records(answer, "partition"))),
            ("transaction", _transaction(reply.record(answer, "transaction"))),
            *(("last", _outcome(one)) for one in reply.records(answer, "outcomes")[-1:]),
            *(("quarantine", _quarantined(one)) for one in reply.records(answer, "quarantine")),
            *(("unknown", text) for text in reply.words(answer, "unknown")),
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


@gpu.command()
@partition.file_options
@click.pass_obj
@click.pass_context
def plan(context: click.Context, settings: Settings, path: Path, config: str, unknown: str) -> None:
    """Show what `apply` would change, and change nothing.

    FILE is in mig-parted's format, YAML or JSON:

    \b
        version: v1
        mig-configs:
          mixed:
            - devices: all              # or a list of indices
              device-filter: "0x233010DE"   # PCI device ids, optional
              mig-enabled: true
              mig-devices:
                "1g.10gb": 4
                "3g.40gb": 1

    In place of the numbers, `mig-devices` may be a list, where a memory slice can be given:
    `["3g.40gb@4", "1g.10gb"]`. Otherwise the plan chooses the placements: those that disturb the
    fewest instances in use, then those that change the least. GPUs that no entry names stay as they
    are. The MIG mode is never switched.

    Exit code 1: it cannot be done, and each reason is printed with file and line.
    """
    context.exit(partition.plan(settings, path, config, unknown))


@gpu.command()
@partition.file_options
@click.option("--dry-run", is_flag=True, help="As `plan`: show it, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Do not follow the transaction to its end.")
@click.pass_obj
@click.pass_context
def apply(
    context: click.Context,
    settings: Settings,
    path: Path,
    config: str,
    unknown: str,
    *,
    dry_run: bool,
    no_wait: bool,
) -> None:
    """Make the GPUs hold what FILE says (see `plan`), all of it or nothing.

    Agents whose instance has to go are stopped first and started again at the end; all others go
    on. The change is written down before it begins: if the GPU service or the machine's PID 1 dies,
    it goes on from there. If the driver refuses a step for good, everything is put back as it was.
    Slices that the driver does not give free are quarantined, and tried again later.

    Exit code 1: it was rolled back, or cannot be done. Interrupting this command does not interrupt
    the change.
    """
    if dry_run:
        context.exit(partition.plan(settings, path, config, unknown))
    context.exit(partition.apply(settings, path, config, unknown, wait=not no_wait))


@gpu.command()
@click.option("--follow", "-f", is_flag=True, help="Go on, and print what happens.")
@click.pass_obj
def events(settings: Settings, *, follow: bool) -> None:
    """Show what happened to partitions since the GPU service started.

    Each line has the seconds since boot, what it was, and the details. The service's log has the
    same for as long as logs are kept (`ainitctl logs gpu`).
    """
    partition.events(settings, follow=follow)


def _partition(slots: list[reply.Record]) -> list[str]:
    """What each GPU holds for whoever asks."""
    gpus: dict[str, list[str]] = {}
    for slot in slots:
        gpu = f"GPU {reply.text(slot, 'index') or reply.text(slot, 'gpu')}"
        placed = f"{reply.text(slot, 'profile')}@{reply.text(slot, 'start')}"
        gpus.setdefault(gpu, []).append(placed)
    return [f"{gpu}: {', '.join(placed)}" for gpu, placed in gpus.items()]


def _transaction(one: reply.Record) -> str:
    if not one:
        return ""
    reason = reply.text(one, "reason")
    named = f"{reply.text(one, 'number')} {reply.text(one, 'name')}".rstrip()
    return f"{named}: {reply.text(one, 'phase')}{f', {reason}' if reason else ''}"


def _outcome(one: reply.Record) -> str:
    reason = reply.text(one, "reason")
    named = f"{reply.text(one, 'number')} {reply.text(one, 'name')}".rstrip()
    return f"{named}: {reply.text(one, 'end')}{f', {reason}' if reason else ''}"


def _quarantined(one: reply.Record) -> str:
    size = one.get("size")
    slices = f"slices {_slices(one)}" if size is not None else f"slice {reply.text(one, 'start')}"
    retry = f"{reply.text(one, 'tries')} tries, next in {reply.text(one, 'retry_s')} s"
    gpu = f"GPU {reply.text(one, 'index') or reply.text(one, 'gpu')}"
    return f"{gpu}, {slices}: {reply.text(one, 'reason')}; {retry}"


def _policy(policy: reply.Record) -> str:
    reason = reply.text(policy, "reason")
    used = f"{reply.text(policy, 'accepted')} of {reply.text(policy, 'proposals')} proposals taken"
    shadow = reply.record(policy, "shadow")
    if shadow:
        agreed = f"{reply.text(shadow, 'agreed')} of {reply.text(shadow, 'asked')}"
        used = f"{used}; its shadow agreed {agreed} times"
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


for _command in (
    gpu_health.health,
    gpu_health.top,
    gpu_health.cordon,
    gpu_health.uncordon,
    gpu_health.reset,
):
    gpu.add_command(_command)
