"""The policy that ships, beside the heuristic that takes over for it, on the same jobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from lib import policy

from ainit.sched.train import metrics, run, traces, weights, workload
from ainit.sched.train.boards import board
from ainit.sched.train.rules import Rule
from ainit.sched.train.workload import Scenario

SEEDS = (11, 12, 13)


@pytest.fixture(autouse=True)
def generated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs from the generator, whatever traces the host has."""
    monkeypatch.delenv("TRACES", raising=False)
    traces.source.cache_clear()
    workload.make.cache_clear()
    yield
    traces.source.cache_clear()
    workload.make.cache_clear()


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_the_policy_that_ships_beats_the_heuristic(sigma: float) -> None:
    target, scorer = board("A100-40GB"), weights.read(policy.WEIGHTS)
    scenario = Scenario(2, 0.9, sigma=sigma, jobs=60)
    logs = []
    for seed in SEEDS:
        jobs = workload.make(scenario, seed)
        ours = run.scored(target, jobs, scenario.gpus, scorer)
        assert ours is not None
        theirs = run.ruled(target, jobs, scenario.gpus, Rule.FGD_SJF)
        means = [metrics.of(target, jobs, each).mean for each in (ours, theirs)]
        logs.append(np.log(means[0] / means[1]))
    assert np.exp(np.mean(logs)) < 0.9
