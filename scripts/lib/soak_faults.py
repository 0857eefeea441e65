"""Faults of PID 1 beside a thousand services, at every line: what came of them all.

Workers (``tests/pidns/soak.py``) each have a machine of namespaces full of services, and a share of
the faults. They run from a copy of the tree, so that whoever edits meanwhile changes nothing. The
copy and what was done lie in ``build/soak/faults/DIGEST``; with ``resume`` the last one goes on.

    entries = soak_faults.main(minutes=30)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lib import bench
from lib.bench import Data, Goal
from lib.host import BUILD, REPOSITORY, HostError, published
from lib.progress import step

FOLDER = BUILD / "soak/faults"
PARTS = ("ainit", "tests/support", "tests/pidns")
WANTED = 10_000
SERVICES = 1_000
WORKERS = 2
MARGIN_S = 300.0  # for a world to end after its time
ZERO = ("services_lost", "started_twice", "zombies", "panics", "log_bytes_lost")
_NICE = 5


def main(
    minutes: float, *, services: int = SERVICES, faults: int = WANTED, resume: bool = False
) -> list[Goal]:
    """Run for so many minutes, or until so many faults came to pass, and judge all there is."""
    folder = _folder(resume)
    before = sum(record["faults"] for record in records(folder))
    if before < faults:
        with step(f"faults of PID 1 among {services} services") as progress:
            share = math.ceil(faults / WORKERS)
            workers = [_work(folder, one, services, share, minutes * 60) for one in range(WORKERS)]
            deadline = time.monotonic() + minutes * 60 + MARGIN_S
            try:
                while any(one.poll() is None for one in workers):
                    done = sum(record["faults"] for record in records(folder))
                    progress.update(done, faults, f"{done} faults")
                    if time.monotonic() > deadline:
                        raise HostError(f"the workers did not end: see {folder}")
                    time.sleep(1.0)
            finally:
                _end(workers)
            for number, one in enumerate(workers):
                if one.returncode:
                    raise HostError(f"a worker failed: see {folder}/log-{number}")
    found = list(records(folder))
    _write_unreached(folder)
    return goals(found, services)


def goals(found: Sequence[Data], services: int) -> list[Goal]:
    """The entries: how many faults, of which kind, and what must not have happened."""
    total: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for record in found:
        for figure in ("faults", "handled", "missed", "descriptors_gained", *ZERO):
            total[figure] += record[figure]
        for key in record["fired"]:
            kind = key.split()[0]
            kinds["signals" if kind.startswith("SIG") else kind] += 1
    peers = {
        "services": services,
        "handled": total["handled"],
        "not got to": total["missed"],
        **dict(sorted(kinds.items())),
    }
    sizes = [record["sizes"] for record in found if record.get("sizes")]
    reached = bench.goal("pid1.faults", [total["faults"]], "faults", peers=peers)
    met = total["faults"] >= WANTED
    largest = {
        "journal, bytes": max((one["journal"] for one in sizes), default=0),
        "memory, bytes": max((one["resident"] for one in sizes), default=0),
    }
    gained = [total["descriptors_gained"]]
    return [
        Goal(**{**asdict(reached), "bound": WANTED, "met": met}),
        *(bench.goal(f"pid1.{figure}", [total[figure]], "", 0.0) for figure in ZERO),
        bench.goal("pid1.fault_descriptors_gained", gained, "descriptors", 0.0, largest),
    ]


def records(folder: Path) -> Iterator[Data]:
    """What the workers wrote down so far."""
    for path in sorted(folder.glob("worker-?")):
        for line in path.read_text(encoding="ascii").splitlines(keepends=True):
            if line.endswith("\n"):  # a whole one: the last may be being written
                yield json.loads(line)


def _folder(resume: bool) -> Path:
    """The folder of this run, with a copy of the tree."""
    current = FOLDER / "current"
    if resume and current.exists():
        return FOLDER / current.read_text(encoding="ascii")
    digest = hashlib.sha256()
    files = sorted(path for part in PARTS for path in (REPOSITORY / part).rglob("*"))
    for path in files:
        if path.suffix in (".py", ".so", ".varlink", ".json"):
            digest.update(f"{path}\0".encode() + path.read_bytes())
    folder = FOLDER / digest.hexdigest()[:16]
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, folder / "tree" / part, ignore=ignored)
    current.write_text(folder.name, encoding="ascii")
    return folder


def _work(
    folder: Path, number: int, services: int, faults: int, seconds: float
) -> subprocess.Popen[bytes]:
    """One worker, in a session of its own."""
    words = [folder, number, WORKERS, services, faults, seconds]
    program = [sys.executable, "-m", "tests.pidns.soak", *map(str, words)]
    tree = folder / "tree"
    with open(folder / f"log-{number}", "ab") as log:
        return subprocess.Popen(
            ["nice", "-n", str(_NICE), *program],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for one in workers:
        one.terminate()
    for one in workers:
        one.wait()


def _write_unreached(folder: Path) -> None:
    """The lines of PID 1 that no stimulus gets to, with the reason, and what they are of."""
    reached: set[tuple[str, int]] = set()
    for path in folder.glob("worker-?.lines"):
        for lines in json.loads(path.read_text(encoding="ascii")).values():
            reached.update((file, number) for file, number in lines)
    if not reached:
        return
    code = (
        "import json, sys; from tests.pidns import closure; "
        "print(json.dumps(closure.unreached(map(tuple, json.load(sys.stdin)))))"
    )
    tree = folder / "tree"
    found = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(sorted(reached)),
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    unreached = json.loads(found)
    with published(folder / "unreached.json") as file:
        file.write_text(json.dumps(unreached, indent=1) + "\n", encoding="ascii")
    reasons = Counter(reason for _, _, _, reason in unreached)
    print(f"{len(reached)} lines of PID 1 got to, {len(unreached)} not ({folder}/unreached.json):")
    for reason, count in reasons.most_common():
        print(f"  {count:5}  {reason}")
