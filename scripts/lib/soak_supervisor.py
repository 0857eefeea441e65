"""The long tests of PID 1: stages, one module each, whose entries make one file.

A stage is bounded, keeps what it did below ``build/soak``, and goes on from there when it is run
again. ``build/bench/soak-supervisor.json`` has the entries of every stage that was ever run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module

from lib import bench, soak_faults
from lib.bench import Goal

RESULT = bench.FOLDER / "soak-supervisor.json"
STAGES = ("faults", "syscalls", "endurance", "mutants", "hostile")


def main(stages: Sequence[str], minutes: float, *, services: int, faults: int, resume: bool) -> int:
    """Run stages, the time shared among them; the exit status is 0 when their goals are met."""
    entries: list[Goal] = []
    each = minutes / len(stages)
    for name in stages:
        if name == "faults":
            entries += soak_faults.main(each, services=services, faults=faults, resume=resume)
        else:
            entries += import_module(f"lib.soak_{name}").main(minutes=each)
    names = {one.goal for one in entries}
    others = [one for one in _published() if one.goal not in names]
    bench.publish(RESULT, [*others, *entries])
    return 0 if all(one.met for one in entries) else 1


def _published() -> list[Goal]:
    """What the file says of stages that do not run now."""
    if not RESULT.exists():
        return []
    return [Goal(**record) for record in json.loads(RESULT.read_text(encoding="ascii"))]
