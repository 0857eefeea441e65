"""Boot the same kernel and root with a C init, with ainit and with systemd, and judge the goals.

Rounds are interleaved, though guest time hardly varies. The entries take their places among those
of ``build/bench/bench-supervisor.json``; what every guest said is in ``bench-boot-peers.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lib import bench
from lib.boot import ground, run
from lib.boot.goals import INITS, STARTS, Round, judged
from lib.host import HostError, published
from lib.progress import step

RESULT = bench.FOLDER / "bench-supervisor.json"
ROUNDS_RESULT = bench.FOLDER / "bench-boot-peers.json"


def main(rounds: int) -> int:
    """Run all of it, print the table, write the files; 0 only when every goal is met."""
    floor = ground.make()
    found: list[Round] = []
    for number in range(1, rounds + 1):
        said: dict[str, list[run.Said]] = {}
        for init in INITS:
            with step(f"{number}/{rounds} {init.name}") as progress:
                try:
                    said[init.name] = run.boot(floor, init.words, init.last, _console(init.name))
                    progress.note(f"{said[init.name][-1].first:.3f} s")
                except HostError as error:
                    progress.note(f"FAILED: {str(error).splitlines()[0]}")
        found.append(said)
    with step(STARTS.name):
        starts = run.boot(floor, STARTS.words, STARTS.last, _console("starts"))
    with published(ROUNDS_RESULT) as file:
        rows = [*found, {STARTS.name: starts}]
        records = [{name: [asdict(s) for s in each] for name, each in row.items()} for row in rows]
        file.write_text(json.dumps(records, indent=1) + "\n")
    return bench.publish(RESULT, judged(found, starts), merged=True)


def _console(name: str) -> Path:
    words = "".join(c if c.isalnum() else "-" for c in name.lower())
    return ground.FOLDER / f"console-{words}.log"
