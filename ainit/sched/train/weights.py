"""A policy's weights: as training varies them, and as the file from which images are built.

The hidden units are *crosses*, chosen by hand: differences of logarithms that say whether a job
outlasts its neighbours or is shorter than what it would displace, and products in effect (a sum
that must exceed one). Evolution varies the linear weights and what the crosses count for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, Finding
from .. import features
from . import run
from .boards import Floats

# Weights by feature, and bias: active where their sum is above zero.
CROSSES: tuple[tuple[Mapping[str, float], float], ...] = (
    ({"displaced_area": 1, "area": -1}, 0.0),
    ({"area": 1, "displaced_area": -1, "displaces": 7}, -1.0),
    ({"displaced_until": 1, "duration": -1}, 0.0),
    ({"duration": 1, "half_until": -1}, 0.0),
    ({"half_until": 1, "duration": -1}, 0.0),
    ({"duration": 1, "gpu_until": -1}, 0.0),
    ({"slower": 1, "pressure": -1}, 0.0),
    ({"wasteful": 1, "pressure": 1}, -1.0),
    ({"dearer": 1, "pressure": 1}, -1.0),
    ({"longer": 1, "pressure": 1}, -1.0),
    ({"later": 1}, -0.25),
    ({"slowdown": 1}, -0.9),
    ({"waited": 1}, -0.7),
    ({"gain": 1}, -0.25),
    ({"moves": 1, "pressure": 1}, -1.0),
    ({"waits": 1, "pressure": 1}, -1.0),
    ({"waits": 1, "backlog": 1}, -1.0),
    ({"gain": 1, "duration": 1}, -0.6),
    ({"displaces": 7, "displaced_since": -1}, 0.0),
    ({"shrinks": 1, "pressure": 1}, -0.7),
    ({"slower": 1, "idle": 1}, -1.0),
    ({"saved": 1}, -0.5),
    ({"used": 1}, -0.5),
    ({"displaced_used": 1}, -0.4),
)
START: Mapping[str, float] = {
    "longer": -4.0, "dearer": -4.0, "later": -6.0, "misses": -0.5, "oldest": 0.1, "slowdown": 1.0,
    "strands": -0.2, "shrinks": -0.1, "free": -0.05, "opens": -0.05, "displaces": -4.0,
    "moves": -7.5, "gain": 8.0, "waits": -6.0,
}  # fmt: skip
SIZE = len(features.NAMES) + len(CROSSES)


def matrix() -> tuple[Floats, Floats]:
    """The crosses as a first layer, feature by unit, and its bias."""
    first = np.zeros((len(features.NAMES), len(CROSSES)))
    for unit, (weights, _) in enumerate(CROSSES):
        for name, value in weights.items():
            first[features.NAMES.index(name), unit] = value
    return first, np.array([bias for _, bias in CROSSES])


def start() -> Floats:
    """The vector that evolution starts from: cheapest first, nothing stopped or moved."""
    linear = [START.get(name, 0.0) for name in features.NAMES]
    return np.array([*linear, *np.zeros(len(CROSSES))])


def scorer(vector: Floats, *, moves: bool = True) -> run.Scorer:
    """What the simulator evaluates."""
    first, bias = matrix()
    width = len(features.NAMES)
    return run.scorer(vector[:width], first, bias, vector[width:].copy(), moves)


def document(vector: Floats, fit: str) -> dict[str, Any]:
    """The file's content. Values are rounded, so that they are the same wherever they are read."""
    rounded = [round(float(value), 5) for value in vector]
    units = [
        {"weights": dict(weights), "bias": bias, "output": output}
        for (weights, bias), output in zip(CROSSES, rounded[len(features.NAMES) :], strict=True)
    ]
    linear = dict(zip(features.NAMES, rounded, strict=False))
    return {"schema": features.SCHEMA, "fit": fit, "linear": linear, "units": units}


def read(path: Path) -> run.Scorer:
    """The scorer of a file. Raises ConfigError."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["schema"] != features.SCHEMA:
        raise ConfigError([Finding(str(path), 1, "trained on other features: run `make train`")])
    units = content["units"]
    first = np.zeros((len(features.NAMES), len(units)))
    for number, unit in enumerate(units):
        for name, value in unit["weights"].items():
            first[features.NAMES.index(name), number] = value
    return run.scorer(
        np.array([content["linear"].get(name, 0.0) for name in features.NAMES]),
        first,
        np.array([unit["bias"] for unit in units]),
        np.array([unit["output"] for unit in units]),
        True,
    )
