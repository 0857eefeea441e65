"""Where jobs come from: traces of a directory, or a generator fitted to their statistics.

``TRACES=<directory>`` holds any of the files below; what it lacks is generated. Every source has
the splits ``train``, ``validation`` and ``test``: by time for what has times, by model for speeds.
A ``jobs.csv`` (``arrival_s,duration_s``, one job a line) is a trace that training never saw: it is
all test.

* ``openb_pod_list_default.csv.gz``: durations and arrivals of GPU pods, Alibaba 2023 (Weng et al.,
  ATC 2023). The last 30 days: 20, 5 and 5.
* ``AzureLLMInferenceTrace_conv.csv.gz``: arrivals of requests, 2023 (Patel et al., ISCA 2024). The
  first 40 minutes, and the rest.
* ``miso_a100_40gb_training_slices.csv``: speeds of training by slice (Li et al., SoCC 2022);
  ``miso_job_durations_100.json``: its job lengths.
* ``parvagpu_a100_80gb_profiles.csv.gz``: throughput of inference by slice (ParvaGPU, SC 2024).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError, Finding

Floats = npt.NDArray[np.float64]
SPLITS = ("train", "validation", "test")
DAY_S = 86400.0
LONGEST_S = DAY_S  # what holds a GPU for longer is a service, not a job that ends
SHORTEST_S = 10.0
WINDOW_DAYS = (20, 5, 5)
AZURE_TRAIN_S = 2400.0
HELD_OUT_TRAINING = ("gnn", "transformer")
HELD_OUT_INFERENCE = ("densenet201", "mobilenetv2", "vgg19")
# Shares of the SMs of the slices that were measured, on an A100.
SHARES = np.array([1, 2, 3, 4, 7]) / 7.0
# MiB that a slice of the A100-40GB has: a job that was not measured on a slice did not fit.
FLOORS_MIB = np.array([0.0, 4865.0, 9857.0, 9857.0, 19969.0])

# The generator. Durations: quantiles of openb's last 30 days (ours, from the file above), in
# seconds, up to a day. Speeds: share of the SMs to an exponent, whose quantiles were fitted to the
# measured kinds; memory floors likewise. Inference is nearly linear.
_QUANTILES = np.array([0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])
_DURATIONS = np.array([10.0, 10.0, 72.0, 172.0, 553.0, 1951.0, 5577.0, 12854.0, 75528.0, DAY_S])
_MISO_QUANTILES = np.array([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
_MISO_DURATIONS = np.array([120.0, 135.0, 248.0, 880.0, 2282.0, 6082.0])
_EXPONENTS = np.array([0.12, 0.35, 0.55, 0.72, 0.9, 1.2])
_FLOOR_SHARES = (0.62, 0.22, 0.16)  # fits 1g.5gb, 2g.10gb, only 3g.20gb


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: its speed by ``SHARES`` beside a whole A100 (0: not measured), and memory."""

    speeds: tuple[float, ...]
    floor_mib: float
    inference: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What one split offers. ``gaps``: seconds between arrivals, in order; empty: no trace."""

    durations: Floats
    gaps: Floats
    requests: Floats
    kinds: tuple[Kind, ...]
    miso: Floats


def directory() -> Path | None:
    """Where the traces lie; None without ``TRACES``. Raises ConfigError."""
    named = os.environ.get("TRACES")
    if not named:
        return None
    path = Path(named)
    if not path.is_dir():
        raise ConfigError([Finding("TRACES", 1, f"{path} is no directory")])
    return path


@cache
def source(split: str, held_out: bool = False) -> Source:
    """What a split offers; ``held_out``: the models that training never sees."""
    folder = directory()
    seed = SPLITS.index(split)
    durations, gaps = _pods(folder, split, np.random.default_rng(100 + seed))
    return Source(
        durations,
        gaps,
        _requests(folder, split),
        _kinds(folder, held_out, np.random.default_rng(200 + held_out)),
        _miso_durations(folder),
    )


def _open(folder: Path | None, name: str) -> Iterator[dict[str, str]] | None:
    """The rows of a file, if it is there."""
    if folder is None or not (path := folder / name).is_file():
        return None
    raw = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    return iter(csv.DictReader(io.StringIO(raw.decode("utf-8"))))


def _number(path: str, line: int, row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError) as error:
        message = f"{column} is no number: {row.get(column)!r}"
        raise ConfigError([Finding(path, line, message)]) from error


def _pods(folder: Path | None, split: str, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Durations and gaps between arrivals."""
    own = _open(folder, "jobs.csv")
    if own is not None:
        table = sorted(
            (_number("jobs.csv", n, row, "arrival_s"), _number("jobs.csv", n, row, "duration_s"))
            for n, row in enumerate(own, 2)
        )
        times, lengths = np.array(table).reshape(-1, 2).T
        return np.clip(lengths, SHORTEST_S, LONGEST_S), _gaps(times, 1e-3)
    name = "openb_pod_list_default.csv.gz"
    rows = _open(folder, name)
    if rows is None:
        drawn = np.interp(random.random(4000), _QUANTILES, np.log(_DURATIONS))
        return np.exp(drawn), np.zeros(0)
    pods = [
        (_number(name, n, row, "creation_time"), _number(name, n, row, "deletion_time"))
        for n, row in enumerate(rows, 2)
        if row["num_gpu"] != "0" and row["deletion_time"]
    ]
    created, deleted = np.array(sorted(pods)).T
    last = created.max()
    edges = last - DAY_S * (sum(WINDOW_DAYS) - np.cumsum((0, *WINDOW_DAYS)))
    place = SPLITS.index(split)
    inside = (created > edges[place]) & (created <= edges[place + 1])
    lengths = np.clip((deleted - created)[inside], SHORTEST_S, LONGEST_S)
    return lengths, _gaps(created[inside], 1e-3)


