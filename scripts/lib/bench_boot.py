"""Measure the boot of one image, PID 1's start and imports, and the time of the test suite.

The results go to ``build/bench/bench-boot.json``, one entry a goal. One without a bound is stated,
not judged.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time

from lib import assembly, bench, drive
from lib.bench import goal
from lib.host import BUILD, REPOSITORY, run

IMPORT_ROUNDS = 21
RESULT = bench.FOLDER / "bench-boot.json"
TEST_TIME = BUILD / "test/total.json"
MIB = 1 << 20
PYTHON = "/usr/bin/python3"
LIST_MODULES = (
    "import sys; sys.path.insert(0, '.'); import ainit.pid1.main; "
    "print(*sorted(m for m in sys.modules if m.partition('.')[0] not in "
    "{*sys.stdlib_module_names, 'ainit', '__main__'}))"
)
IMPORT_PID1 = "import sys; sys.path.insert(0, '.'); import ainit.pid1.main"


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
    boots = bench.boots(drive.IMAGE, "machine")
    peak = [status["machine"]["peak_bytes"] / MIB for status in boots]
    minutes = [json.loads(TEST_TIME.read_text())["seconds"] / 60] if TEST_TIME.exists() else []
    status = bench.publish(
        RESULT,
        [
            goal("boot.test_minutes", minutes, "min", 60),
            goal("boot.non_stdlib_modules_in_pid1", [len(foreign_modules())], "modules", 0),
            goal("boot.slot_mib", [assembly.slot_mib(drive.IMAGE)], "MiB"),
            bench.ready_goal("boot.ready_s", boots),
            goal("boot.pid1_rss_mib", peak, "MiB"),
        ],
    )
    ratio = statistics.median(a / b for a, b in zip(loaded, bare, strict=True))
    print(
        f"PID 1 start on this host {statistics.median(loaded):.1f} ms, `python -I -S -c pass` "
        f"{statistics.median(bare):.1f} ms, median of paired ratios {ratio:.2f}"
    )
    return status
