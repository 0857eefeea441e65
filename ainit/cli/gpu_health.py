"""``ainitctl gpu health``, ``top``, ``cordon``, ``uncordon`` and ``reset``."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import click

from . import render, repeated, reply
from .base import Command, Settings

HEALTH = ("GPU", "STATE", "UNCORRECTED", "REMAPPED", "FABRIC", "WHY")
CORDONS = ("GPU", "CAUSE", "SINCE BOOT", "HOLDERS", "LIFTED BY", "REASON")
XIDS = ("GPU", "XID", "SINCE BOOT", "INSTANCE", "RESPONSE", "MEANS")
TOP = (
    "GPU", "STATE", "TEMP", "POWER", "SM MHZ", "MEM MHZ", "SLOWED BY", "UTIL %", "MEMORY",
    "REPLAYS", "AGE",
)  # fmt: skip
PARTS = ("GPU", "INSTANCE", "PROFILE", "HELD BY", "MEMORY", "PROCESSES")
_QUIET = ("idle", "application-clocks")  # reasons that are no trouble
_MIB = 1 << 20

gpu_argument = click.argument("gpu", metavar="GPU")


@click.command(cls=Command)
@click.pass_obj
def health(settings: Settings) -> None:
    """Show the health of every GPU, what is wrong, cordons, and the last Xids.

    STATE is `ready`, `cordoned`, `lost`, `silent` (it does not answer), `waiting` (for its fabric)
    or `resetting`. UNCORRECTED are memory errors since the driver was loaded. A `-` is what the
    board or its mode does not tell. Xids and what follows from them: docs/gpu-health.md.
    """
    answer = settings.call("org.ainos.Gpu.Health")
    if settings.json:
        render.as_json(answer)
        return
    expected = answer.get("expected")
    emulated = ", emulated" if answer.get("emulated") else ""
    of = f" of {expected}" if expected is not None else ""
    gpus = reply.records(answer, "gpus")
    render.facts(
        [
            ("GPUs", f"{reply.text(answer, 'found')}{of}{emulated}"),
            *(("finding", finding) for finding in reply.words(answer, "findings")),
            *(
                (f"GPU {_index(one)}", warning)
                for one in gpus
                for warning in reply.words(one, "warnings")
            ),
        ]
    )
    for headers, rows in (
        (HEALTH, [_health(one) for one in gpus]),
        (CORDONS, [_cordon(one, each) for one in gpus for each in reply.records(one, "cordons")]),
        (XIDS, [_xid(one, each) for one in gpus for each in reply.records(one, "xids")]),
    ):
        if rows:
            click.echo()
            render.table(headers, rows)


@click.command(cls=Command)
@gpu_argument
@click.option("--reason", metavar="TEXT", help="Why, for others to read.")
@click.pass_obj
def cordon(settings: Settings, gpu: str, reason: str | None) -> None:
    """Place nothing new on a GPU, which is named by index or UUID. Its holders keep running."""
    answer = settings.call("org.ainos.Gpu.Cordon", {"gpu": gpu, "reason": reason})
    if settings.json:
        render.as_json(answer)


@click.command(cls=Command)
@gpu_argument
@click.pass_obj
def uncordon(settings: Settings, gpu: str) -> None:
    """Lift every cordon of a GPU, whatever put it there.

    What the board goes on saying, such as a memory row that could not be remapped, is accepted
    until the next reboot. A GPU that is gone stays cordoned.
    """
    answer = settings.call("org.ainos.Gpu.Uncordon", {"gpu": gpu})
    if settings.json:
        render.as_json(answer)


@click.command(cls=Command)
@gpu_argument
@click.pass_obj
def reset(settings: Settings, gpu: str) -> None:
    """Begin to reset a GPU that is cordoned and that nobody holds.

    The GPU service lets go of the driver until it is over, and `health` shows `resetting`. After a
    reset that was done, cordons that a reset lifts are gone; after one that failed, `health` says
    why. All instances of the GPU are lost.
    """
    answer = settings.call("org.ainos.Gpu.Reset", {"gpu": gpu})
    if settings.json:
        render.as_json(answer)


@click.command(cls=Command)
@repeated.options(default=5.0, help="Time between two tables; GPUs are read every five seconds.")
@click.pass_obj
def top(settings: Settings, interval: float, iterations: int | None) -> None:
    """Show what every GPU and MIG instance is doing, again and again until interrupted.

    Temperature is in degrees Celsius, power in watts with its limit. A GPU that does not answer
    shows its last reading, and how old that is; the others do not wait for it. Under MIG a GPU
    tells no utilisation.
    """
    live, count = repeated.often(settings, iterations)
    answers = itertools.islice(_answers(settings, interval), count)
    for number, answer in enumerate(answers):
        if settings.json:
            (render.as_json if count == 1 else render.as_json_line)(answer)
            continue
        if live:
            click.clear()
        elif number:
            click.echo()
        _show(answer)


def _answers(settings: Settings, interval: float) -> Iterator[reply.Record]:
    while True:
        yield settings.call("org.ainos.Gpu.Readings")
        time.sleep(interval)


def _show(answer: reply.Record) -> None:
    gpus = reply.records(answer, "gpus")
    if answer.get("emulated"):
        click.echo("emulated GPUs: every number is the emulator's")
    render.table(TOP, [_top(one) for one in gpus])
    parts = [_part(one, part) for one in gpus for part in reply.records(one, "parts")]
    if parts:
        click.echo()
        render.table(PARTS, parts)


def _index(gpu: reply.Record) -> str:
    return reply.text(gpu, "index") or reply.text(gpu, "uuid")


def _health(gpu: reply.Record) -> tuple[str, ...]:
    return (
        _index(gpu),
        reply.text(gpu, "state"),
        reply.text(gpu, "uncorrected"),
        reply.text(gpu, "remapped"),
        reply.text(gpu, "fabric"),
        reply.text(gpu, "reason"),
    )


def _cordon(gpu: reply.Record, cordon: reply.Record) -> tuple[str, ...]:
    return (
        _index(gpu),
        reply.text(cordon, "cause"),
        render.span(cordon.get("time")),
        "move" if cordon.get("moves") else "stay",
        reply.text(cordon, "lifted_by"),
        reply.text(cordon, "reason"),
    )


def _xid(gpu: reply.Record, xid: reply.Record) -> tuple[str, ...]:
    return (
        _index(gpu),
        reply.text(xid, "code"),
        render.span(xid.get("time")),
        reply.text(xid, "instance"),
        reply.text(xid, "response"),
        reply.text(xid, "words"),
    )


def _top(gpu: reply.Record) -> tuple[str, ...]:
    slowed = [word for word in reply.words(gpu, "throttle") if word not in _QUIET]
    limit = gpu.get("power_limit_w")
    power = _whole(gpu.get("power_w"))
    return (
        _index(gpu),
        reply.text(gpu, "state"),
        reply.text(gpu, "temperature_c"),
        f"{power}/{_whole(limit)}" if power and limit else power,
        reply.text(gpu, "clock_sm_mhz"),
        reply.text(gpu, "clock_memory_mhz"),
        ",".join(slowed),
        reply.text(gpu, "utilisation"),
        _memory(gpu),
        reply.text(gpu, "pcie_replays"),
        render.span(gpu.get("age_s")) if gpu.get("stale") else "",
    )


def _part(gpu: reply.Record, part: reply.Record) -> tuple[str, ...]:
    return (
        _index(gpu),
        reply.text(part, "instance"),
        reply.text(part, "profile"),
        reply.text(part, "agent"),
        _memory(part),
        reply.text(part, "processes"),
    )


def _whole(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) else ""


def _memory(record: reply.Record) -> str:
    used, total = record.get("memory_used_mib"), record.get("memory_mib")
    if not isinstance(used, int) or not isinstance(total, int):
        return ""
    return f"{render.size(used * _MIB)} of {render.size(total * _MIB)}"
