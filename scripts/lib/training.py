"""Runs ``ainit.sched.train`` in an environment of its own, which has numba, CMA-ES and OR-tools.

training.run(["cell", "3", str(weights), str(out)], log, expected_lines=20)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ainit.sched.train import compiled
from lib import bench_sched_plot, policy, venv
from lib.host import BUILD, REPOSITORY
from lib.progress import follow, step

ENVIRONMENT = "train-venv"
REQUIREMENTS = ("requirements-train.txt",)
WEIGHTS = REPOSITORY / "scripts" / "policy.json"
LOGS = BUILD / "log"
DEADLINE_S = 7200
FOLDER = BUILD / "train"
GENERATIONS_A_MINUTE = 2


def python() -> Path:
    """The environment's interpreter; the environment is made when it is not there."""
    return venv.own(ENVIRONMENT, REQUIREMENTS)


def main(minutes: float, *, fresh: bool) -> int:
    """Train for so long, and export what is best by validation."""
    if fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    lines = int(minutes * GENERATIONS_A_MINUTE)
    run("evolution", ["es", str(FOLDER), str(minutes)], lines)
    curve = json.loads((FOLDER / "es-curve.json").read_text())
    (FOLDER / "curve.svg").write_text(bench_sched_plot.curve(curve))
    best = min(each["validation"] for each in curve if each["validation"] is not None)
    weights = FOLDER / "policy.json"
    print(f"{len(curve)} generations, validation loss {best:.4f}")
    print(weights)
    print(policy.build(FOLDER / "policy.onnx", weights=weights))
    return 0


def run(name: str, arguments: Sequence[str], expected_lines: int) -> None:
    """Run a command of ``ainit.sched.train`` as a named step. Raises HostError."""
    command = [str(python()), "-m", "ainit.sched.train", *arguments]
    with step(name) as progress:
        log = LOGS / f"{name.replace(' ', '-')}.log"
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore:Could not import matplotlib",  # cma draws nothing here
        }
        follow(command, log, progress, expected_lines, DEADLINE_S, env=environment)


def digest(*others: Path) -> str:
    """What results depend on: the code, other files, and which traces there are."""
    parts = [compiled.sources().encode(), *(each.read_bytes() for each in others)]
    traces = os.environ.get("TRACES")
    if traces:
        parts += [
            f"{each.name} {each.stat().st_size}".encode() for each in sorted(Path(traces).iterdir())
        ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
