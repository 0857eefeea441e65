"""The crash matrix of GPU partitions, and how little their plans disturb; ``make bench-gpu``.

The matrix runs on the Python fake of a driver, in this process and its copies: every kind of
transaction, every fault, death at every moment on one board and at a sample of moments on the
others. A sample runs on the C emulator in real processes that are killed. No GPU is there in
either. A case is one run of one kind with one fault on one board and one death.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import bench_gpu_peer, bench_gpu_plans
from lib.bench import FOLDER, Goal, commit, publish
from lib.progress import Progress, step
from tests.contract import gpu_lives
from tests.unit.sched import crash_cases
from tests.unit.sched.crash_cases import BOARDS, FAULTS, KINDS, MOMENTS_MAX, Verdict

RESULT = FOLDER / "bench-gpu.json"
WHOLE_BOARD = "H100-80GB"  # the one on which death comes at every moment
SPARSE = 13  # on the others, at every so manieth
CASES_MIN = 5000
TRANSITIONS = 10_000
RATIO_MAX = 1.1
REAL_MOMENTS = (0, 11, 27, 43)


@dataclass(frozen=True)
class Job:
    """All moments of one kind, fault and board that have the same remainder."""

    kind: str
    fault: str
    board: str
    first: int
    step: int


def jobs(thin: int) -> list[Job]:
    """The whole matrix; with ``thin``, every so manieth moment of it only."""
    found = []
    for number, board in enumerate(BOARDS):
        spacing = thin * (1 if board == WHOLE_BOARD else SPARSE)
        for kind in KINDS:
            found += [
                Job(kind, fault, board, 1 + (number * 5 + index) % spacing, spacing)
                for index, fault in enumerate(FAULTS)
            ]
    return found


def run_job(job: Job) -> list[Verdict]:
    """The cases of a job; one whose fatal moment did not come is none."""
    found = []
    for moment in range(job.first, MOMENTS_MAX, job.step):
        verdict, died = crash_cases.run(job.kind, job.fault, job.board, moment)
        if not died:
            break
        found.append(verdict)
    return found


def verdicts(thin: int, processes: int) -> Iterator[Verdict]:
    """Every case of the matrix, as they are done."""
    wanted = jobs(thin)
    with step("crash matrix, fake driver") as progress:
        count = wrong = 0
        if processes > 1:
            with ProcessPoolExecutor(processes) as pool:
                batches: Iterator[list[Verdict]] = pool.map(run_job, wanted)
                results = list(_told(batches, len(wanted), progress))
        else:
            results = list(_told(map(run_job, wanted), len(wanted), progress))
        for batch in results:
            for verdict in batch:
                count += 1
                wrong += bool(verdict.wrong)
                yield verdict
        progress.note(f"{count} cases, {wrong} wrong")


def _told(
    batches: Iterator[list[Verdict]], total: int, progress: Progress
) -> Iterator[list[Verdict]]:
    for done, batch in enumerate(batches, 1):
        progress.update(done, total, f"of {total} combinations")
        yield batch


def real_cases(moments: Sequence[int]) -> list[gpu_lives.Case]:
    """The sample in real processes on the emulator."""
    wanted = [
        (kind, fault, BOARDS[number % len(BOARDS)], moment)
        for number, (kind, fault, moment) in enumerate(
            (kind, fault, moment)
            for kind in gpu_lives.KINDS
            for fault in gpu_lives.FAULTS
            for moment in moments
        )
    ]
    found = []
    with step("crash sample, emulator") as progress:
        for done, (kind, fault, board, moment) in enumerate(wanted):
            progress.update(done, len(wanted), f"{kind}, {fault}")
            with TemporaryDirectory(prefix="ainos-gpu-") as folder:
                found.append(gpu_lives.run(Path(folder), kind, fault, board, moment))
        progress.note(f"{len(found)} cases, {sum(bool(each.wrong) for each in found)} wrong")
    return found


def peer_cases(thin: int) -> list[bench_gpu_peer.Left]:
    """The repartition of the matrix done by an apply without a journal, with the same deaths."""
    found = []
    with step("the same, no journal") as progress:
        for done, fault in enumerate(FAULTS):
            progress.update(done, len(FAULTS), fault)
            for board in BOARDS:
                for moment in range(1, MOMENTS_MAX, thin):
                    left, died = bench_gpu_peer.run(fault, board, moment)
                    if not died:
                        break
                    found.append(left)
        progress.note(f"{len(found)} cases")
    return found


def plans(count: int) -> list[bench_gpu_plans.Transition]:
    """The random transitions."""
    found = []
    with step("random transitions") as progress:
        for each in bench_gpu_plans.transitions(count):
            found.append(each)
            progress.update(len(found), count)
    return found


def main(thin: int, processes: int, real: bool) -> int:
    """Measure, print the table, write the file; 0 when every goal is met."""
    found = list(verdicts(thin, processes))
    lives = real_cases(REAL_MOMENTS) if real else []
    peers = peer_cases(thin)
    moved = plans(TRANSITIONS)
    _explain(found, lives)
    _show(found, peers)
    return publish(RESULT, goals(found, lives, peers, moved))


def goals(
    found: Sequence[Verdict],
    lives: Sequence[gpu_lives.Case],
    peers: Sequence[bench_gpu_peer.Left],
    moved: Sequence[bench_gpu_plans.Transition],
) -> list[Goal]:
    """The figures, each with what it is compared with."""
    both: list[Verdict | gpu_lives.Case] = [*found, *lives]
    stranded = sum(each.stranded for each in both)
    overlapping = sum(each.overlapping for each in found) + sum(
        text.startswith("overlap") for each in lives for text in each.wrong
    )
    wrong = sum(bool(each.wrong) for each in both)
    planned, least = sum(each.planned for each in moved), sum(each.least for each in moved)
    ratio = round(planned / least, 4) if least else None
    fits = [each for each in moved if each.first_fit is not None]
    counts = {
        "on the fake driver": len(found),
        "in real processes on the emulator": len(lives),
    }
    naive = {
        "no journal: slices in neither state": sum(each.stranded for each in peers),
        "no journal: cases with any": sum(each.stranded > 0 for each in peers),
        "no journal: cases": len(peers),
        "no journal: slices, run once more": sum(each.stranded_after_rerun for each in peers),
    }
    disturbing = {
        "disturbed": planned,
        "least possible": least,
        "changes against the least": _share(
            sum(each.changed for each in moved), sum(each.least_changed for each in moved)
        ),
        "clear first": _share(sum(each.cleared for each in moved), least),
        "first fit": _share(sum(each.first_fit or 0 for each in fits), sum(e.least for e in fits)),
        "first fit finds no way": len(moved) - len(fits),
    }
    return [
        _at_least("gpu.crash_cases", len(both), CASES_MIN, "cases", counts),
        _at_most("gpu.stranded", stranded, 0, "slices", naive),
        _at_most("gpu.overlapping", overlapping, 0, "instances", {}),
        _at_most("gpu.disagreements", wrong, 0, "cases", {}),
        _at_most("gpu.disturbed_vs_optimal", ratio, RATIO_MAX, "", disturbing),
    ]


def _share(value: int, of: int) -> float:
    return round(value / of, 3) if of else 0.0


def _at_most(
    name: str, value: float | None, bound: float, unit: str, peers: Mapping[str, float]
) -> Goal:
    met = value is not None and value <= bound
    return Goal(name, value, bound, unit, met, _samples(value), commit(), dict(peers))


def _at_least(name: str, value: float, bound: float, unit: str, peers: Mapping[str, float]) -> Goal:
    return Goal(name, value, bound, unit, value >= bound, [value], commit(), dict(peers))


def _samples(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _explain(found: Sequence[Verdict], lives: Sequence[gpu_lives.Case]) -> None:
    """Every case in which anything was wrong, so that it can be run again."""
    both: list[Verdict | gpu_lives.Case] = [*found, *lives]
    for each in both:
        for text in each.wrong:
            where = f"{each.kind}, {each.fault}, {each.board}, moment {each.moment}"
            print(f"{where}: {text}", file=sys.stderr)


def _show(found: Sequence[Verdict], peers: Sequence[bench_gpu_peer.Left]) -> None:
    """Cases by kind and board."""
    print(f"\n{'kind':12}" + "".join(f"{board:>12}" for board in BOARDS) + f"{'stranded':>10}")
    for kind in KINDS:
        own = [each for each in found if each.kind == kind]
        counts = "".join(f"{sum(e.board == board for e in own):>12}" for board in BOARDS)
        print(f"{kind:12}{counts}{sum(each.stranded for each in own):>10}")
    lost = sum(each.stranded for each in peers)
    print(f"{'no journal':12}{len(peers):>12} cases{lost:>48}\n")


def processes_of(wanted: int) -> int:
    """How many processes to use: those wanted, or all processors."""
    return wanted or len(os.sched_getaffinity(0))
