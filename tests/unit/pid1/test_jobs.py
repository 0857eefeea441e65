"""Short work in a child: its output, its deadline, and what is left when PID 1 starts anew."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ainit.linux import process
from ainit.linux.cgroup import Tree
from ainit.pid1.jobs import Jobs
from ainit.pid1.loop import Loop
from tests.support import descriptors
from tests.support.groups import real_groups
from tests.support.wait import wait_for


class Bench:
    """Jobs on a loop turned by hand; this process is their parent, and sees them die."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.loop = Loop()
        self.jobs = Jobs(self.loop, tree)
        self.loop.hook(lambda now: now + 0.01)
        self.done: list[tuple[int, str]] = []

    def run(self, *argv: str, seconds: float = 60.0) -> None:
        self.jobs.run(argv, seconds, lambda *result: self.done.append(result))

    def until(self, count: int) -> list[tuple[int, str]]:
        """Turn until so many are done, and give the results."""

        def enough() -> bool:
            self.loop.turn()
            for pid in list(self.jobs._jobs):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    assert self.jobs.exited(pid, os.waitstatus_to_exitcode(status))
            return len(self.done) >= count

        wait_for(enough, f"{count} jobs")
        return self.done


@pytest.fixture
def bench() -> Iterator[Bench]:
    with real_groups("-jobs") as tree:
        yield Bench(tree)


def test_a_job_ends_with_its_status_and_output(bench: Bench) -> None:
    before = descriptors.at_first()
    bench.run("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert bench.until(1) == [(3, "out\nerr")]
    assert descriptors.now() == before


def test_output_that_is_long_or_no_text_is_cut_and_shown(bench: Bench) -> None:
    bench.run("/bin/sh", "-c", "printf '\\377'; head -c 100000 /dev/zero | tr '\\0' x")
    ((status, output),) = bench.until(1)
    assert (status, len(output), output[:2]) == (0, 65536, "\ufffdx")


def test_a_job_that_takes_too_long_is_killed_and_says_so(bench: Bench) -> None:
    bench.run("/bin/sleep", "600", seconds=0.05)
    assert bench.until(1) == [(-9, "it took too long")]


def test_each_job_has_its_own_deadline(bench: Bench) -> None:
    bench.run("/bin/sleep", "600", seconds=0.05)
    bench.run("/bin/sh", "-c", "read line; echo done")
    assert sorted(bench.until(2)) == [(-9, "it took too long"), (0, "done")]


def test_what_cannot_be_executed_is_a_failure_like_any_other(bench: Bench) -> None:
    bench.run("/nonexistent")
    ((status, output),) = bench.until(1)
    assert status == process.EXEC_FAILED
    assert "execve" in output


def test_what_cannot_be_started_is_an_error_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: process.Child) -> int:
        raise OSError(11, "Resource temporarily unavailable")

    before = descriptors.at_first()
    monkeypatch.setattr(process, "spawn", full)
    with pytest.raises(OSError, match="temporarily"):
        bench.run("/bin/true")
    assert descriptors.now() == before
    assert bench.done == []


def test_another_child_is_no_job(bench: Bench) -> None:
    assert not bench.jobs.exited(4_000_000, 0)


def test_whoever_takes_over_kills_what_is_left(bench: Bench) -> None:
    bench.run("/bin/sleep", "600")
    (pid,) = bench.jobs._jobs
    Jobs(Loop(), bench.tree)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert bench.jobs.exited(pid, -9)
