"""How many small faults in ``ainit/policy`` its tests let pass.

Mutants (see ``mutants``) are tried in a copy of the tree, ``build/mutants``, each against the tests
that can tell (see ``mutant_trials``). Verdicts are kept in ``build/soak/mutants.json``: while a
module's text stays, a mutant that was killed is dead, and one that survived or that no test reached
is tried again, for there may be a test for it now. With little time a sample is tried, drawn with a
fixed seed; the figure says of how many.

    entries = soak_mutants.main(minutes=20)
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib import bench, mutants
from lib.bench import Goal
from lib.host import BUILD, REPOSITORY, HostError, published, run
from lib.mutants import Mutant
from lib.progress import step

RESULT = BUILD / "soak/mutants.json"
COPY = BUILD / "mutants"
SEED = 4
BOUND_PCT = 5.0
TRIALS = Path(__file__).with_name("mutant_trials.py")
WAYS = (Path(mutants.__file__), TRIALS)
TESTS = (
    "tests/unit/policy",
    "tests/unit/child/test_compile.py",
    "tests/unit/pid1/test_control.py",
    "tests/unit/pid1/test_order.py",
    "tests/unit/pid1/test_resume.py",
    "tests/unit/pid1/test_supervisor.py",
)
KILLED, SURVIVED, UNCOVERED = "killed", "survived", "uncovered"

Verdicts = dict[str, dict[str, str]]  # digest of a module → number → verdict


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the copy: its path, a digest of its text and how it is tried, its mutants."""

    path: str
    digest: str
    mutants: list[Mutant]


def modules(only: Sequence[str] = ()) -> list[Module]:
    """The modules of ``ainit/policy`` as they are in the copy, or those of these names."""
    found = []
    ways = b"".join(path.read_bytes() for path in WAYS)
    for path in sorted((COPY / "ainit/policy").glob("*.py")):
        if not only or path.stem in only:
            text = path.read_text(encoding="utf-8")
            digest = hashlib.sha256(ways + text.encode()).hexdigest()
            found.append(Module(str(path.relative_to(COPY)), digest, mutants.find(text)))
    return found


def refresh() -> None:
    """Make the copy what the working tree is."""
    for child in COPY.glob("*"):
        if child.is_dir():
            shutil.rmtree(child)
    listed = run(["git", "-C", str(REPOSITORY), "ls-files", "-z"])
    for name in [*listed.split("\0"), "ainit/linux/libainit.so"]:
        source = REPOSITORY / name
        if name and source.is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, COPY / name)


def draw(found: Sequence[Module], verdicts: Verdicts, count: int) -> dict[str, list[int]]:
    """Which mutants to try: ``count`` of all (0: all), those of them that are not killed yet."""
    every = [(module, mutant.number) for module in found for mutant in module.mutants]
    if count:
        every = random.Random(SEED).sample(every, min(count, len(every)))
    orders: dict[str, list[int]] = {}
    for module, number in every:
        if verdicts.get(module.digest, {}).get(str(number)) != KILLED:
            orders.setdefault(module.path, []).append(number)
    return orders


def kept(path: Path = RESULT) -> Verdicts:
    """The verdicts of former runs."""
    return json.loads(path.read_text(encoding="ascii")) if path.exists() else {}


def keep(verdicts: Verdicts, path: Path = RESULT) -> None:
    """Write them down."""
    with published(path) as file:
        file.write_text(json.dumps(verdicts), encoding="ascii")


def attempt(
    found: Sequence[Module],
    orders: Mapping[str, list[int]],
    verdicts: Verdicts,
    *,
    seconds: float,
    tests: Iterable[str] = TESTS,
    niceness: int = 10,
) -> None:
    """Try mutants for so long. Raises HostError when the tests fail by themselves."""
    count = sum(map(len, orders.values()))
    if not count:
        return
    digests = {module.path: module.digest for module in found}
    file = COPY / "orders.json"
    jobs = max(os.cpu_count() or 1, 1)
    content = {"root": str(COPY), "tests": list(tests), "modules": orders, "jobs": jobs}
    file.write_text(json.dumps(content), encoding="ascii")
    log = COPY / "trials.log"
    end = time.monotonic() + seconds
    done = 0
    with step("mutants") as progress, log.open("w") as errors:
        command = ["nice", "-n", str(niceness), sys.executable, str(TRIALS), str(file)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                verdict = json.loads(line)
                digest = digests[verdict["module"]]
                verdicts.setdefault(digest, {})[str(verdict["number"])] = verdict["verdict"]
                done += 1
                progress.update(done, count, f"{done} of {count}")
                if done % 64 == 0:
                    keep(verdicts)
                if time.monotonic() > end:
                    os.killpg(process.pid, 15)
                    break
        keep(verdicts)
        progress.note(f"{done} of {count}")
    if not done and seconds > 0:
        raise HostError(f"no mutant could be tried: see {log}")


def survivors(found: Sequence[Module], verdicts: Verdicts) -> list[str]:
    """Whoever lives, as people read it."""
    return [
        f"{module.path}:{mutant.first}: {verdict}: {mutant.what}"
        for module in found
        for mutant in module.mutants
        if (verdict := verdicts.get(module.digest, {}).get(str(mutant.number)))
        in (SURVIVED, UNCOVERED)
    ]


def goals(found: Sequence[Module], verdicts: Verdicts) -> list[Goal]:
    """The entry: the share that lives, of those that were tried."""
    shares: dict[str, float] = {}
    tried = alive = 0
    for module in found:
        seen = verdicts.get(module.digest, {})
        living = sum(verdict != KILLED for verdict in seen.values())
        if seen:
            shares[module.path] = round(100 * living / len(seen), 2)
        tried += len(seen)
        alive += living
    every = sum(len(module.mutants) for module in found)
    peers = {"tried": float(tried), "of": float(every), "alive": float(alive), **shares}
    samples = [100 * alive / tried] if tried else []
    return [bench.goal("pid1.mutants_surviving_pct", samples, "%", BOUND_PCT, peers)]


def main(
    minutes: float, sample: int = 0, only: Sequence[str] = (), niceness: int = 10
) -> list[Goal]:
    """Try all mutants, or a sample of so many, for so many minutes at most, and judge."""
    refresh()
    found = modules(only)
    verdicts = kept()
    attempt(found, draw(found, verdicts, sample), verdicts, seconds=minutes * 60, niceness=niceness)
    living = survivors(found, verdicts)
    with published(RESULT.with_name("mutants-alive.txt")) as file:
        file.write_text("".join(f"{one}\n" for one in living), encoding="utf-8")
    return goals(found, verdicts)
