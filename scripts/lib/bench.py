"""Measure the boot: medians over whole boots, each with its own machine, TPM and first-boot state.

The results go to ``build/bench/bench-boot.json``, one entry a goal. One without a bound is stated,
not judged.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib import assembly, drive
from lib.host import BUILD, REPOSITORY, HostError, published, run
from lib.machine import Machine
from lib.progress import step

ROUNDS = 3
IMPORT_ROUNDS = 21
RESULT = BUILD / "bench/bench-boot.json"
TEST_TIME = BUILD / "test/total.json"
MIB = 1 << 20
PYTHON = "/usr/bin/python3"
LIST_MODULES = (
    "import sys; sys.path.insert(0, '.'); import ainit.pid1.main; "
    "print(*sorted(m for m in sys.modules if m.partition('.')[0] not in "
    "{*sys.stdlib_module_names, 'ainit', '__main__'}))"
)
IMPORT_PID1 = "import sys; sys.path.insert(0, '.'); import ainit.pid1.main"


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure. ``met`` is whether it keeps its bound; a figure without one always does."""

    goal: str
    value: float | None
    bound: float | None
    unit: str
    met: bool
    samples: list[float]
    commit: str
    peers: dict[str, float]


def _goal(
    name: str,
    samples: list[float],
    unit: str,
    bound: float | None = None,
    peers: dict[str, float] | None = None,
) -> Goal:
    value = round(statistics.median(samples), 3) if samples else None
    met = value is not None and (bound is None or value <= bound)
    commit = run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]).strip()
    return Goal(name, value, bound, unit, met, samples, commit, peers or {})


def boot() -> dict[str, Any]:
    """One whole boot: the status of the machine once everything is at rest."""
    with (
        tempfile.TemporaryDirectory(prefix="ainos-bench-") as folder,
        Machine(drive.IMAGE, Path(folder)) as machine,
    ):
        machine.start()
        if not machine.wait_control(drive.BOOT_DEADLINE_S):
            raise HostError("the machine did not come up: `make run` shows why")
        status = drive.wait_at_rest(machine)
        machine.power_off()
        return status


def foreign_modules() -> list[str]:
    """What PID 1 imports that is neither the standard library nor ainit."""
    return run([PYTHON, "-I", "-S", "-c", LIST_MODULES], cwd=REPOSITORY).split()


def start_times() -> tuple[list[float], list[float]]:
    """Milliseconds of starting Python with PID 1's imports and without, in interleaved rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(IMPORT_ROUNDS):
        for column, code in zip(times, (IMPORT_PID1, "pass"), strict=True):
            start = time.perf_counter()
            command = [PYTHON, "-I", "-S", "-c", code]
            subprocess.run(command, cwd=REPOSITORY, check=True, timeout=60)
            column.append((time.perf_counter() - start) * 1000)
    return times


def main() -> int:
    """Run all of it, print the table, write the file."""
    loaded, bare = start_times()
    statuses = []
    for number in range(1, ROUNDS + 1):
        with step(f"boot {number} of {ROUNDS}"):
            statuses.append(boot())
    phases: dict[str, list[float]] = {}
    for status in statuses:
        for phase in status["phases"]:
            phases.setdefault(phase["name"], []).append(phase["seconds"])
    inside = ("kernel", "ainit", "agents")
    ready = [sum(phases[name][number] for name in inside) for number in range(ROUNDS)]
    peak = [status["machine"]["peak_bytes"] / MIB for status in statuses]
    minutes = [json.loads(TEST_TIME.read_text())["seconds"] / 60] if TEST_TIME.exists() else []
    medians = {name: round(statistics.median(values), 3) for name, values in phases.items()}
    goals = [
        _goal("boot.test_minutes", minutes, "min", 60),
        _goal("boot.non_stdlib_modules_in_pid1", [float(len(foreign_modules()))], "modules", 0),
        _goal("boot.slot_mib", [assembly.slot_mib(drive.IMAGE)], "MiB"),
        _goal("boot.ready_s", ready, "s", peers=medians),
        _goal("boot.pid1_rss_mib", peak, "MiB"),
    ]
    with published(RESULT) as file:
        file.write_text(json.dumps([asdict(goal) for goal in goals], indent=1) + "\n")
    ratio = statistics.median(a / b for a, b in zip(loaded, bare, strict=True))
    for goal in goals:
        bound = "" if goal.bound is None else f"  (at most {goal.bound:g})"
        print(f"{goal.goal:34} {goal.value} {goal.unit}{bound}  {'met' if goal.met else 'MISSED'}")
    print("phases, medians: " + ", ".join(f"{name} {value} s" for name, value in medians.items()))
    print(
        f"PID 1 start on this host {statistics.median(loaded):.1f} ms, `python -I -S -c pass` "
        f"{statistics.median(bare):.1f} ms, median of paired ratios {ratio:.2f}"
    )
    print(RESULT)
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
