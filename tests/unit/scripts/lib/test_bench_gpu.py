"""The figures of ``make bench-gpu``, from small inputs."""

from __future__ import annotations

import random

import pytest
from lib import bench_gpu, bench_gpu_peer, bench_gpu_plans
from lib.bench_gpu_peer import Left
from lib.bench_gpu_plans import Transition

from tests.contract.gpu_lives import Case
from tests.unit.sched.crash_cases import BOARDS, FAULTS, KINDS, Verdict

GOOD = Verdict("create", "none", "H100-80GB", 1, (), 0, 0)
BAD = Verdict("create", "none", "H100-80GB", 2, ("stranded: 1g.10gb at 0:0 is nobody's",), 1, 0)
MOVE = Transition("H100-80GB", 1, 1, 2, 2, 3, 2)


@pytest.fixture(autouse=True)
def _commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_gpu, "commit", lambda: "abc")


def figures(found: list[Verdict], lives: list[Case]) -> dict[str, tuple[float | None, bool]]:
    goals = bench_gpu.goals(found, lives, [Left(8, 0, failed=False)], [MOVE])
    return {each.goal: (each.value, each.met) for each in goals}


def test_enough_good_cases_meet_every_goal() -> None:
    life = Case("create", "none", "H100-80GB", 3, (), 0)
    assert figures([GOOD] * 4999, [life]) == {
        "gpu.crash_cases": (5000, True),
        "gpu.stranded": (0, True),
        "gpu.overlapping": (0, True),
        "gpu.disagreements": (0, True),
        "gpu.disturbed_vs_optimal": (1.0, True),
    }


def test_one_bad_case_misses_and_few_cases_do_not_do() -> None:
    life = Case("create", "none", "H100-80GB", 3, ("overlap: two",), 2)
    found = figures([GOOD, BAD], [life])
    assert found["gpu.crash_cases"] == (3, False)
    assert found["gpu.stranded"] == (3, False)
    assert found["gpu.overlapping"] == (1, False)
    assert found["gpu.disagreements"] == (2, False)


def test_the_peer_is_shown_beside() -> None:
    goals = {each.goal: each for each in bench_gpu.goals([GOOD], [], [Left(8, 4, True)], [MOVE])}
    peers = goals["gpu.stranded"].peers
    assert peers["no journal: slices in neither state"] == 8
    assert peers["no journal: slices, run once more"] == 4
    assert goals["gpu.disturbed_vs_optimal"].peers["clear first"] == 3.0


def test_the_matrix_has_every_kind_fault_and_board_and_all_moments_of_one() -> None:
    jobs = bench_gpu.jobs(1)
    assert len(jobs) == len(KINDS) * len(FAULTS) * len(BOARDS)
    assert {job.step for job in jobs if job.board == bench_gpu.WHOLE_BOARD} == {1}
    assert all(1 <= job.first <= job.step for job in jobs)


def test_all_partitions_are_listed() -> None:
    """The counts of the report: 298 occupancies of slices without the double-memory profile."""
    options = bench_gpu_plans.partitions("H100-80GB")
    plain = [each for key, found in options.items() if "1g.20gb" not in key for each in found]
    sizes = {"1g.10gb": 1, "1g.10gb+me": 1, "2g.20gb": 2, "3g.40gb": 4, "4g.40gb": 4, "7g.80gb": 8}
    without_media = [each for each in plain if all("+me" not in name for name, _ in each)]
    assert len(without_media) == 298
    assert all(sum(sizes[name] for name, _ in each) <= 8 for each in plain)


def test_the_optimum_knows_better_than_clearing() -> None:
    before = frozenset({("1g.10gb", 0), ("1g.10gb", 4)})
    wanted = ("1g.10gb", "3g.40gb")
    found = bench_gpu_plans.measure("H100-80GB", before, before, wanted, random.Random(1))
    assert (found.least, found.planned, found.cleared) == (1, 1, 2)


def test_an_apply_without_a_journal_leaves_slices_when_it_dies() -> None:
    whole, died = bench_gpu_peer.run("none", "H100-80GB", 0)
    assert (whole, died) == (Left(0, 0, failed=False), False)
    cut, died = bench_gpu_peer.run("none", "H100-80GB", 9)
    assert died
    assert cut.stranded > 0
    assert cut.stranded_after_rerun == 0
