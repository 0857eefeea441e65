from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ainit.errors import ConfigError
from ainit.sched.train import traces, workload
from ainit.sched.train.boards import board
from ainit.sched.train.traces import SHARES, Kind
from ainit.sched.train.workload import Scenario


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TRACES", raising=False)
    traces.source.cache_clear()
    workload.make.cache_clear()
    yield
    traces.source.cache_clear()
    workload.make.cache_clear()


def test_without_traces_the_generator_has_their_statistics() -> None:
    lengths = traces.source("train").durations
    assert np.median(lengths) == pytest.approx(553, rel=0.15)
    assert np.quantile(lengths, 0.9) == pytest.approx(5577, rel=0.25)
    assert not np.array_equal(lengths, traces.source("test").durations)


def test_own_jobs_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.csv").write_text("arrival_s,duration_s\n0,100\n10,200\n30,300\n")
    monkeypatch.setenv("TRACES", str(tmp_path))
    found = traces.source("test")
    assert list(found.durations) == [100, 200, 300]
    assert list(found.gaps) == [10, 20]


def test_a_bad_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.csv").write_text("arrival_s,duration_s\n0,100\n10,soon\n")
    monkeypatch.setenv("TRACES", str(tmp_path))
    with pytest.raises(ConfigError, match=r"jobs\.csv:3: duration_s is no number: 'soon'"):
        traces.source("test")


def test_a_directory_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACES", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is no directory"):
        traces.source("test")


def test_load_is_what_was_asked_for() -> None:
    """The least slice-seconds of the jobs, over what the GPUs have while they come."""
    scenario = Scenario(3, 0.7, jobs=200)
    jobs = workload.make(scenario, 1)
    target = board(scenario.board)
    with np.errstate(divide="ignore"):
        areas = np.where(jobs.speeds > 0, jobs.work[:, None] / jobs.speeds, np.inf) * target.memory
    offered = areas.min(axis=1).sum() / (8 * 3 * jobs.arrival[-1])
    assert offered == pytest.approx(0.7, rel=0.05)


def test_noise_changes_estimates_and_nothing_else() -> None:
    clear, noisy = (workload.make(Scenario(1, 0.7, sigma=sigma), 2) for sigma in (0.0, 1.0))
    assert np.array_equal(clear.work, clear.estimate)
    assert np.array_equal(clear.work, noisy.work)
    assert np.log(noisy.estimate / noisy.work).std() == pytest.approx(1.0, abs=0.1)


def test_speeds_follow_what_was_measured_and_memory_decides_what_fits() -> None:
    linear = Kind(tuple(SHARES), 0.0, False)
    target = board("A100-40GB")
    assert workload.speeds_on(target, linear) == pytest.approx(target.share)
    large = Kind((0.0, 0.0, 0.5, 0.6, 1.0), 19000.0, False)
    assert list(workload.speeds_on(target, large)) == pytest.approx([0, 0, 0, 0.5, 0.6, 1.0])
    on_h200 = workload.speeds_on(board("H200-141GB"), large)
    assert (on_h200[1:] > 0).all()
    assert on_h200[0] == 0