def _requests(folder: Path | None, split: str) -> Floats:
    """Gaps between requests for inference."""
    rows = _open(folder, "AzureLLMInferenceTrace_conv.csv.gz")
    if rows is None:
        return np.zeros(0)
    times: Floats = np.array(
        [
            datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC).timestamp()
            for row in rows
        ]
    )
    times -= times[0]
    kept = times < AZURE_TRAIN_S if split == "train" else times >= AZURE_TRAIN_S
    return _gaps(times[kept], 1e-6)


def _gaps(times: Floats, least: float) -> Floats:
    """Seconds between arrivals."""
    gaps: Floats = np.maximum(times[1:] - times[:-1], least)
    return gaps


def _miso_durations(folder: Path | None) -> Floats:
    path = None if folder is None else folder / "miso_job_durations_100.json"
    if path is not None and path.is_file():
        return np.array(sorted(json.loads(path.read_text()).values()), dtype=np.float64)
    drawn: Floats = np.interp(np.arange(100) / 99.0, _MISO_QUANTILES, _MISO_DURATIONS)
    return drawn


def _kinds(folder: Path | None, held_out: bool, random: np.random.Generator) -> tuple[Kind, ...]:
    """Kinds of both classes, of the models that are held out or of the others."""
    training = _open(folder, "miso_a100_40gb_training_slices.csv")
    inference = _open(folder, "parvagpu_a100_80gb_profiles.csv.gz")
    found: list[Kind] = []
    if training is None:
        found += [_drawn_kind(random) for _ in range(24)]
    else:
        steps: dict[tuple[str, str], dict[int, float]] = {}
        for row in training:
            if (row["model"] in HELD_OUT_TRAINING) is held_out:
                steps.setdefault((row["model"], row["batch"]), {})[
                    int(row["slice_a100_40gb"][0])
                ] = float(row["median_step_s"])
        for times in steps.values():
            speeds = [times[7] / times[g] if g in times else 0.0 for g in (1, 2, 3, 4, 7)]
            missing = next(n for n, each in enumerate(speeds) if each)
            found.append(Kind(tuple(speeds), float(FLOORS_MIB[missing]), False))
    if inference is None:
        for exponent in random.uniform(0.8, 1.0, 8):
            found.append(Kind(tuple(SHARES**exponent), 0.0, True))
        return tuple(found)
    best: dict[str, dict[int, float]] = {}
    for row in inference:
        if (row["model"] in HELD_OUT_INFERENCE) is held_out:
            size, rate = int(row["mig_g"]), float(row["throughput_per_s"])
            model = best.setdefault(row["model"], {})
            model[size] = max(model.get(size, 0.0), rate)
    for rates in best.values():
        speeds = [rates[g] / max(rates.values()) for g in (1, 2, 3, 4, 7)]
        found.append(Kind(tuple(speeds), 0.0, True))
    return tuple(found)


def _drawn_kind(random: np.random.Generator) -> Kind:
    exponent = np.interp(random.random(), _MISO_QUANTILES, _EXPONENTS)
    fits = random.choice(3, p=_FLOOR_SHARES)
    speeds = SHARES**exponent
    speeds[:fits] = 0.0
    return Kind(tuple(speeds), float(FLOORS_MIB[fits]), False)
