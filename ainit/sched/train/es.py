"""Evolution: CMA-ES over linear weights and crosses, under common random numbers.

Each generation draws scenarios and seeds of its own, the same for all of its candidates; the loss
is the mean logarithm of their costs. Every few generations the mean of the distribution is tried on
validation scenarios, and the best so far is kept. State is saved after each generation.

    es.train(folder, minutes=30)
"""

from __future__ import annotations

import importlib
import json
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import objective, weights
from .boards import Floats
from .workload import MISO, OPENB, Scenario

POPULATION = 12
EPISODES = 8
JOBS = 200
STEP = 0.5
VALIDATE_EVERY = 5
SEED = 20_260_801

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """A generation of the curve: minutes so far, training loss, validation loss or None."""

    generation: int
    minutes: float
    loss: float
    validation: float | None


def draw(random: np.random.Generator, count: int) -> list[tuple[Scenario, int]]:
    """Scenarios of the training split, loads and noise spread evenly."""
    loads = random.permutation(np.resize([0.5, 0.7, 0.85, 0.95], count))
    sigmas = random.permutation(np.resize([0.0, 0.5, 1.0], count))
    gpus = random.permutation(np.resize([1, 2, 4, 4], count))
    return [
        (
            Scenario(
                int(gpus[n]),
                float(loads[n]),
                str(random.choice(["A100-40GB", "H100-80GB"])),
                float(random.choice([1.0, 4.0, 12.0])),
                float(sigmas[n]),
                JOBS,
                durations=str(random.choice([OPENB, OPENB, OPENB, MISO])),
                inference=float(random.choice([0.0, 0.2, 0.5])),
            ),
            int(random.integers(1 << 30)),
        )
        for n in range(count)
    ]


def validation() -> list[tuple[Scenario, int]]:
    """Scenarios of the validation split, always the same."""
    found = draw(np.random.default_rng(7), 12)
    return [(replace(scenario, split="validation", jobs=300), seed) for scenario, seed in found]


def mean_loss(vector: Floats, episodes: list[tuple[Scenario, int]]) -> float:
    """The loss of a vector over episodes."""
    scorer = weights.scorer(vector)
    return float(np.mean([objective.loss(scorer, *episode) for episode in episodes]))


def train(
    folder: Path,
    minutes: float,
    report: Report = print,
    clock: Callable[[], float] = time.monotonic,
) -> Floats:
    """Evolve for so long, going on from what ``folder`` holds; the best by validation."""
    folder.mkdir(parents=True, exist_ok=True)
    state, curve = folder / "es.pickle", folder / "es-curve.json"
    if state.exists():
        saved: dict[str, Any] = pickle.loads(state.read_bytes())
    else:
        options = {"popsize": POPULATION, "seed": SEED, "verbose": -9}
        strategy = importlib.import_module("cma").CMAEvolutionStrategy(
            weights.start(), STEP, options
        )
        saved = {"strategy": strategy, "best": weights.start(), "loss": np.inf, "curve": []}
    checks = validation()
    began, before = clock(), saved["curve"][-1].minutes if saved["curve"] else 0.0
    while (spent := (clock() - began) / 60) < minutes:
        generation = len(saved["curve"])
        episodes = draw(np.random.default_rng((SEED, generation)), EPISODES)
        vectors = saved["strategy"].ask()
        losses = [mean_loss(vector, episodes) for vector in vectors]
        saved["strategy"].tell(vectors, losses)
        checked = None
        if generation % VALIDATE_EVERY == 0:
            centre = np.array(saved["strategy"].mean)
            checked = mean_loss(centre, checks)
            if checked < saved["loss"]:
                saved["best"], saved["loss"] = centre, checked
        spent = before + (clock() - began) / 60
        saved["curve"].append(Progress(generation, spent, float(np.mean(losses)), checked))
        _save(state, curve, saved)
        text = "" if checked is None else f", validation {checked:.4f} (best {saved['loss']:.4f})"
        report(
            f"generation {generation}, {spent:.1f} min: loss {min(losses):.4f}"
            f" {np.mean(losses):.4f}, step {saved['strategy'].sigma:.3f}{text}"
        )
    best: Floats = saved["best"]
    return best


def _save(state: Path, curve: Path, saved: dict[str, Any]) -> None:
    temporary = state.with_suffix(".new")
    temporary.write_bytes(pickle.dumps(saved))
    temporary.replace(state)
    curve.write_text(
        json.dumps(
            [
                {"minutes": each.minutes, "loss": each.loss, "validation": each.validation}
                for each in saved["curve"]
            ]
        )
    )
