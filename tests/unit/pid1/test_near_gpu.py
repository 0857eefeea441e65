"""A unit is kept near its GPU, and starts when that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux import process
from ainit.policy.plan import JOB, Record, Unit
from tests.support.units import make_unit
from tests.unit.pid1.test_launch import Bench

NEAR: Record = {"environment": {}, "numa": {"node": 1, "cpus": "8-15", "memory_nodes": "1"}}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(process, "spawn", lambda child: 1)
    return Bench(tmp_path)


def wants_gpu(**fields: object) -> Unit:
    return make_unit("u", exec=["/bin/true"], gpu_profile="1g.10gb", **fields)


def limits(bench: Bench) -> dict[str, str]:
    """The files of the group: a directory whose limit files are there already."""
    group = bench.directory / "cgroup/u"
    return {name: (group / name).read_text().strip() for name in ("cpuset.cpus", "cpuset.mems")}


def with_cpusets(bench: Bench) -> Bench:
    group = bench.directory / "cgroup/u"
    group.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):
        (group / name).write_text("")
    bench.launcher._cgroups._sound.add("u")
    return bench


def test_it_is_kept_near_its_gpu(bench: Bench) -> None:
    with_cpusets(bench).launcher.spawn(wants_gpu(), NEAR)
    assert limits(bench) == {"cpuset.cpus": "8-15", "cpuset.mems": "1"}


def test_a_probe_leaves_it_there(bench: Bench) -> None:
    with_cpusets(bench).launcher.probe(wants_gpu(), ["/bin/true"], NEAR)
    assert limits(bench) == {"cpuset.cpus": "8-15", "cpuset.mems": "1"}


def test_its_own_word_counts_more(bench: Bench) -> None:
    with_cpusets(bench).launcher.spawn(wants_gpu(cpus="0-3"), NEAR)
    assert limits(bench)["cpuset.cpus"] == "0-3"


def test_one_that_does_not_want_that_is_left_alone(bench: Bench) -> None:
    with_cpusets(bench).launcher.spawn(wants_gpu(gpu_numa="none"), NEAR)
    assert limits(bench) == {"cpuset.cpus": "", "cpuset.mems": ""}


@pytest.mark.parametrize("gpu", [None, {"numa": None}, {"numa": {}}, {"numa": {"cpus": 3}}, {}])
def test_where_nobody_knows_it_starts_anywhere(bench: Bench, gpu: Record | None) -> None:
    with_cpusets(bench).launcher.spawn(wants_gpu(), gpu)
    assert limits(bench) == {"cpuset.cpus": "", "cpuset.mems": ""}


def test_a_kernel_without_cpusets_is_told_and_it_starts(bench: Bench) -> None:
    bench.launcher.spawn(wants_gpu(), NEAR)
    (line,) = (line["text"] for line in bench.logs.select("u", 10)[0])
    assert str(line).startswith("is not kept near its GPU: u: cpus cannot be set (8-15 in cpuset")


def test_a_job_is_confined_as_an_agent_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted: list[str] = []
    monkeypatch.setattr(bench.enforcement, "admit", lambda name, *what: admitted.append(str(name)))
    job = Unit("u.job", JOB)
    job.exec, job.user = ["/bin/true"], 64500
    bench.launcher.spawn(job, None)
    bench.launcher.spawn(make_unit("service", exec=["/bin/true"]), None)
    assert admitted == ["u.job"]
