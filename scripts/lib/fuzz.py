"""Runs the targets of ``tests/fuzz`` under atheris, in an environment of its own.

failed = fuzz.main(minutes=10, names=["ring"])
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib import venv
from lib.host import BUILD, REPOSITORY, HostError
from lib.progress import step

FOLDER = BUILD / "fuzz"
DRIVER = "tests.fuzz.drive"
LONGEST_INPUT = 4096
INPUT_DEADLINE_S = 25
MEMORY_MB = 2048
GRACE_S = 120
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_TARGET = re.compile(r'^    "(\w+)": \w+,$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a target was given, and what broke it."""

    target: str
    inputs: int
    crashes: list[Path]


def targets() -> list[str]:
    """The names of all targets, read rather than imported: their code needs no build host."""
    text = (REPOSITORY / "tests/fuzz/targets.py").read_text(encoding="utf-8")
    return _TARGET.findall(text)


def environment() -> Path:
    """The Python of the environment, which is made anew when what it is made from has changed."""
    return venv.own("fuzz-venv", ["requirements-fuzz.txt"])


def command(python: Path, target: str, seconds: float) -> list[str]:
    """How a target is run for so long."""
    crashes = FOLDER / "crashes"
    return [
        *("nice", str(python), "-m", DRIVER, target, str(FOLDER / "corpus" / target)),
        *(f"-max_total_time={max(int(seconds), 1)}", f"-max_len={LONGEST_INPUT}"),
        *(f"-timeout={INPUT_DEADLINE_S}", f"-rss_limit_mb={MEMORY_MB}"),
        *(f"-artifact_prefix={crashes}/{target}-", "-print_final_stats=1", "-verbosity=1"),
    ]


def fuzz(python: Path, target: str, seconds: float) -> Outcome:
    """Run one target. What it prints is kept beside its corpus."""
    (FOLDER / "corpus" / target).mkdir(parents=True, exist_ok=True)
    (FOLDER / "crashes").mkdir(exist_ok=True)
    log = FOLDER / f"{target}.log"
    with log.open("wb") as file:
        status = subprocess.run(
            command(python, target, seconds),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=seconds + GRACE_S,
            check=False,
        ).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    found = _RUNS.search(text)
    crashes = sorted((FOLDER / "crashes").glob(f"{target}-*")) if status else []
    if status and not crashes:
        raise HostError(f"{target} could not be fuzzed: see {log}")
    return Outcome(target, int(found[1]) if found else 0, crashes)


def main(minutes: float, names: Sequence[str] = ()) -> int:
    """Fuzz for so long, shared among the targets; 0 when no promise was broken."""
    known = targets()
    if unknown := sorted(set(names) - set(known)):
        raise HostError(f"no target {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = list(names) or known
    python = environment()
    outcomes = []
    for target in chosen:
        with step(f"fuzz {target}") as progress:
            outcomes.append(fuzz(python, target, minutes * 60 / len(chosen)))
            progress.note(f"{outcomes[-1].inputs} inputs")
    for outcome in outcomes:
        for crash in outcome.crashes:
            print(f"{crash}\n  python -m tests.fuzz.targets {outcome.target} {crash}")
    print(f"{sum(outcome.inputs for outcome in outcomes)} inputs")
    return int(any(outcome.crashes for outcome in outcomes))
