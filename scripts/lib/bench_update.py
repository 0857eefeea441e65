"""What is shown of updates in figures: power cuts at every write, TUF's conformance suite, deltas.

The machine is EMULATED; what its disk holds after a cut is replayed from QEMU's log of its writes,
and judged by `lib.cut_oracle` on the host.

    status = main(Options(peers=None, only=(), minutes=60))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lib import (
    bench,
    bench_update_delta,
    bench_update_tuf,
    cut_boots,
    cut_guest,
    cut_operations,
    cut_refresh,
    cut_stand,
    cut_trial,
    drive,
    models,
)
from lib.bench import Goal
from lib.cut_guest import Job
from lib.cut_mutants import COMMIT, MUTANTS, UPDATE, check
from lib.cut_oracle import DONE, DONE_SECTOR, World
from lib.cut_state import State
from lib.cut_trial import Found, Trial
from lib.host import KEYS, run
from lib.layout import FIRST_OFFSET
from lib.progress import step

RESULT = bench.FOLDER / "bench-update.json"
FOLDER = bench.FOLDER / "update"
PARTS = ("cuts", "mutants", "boots", "tuf", "delta")
LEAST_POINTS, LEAST_BOOTS = 1000, 200
INGEST, REFRESH, ROLLBACK = "ingest", "refresh", "rollback"
_MODEL = models.MODELS / cut_operations.MODEL
_LEFT = {
    "update.bricks": "unbootable",
    "update.mixed_slots": "mixed slots",
    "update.wrong_version": "wrong version",
    "update.data_lost": "data lost",
}


@dataclass(frozen=True, slots=True)
class Options:
    """``peers`` holds a checkout of tuf-conformance; ``only`` names PARTS, none of them all;
    ``minutes`` are for boots.
    """

    peers: Path | None
    only: Sequence[str]
    minutes: float


class Cuts:
    """The operations and mutants, cut at every point, on disks in ``folder``."""

    def __init__(self, folder: Path, *, mutants: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stand = cut_stand.make(folder / "stand")
        self._repositories = cut_refresh.Repositories(folder / "repositories")
        self._mutants = MUTANTS if mutants else ()
        self.operations: list[Found] = []
        self.mutants: list[Found] = []

    def run(self) -> None:
        """All of it. Raises HostError."""
        for mutant in self._mutants:
            check(mutant)
        stand, repositories = self._stand, self._repositories
        model = {path.name: path.read_bytes() for path in _MODEL.iterdir()}
        files = {
            **repositories.files(),
            **{f"model/{name}": data for name, data in model.items()},
            "keys/publisher.pem": (KEYS / "publisher.pub.pem").read_bytes(),
            "uki": stand.new.uki,
            "approval": stand.new.approval,
            "root": stand.new.root,
            "verity": stand.new.verity,
            "loader": stand.loaders[1],
        }
        kept = {name: data for name, data in model.items() if name.endswith(".onnx")}
        facts = cut_operations.facts(stand)
        first = {
            UPDATE: (cut_operations.UPDATE, cut_operations.of_update(stand)),
            REFRESH: (
                cut_refresh.REFRESH,
                replace(cut_operations.unchanged(stand), lost=repositories.lost),
            ),
            INGEST: (cut_operations.INGEST, cut_operations.of_ingest(stand, kept)),
        }
        facts["now"] = repositories.now
        self._on(stand.base, first, facts, files)
        second = {
            COMMIT: (cut_operations.COMMIT, cut_operations.of_commit(stand)),
            ROLLBACK: (cut_operations.ROLLBACK, cut_operations.of_rollback(stand)),
        }
        self._on(self._updated(str(facts["entry"])), second, facts, files)

    def _on(
        self,
        base: Path,
        operations: Mapping[str, tuple[str, World]],
        facts: Mapping[str, object],
        files: Mapping[str, bytes],
    ) -> None:
        jobs = [Job(name, script, facts) for name, (script, _) in operations.items()]
        for mutant in self._mutants:
            if mutant.operation in operations:
                script = operations[mutant.operation][0]
                jobs.append(Job(mutant.name, script, facts, mutant.patches))
        wrong = {mutant.name: mutant.operation for mutant in self._mutants}
        with step("operations") as progress:
            progress.note(f"{len(jobs)} in one machine")
            logs = cut_guest.run(drive.IMAGE, base, jobs, self._folder / "guest", files)
        with State() as state:
            for name, log in logs.items():
                world = operations[wrong.get(name, name)][1]
                with step(name) as progress:
                    trial = Trial(name, log, base, world)
                    found = cut_trial.judge(trial, state, first_fault=name in wrong)
                    (self.mutants if name in wrong else self.operations).append(found)
                    progress.note(f"{found.points} points")
                print(found)
                for line in found.shown:
                    print(f"  {line}")

    def _updated(self, entry: str) -> Path:
        """The disk once the update was installed and started for the first time."""
        out = self._folder / "updated.img"
        overlay = cut_guest.overlay_of(self._folder / "guest", 0)
        run(["qemu-img", "convert", "-O", "raw", str(overlay), str(out)])
        with out.open("r+b") as file:
            file.seek(DONE_SECTOR * 512)
            file.write(bytes(len(DONE)))
        esp = f"{out}@@{FIRST_OFFSET}"
        listed = run(["mdir", "-b", "-i", esp, "::/EFI/Linux"]).split()
        new = self._stand.new.known.version
        (held,) = [path for path in listed if new in path and path.endswith(".efi")]
        run(["mren", "-i", esp, held, entry])
        return out

    def goals(self) -> list[Goal]:
        """What they came to."""
        points = [sum(found.points for found in self.operations)]
        each = {found.name: float(found.points) for found in self.operations}
        made = [_at_least(bench.goal("update.points", points, "points", peers=each), LEAST_POINTS)]
        for name, fault in _LEFT.items():
            count = sum(found.faults[fault] for found in self.operations)
            made.append(bench.goal(name, [count], "points", 0.0))
        if self._mutants:
            caught = [sum(bool(found.faults) for found in self.mutants)]
            goal = bench.goal("update.mutants_caught", caught, f"of {len(MUTANTS)}")
            made.append(_at_least(goal, len(MUTANTS)))
        return made


def boots(minutes: float) -> list[Goal]:
    """A sample that is really booted: how many so far, and how many of them came up otherwise."""
    ground = cut_boots.prepare(drive.IMAGE, FOLDER / "boots")
    with step("boots") as progress:
        results = FOLDER / "boots" / "boots.json"
        known = cut_boots.sample(ground, LEAST_BOOTS, minutes, results, progress.update)
        progress.note(f"{len(known)} of {LEAST_BOOTS}")
    wrong = {point: why for point, why in known.items() if why}
    for point, why in wrong.items():
        print(f"{point}: {why}")
    return [
        _at_least(bench.goal("update.booted", [len(known)], "points"), LEAST_BOOTS),
        bench.goal("update.booted_otherwise", [len(wrong)] if known else [], "points", 0.0),
    ]


def conformance(peers: Path | None) -> list[Goal]:
    """TUF's suite; without a checkout the goal has no value."""
    failed: list[float] = []
    checkout = peers / "tuf-conformance" if peers else None
    if checkout is None or not checkout.is_dir():
        print("no checkout of tuf-conformance: PEERS=DIR names the directory that holds it")
    else:
        with step("tuf-conformance") as progress:
            result = bench_update_tuf.conformance(checkout)
            progress.note(f"{result.passed} passed, {result.failed} did not")
        failed = [result.failed]
        for name in result.names:
            print(f"not passed: {name}")
    return [bench.goal("update.tuf_failed", failed, "tests", 0.0)]


def main(options: Options) -> int:
    """Measure, and write the file; the exit status is 0 when every goal that was chosen is met."""
    wanted = options.only or PARTS
    entries: list[Goal] = []
    if "cuts" in wanted or "mutants" in wanted:
        cut = Cuts(FOLDER, mutants="mutants" in wanted)
        cut.run()
        entries += cut.goals()
    if "boots" in wanted:
        entries += boots(options.minutes)
    if "tuf" in wanted:
        entries += conformance(options.peers)
    if "delta" in wanted:
        entries += bench_update_delta.measure(FOLDER / "delta")
    if not options.only:
        # A soft reboot is not there yet: nothing to measure.
        entries.append(bench.goal("update.outage_ratio", [], "of a cold reboot", 0.5))
    return bench.publish(RESULT, entries, merged=True)


def _at_least(goal: Goal, bound: float) -> Goal:
    met = goal.value is not None and goal.value >= bound
    return Goal(**{**asdict(goal), "bound": bound, "met": met})
