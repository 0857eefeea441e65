"""What the benchmarks share: goals, whole boots, and the file and table that they end in.

What is measured, and by which bound, is for `lib.bench_boot` and `lib.bench_image` to say.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lib import drive
from lib.host import BUILD, REPOSITORY, HostError, published, run
from lib.machine import Machine
from lib.progress import step
from lib.qemu import Hardware

Data = dict[str, Any]

ROUNDS = 3
FOLDER = BUILD / "bench"
# The phases from the kernel's entry on; firmware and loader are the emulator's.
INSIDE = ("kernel", "ainit", "agents")


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure. ``met`` is whether it keeps its bound; a figure without one always does.

    Without a value there was nothing to measure, or measuring failed: that is never met.
    """

    goal: str
    value: float | None
    bound: float | None
    unit: str
    met: bool
    samples: list[float]
    commit: str
    peers: dict[str, float]


def goal(
    name: str,
    samples: Sequence[float],
    unit: str,
    bound: float | None = None,
    peers: Mapping[str, float] | None = None,
) -> Goal:
    """The goal whose value is the samples' median."""
    value = round(statistics.median(samples), 3) if samples else None
    met = value is not None and (bound is None or value <= bound)
    return Goal(name, value, bound, unit, met, list(samples), commit(), dict(peers or {}))


def ready_goal(name: str, boots: Sequence[Data]) -> Goal:
    """From the kernel's entry to the last essential agent ready, with every phase as a peer."""
    taken = [phases(status) for status in boots]
    peers: dict[str, list[float]] = {}
    for boot in taken:
        for phase, seconds in boot.items():
            peers.setdefault(phase, []).append(seconds)
    ready = [round(sum(boot[phase] for phase in INSIDE), 3) for boot in taken]
    medians = {phase: round(statistics.median(times), 3) for phase, times in peers.items()}
    return goal(name, ready, "s", peers=medians)


@cache
def commit() -> str:
    """The commit that is measured."""
    return run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]).strip()


def phases(status: Data) -> dict[str, float]:
    """Seconds of each phase. Raises HostError, with the findings, for a boot that was not whole."""
    found = {phase["name"]: phase["seconds"] for phase in status["phases"]}
    if missing := [name for name in INSIDE if name not in found]:
        findings = "; ".join(status["machine"]["findings"])
        raise HostError(f"the machine did not become healthy, no {', '.join(missing)}: {findings}")
    return found


def boots(image: Path, name: str) -> list[Data]:
    """The states that whole boots came to rest in, each with its own TPM and first-boot state.

    The last one's console stays in ``build/bench/<name>``. Raises HostError and AinosError.
    """
    found = []
    for number in range(1, ROUNDS + 1):
        with step(f"{name}, boot {number} of {ROUNDS}") as progress:
            found.append(boot(image, FOLDER / name))
            progress.note(found[-1]["machine"]["health"])
    return found


def boot(image: Path, directory: Path, hardware: Hardware | None = None) -> Data:
    """The state that one whole boot came to rest in. Raises as ``boots``."""
    with Machine(image, directory, hardware) as machine:
        machine.start()
        if not drive.wait_up(machine):
            raise HostError(f"the machine did not come up: see {directory}/console.log")
        status = drive.wait_at_rest(machine)
        phases(status)
        machine.power_off()
        return status


def table(goals: Sequence[Goal]) -> str:
    """The goals as people read them, each with its peers below it."""
    lines = []
    for each in goals:
        value = "no value" if each.value is None else f"{each.value:g} {each.unit}"
        bound = "" if each.bound is None else f"  ({_relation(each)} {each.bound:g})"
        lines.append(f"{each.goal:34} {value}{bound}  {'met' if each.met else 'MISSED'}")
        if each.peers:
            lines.append(
                "    " + ", ".join(f"{name} {peer:g}" for name, peer in each.peers.items())
            )
    return "\n".join(lines)


def _relation(one: Goal) -> str:
    """Which way a bound holds, which the verdict tells unless value and bound are equal."""
    is_below = one.value is None or one.bound is None or one.value <= one.bound
    return "at most" if is_below == one.met or one.value is None else "at least"


def merge(result: Path, records: Sequence[Data]) -> None:
    """Write entries into a file of them: each takes its goal's place, the others stay."""
    own = {record["goal"]: record for record in records}
    kept = json.loads(result.read_text()) if result.exists() else []
    merged = [own.pop(record["goal"], record) for record in kept]
    with published(result) as file:
        file.write_text(json.dumps([*merged, *own.values()], indent=1) + "\n")


def publish(result: Path, goals: Sequence[Goal], *, merged: bool = False) -> int:
    """Write the file, or with ``merged`` its part of it; print the table.

    The exit status is 0 only when every goal is met.
    """
    records = [asdict(each) for each in goals]
    if merged:
        merge(result, records)
    else:
        with published(result) as file:
            file.write_text(json.dumps(records, indent=1) + "\n")
    print(table(goals))
    print(result)
    return 0 if all(each.met for each in goals) else 1
