from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ainit.errors import ConfigError
from ainit.sched import features
from ainit.sched.train import es, objective, weights
from ainit.sched.train.boards import Floats
from ainit.sched.train.metrics import Metrics

PLAIN = Metrics(100.0, 900.0, 2.0, 0.5, 0.5, 0.5, 0.1, 10.0, 1.0, 0.0, 0.0, 900.0)


class Shrinks:
    """A strategy that tries its mean and something else, and keeps what is better."""

    def __init__(self, start: Floats, sigma: float, options: dict[str, Any]) -> None:
        self.mean, self.sigma, self.told = start, sigma, 0

    def ask(self) -> list[Floats]:
        return [self.mean, self.mean * 0.5]

    def tell(self, vectors: Sequence[Floats], losses: Sequence[float]) -> None:
        self.told += 1
        self.mean = vectors[int(np.argmin(losses))]


def test_scenarios_are_spread_and_of_the_training_split() -> None:
    drawn = [scenario for scenario, _ in es.draw(np.random.default_rng(1), 24)]
    assert {each.split for each in drawn} == {"train"}
    assert {each.sigma for each in drawn} == {0.0, 0.5, 1.0}
    assert {each.gpus for each in drawn} == {1, 2, 4}
    assert {each.board for each in drawn} <= {"A100-40GB", "H100-80GB"}
    assert es.validation() == es.validation()
    assert {each.split for each, _ in es.validation()} == {"validation"}


def test_the_cost_is_the_objective_of_the_document() -> None:
    assert objective.cost(PLAIN, PLAIN) == pytest.approx(1 + 0.1 * 0.5 + 0.02 + 0.1)
    faster = PLAIN._replace(mean=50.0, p99=1800.0)
    assert objective.cost(faster, PLAIN) == pytest.approx(0.5 + 0.05 + 0.02 + 0.2)


def test_training_goes_on_from_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cma", SimpleNamespace(CMAEvolutionStrategy=Shrinks))
    monkeypatch.setattr(es, "mean_loss", lambda vector, _: float(np.abs(vector).sum()))
    lines: list[str] = []

    def stop_after(count: int) -> None:
        times = iter([*([0.0] * (3 * count)), *([1e9] * 9)])
        es.train(tmp_path, 1.0, lines.append, lambda: next(times))

    stop_after(3)
    stop_after(3)
    curve = json.loads((tmp_path / "es-curve.json").read_text())
    assert len(curve) == len(lines) > 3
    assert [line.split(",")[0] for line in lines] == [f"generation {n}" for n in range(len(lines))]
    assert curve[-1]["loss"] < curve[0]["loss"] / 4


def test_weights_survive_their_file(tmp_path: Path) -> None:
    vector = np.random.default_rng(3).standard_normal(weights.SIZE)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(weights.document(vector, "test")))
    read, direct = weights.read(path), weights.scorer(vector)
    for one, other in zip(read[:-1], direct[:-1], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    path.write_text(path.read_text().replace(features.SCHEMA, "0" * 64))
    with pytest.raises(ConfigError, match="other features"):
        weights.read(path)


def test_a_policy_that_gives_up_costs_a_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ainit.sched.train.run.scored", lambda *_: None)
    scenario, seed = es.draw(np.random.default_rng(1), 1)[0]
    assert objective.loss(weights.scorer(weights.start()), scenario, seed) == math.log(20.0)
