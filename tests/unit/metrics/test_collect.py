"""Metrics of PID 1's answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ainit.metrics.collect import HEALTHS, STATES, collect
from ainit.metrics.exposition import render
from ainit.policy import state
from tests.support.accounts import account, unaccounted
from tests.support.exposition import Metric, labels, parse
from tests.support.replies import STATUS, UNIT

ROOT = Path(__file__).resolve().parents[3]
UNITS = [
    {**UNIT, "name": "gpu", "log_dropped": 17},
    {**UNIT, "name": "idle", "state": "inactive", "log_dropped": None},
]
ACCOUNTS = {
    "gpu": account("gpu", restarts=2, cpu_usec=1_500_000, oom_kills=1, memory_pressure=12.5),
    "idle": unaccounted("idle"),
}


@pytest.fixture(scope="module")
def page() -> dict[str, Metric]:
    return parse(render(collect({**STATUS, "units": UNITS}, ACCOUNTS)))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("restarts_total", "counter", 2),
        ("cpu_seconds_total", "counter", 1.5),
        ("memory_bytes", "gauge", 50 << 20),
        ("memory_peak_bytes", "gauge", 60 << 20),
        ("pids", "gauge", 3),
        ("io_read_bytes_total", "counter", 0),
        ("io_write_bytes_total", "counter", 0),
        ("oom_kills_total", "counter", 1),
        ("cpu_pressure_ratio", "gauge", 0),
        ("memory_pressure_ratio", "gauge", 0.125),
        ("io_pressure_ratio", "gauge", 0),
        ("log_dropped_bytes_total", "counter", 17),
    ],
)
def test_what_a_unit_uses(page: dict[str, Metric], name: str, kind: str, value: float) -> None:
    metric = page[f"ainos_unit_{name}"]
    assert metric.kind == kind
    assert metric.samples[labels(unit="gpu")] == value
    assert (labels(unit="idle") in metric.samples) is (name == "restarts_total")


def test_each_unit_is_in_one_state(page: dict[str, Metric]) -> None:
    samples = page["ainos_unit_state"].samples
    assert len(samples) == 2 * len(STATES)
    assert {key for key, value in samples.items() if value} == {
        labels(unit="gpu", state="ready"),
        labels(unit="idle", state="inactive"),
    }


def test_every_state_that_there_is_has_a_sample() -> None:
    every = {value for name, value in vars(state).items() if name.isupper() and name in _STATES}
    assert set(STATES) == every


_STATES = (
    "INACTIVE", "WAITING", "ALLOCATING", "STARTING", "READY", "STOPPING", "DRAINING", "BACKOFF",
    "EXITED", "FAILED", "REFUSED", "QUARANTINED",
)  # fmt: skip


def test_the_machine(page: dict[str, Metric]) -> None:
    health = page["ainos_machine_health"].samples
    assert health == {labels(health=name): float(name == "degraded") for name in HEALTHS}
    assert page["ainos_machine_findings"].samples == {frozenset(): 1.0}
    assert page["ainos_machine_uptime_seconds"].samples == {frozenset(): 3700.0}
    assert page["ainos_pid1_faults_total"].samples == {frozenset(): 0.0}
    assert page["ainos_pid1_memory_peak_bytes"].samples == {frozenset(): float(15 << 20)}
    assert page["ainos_boot_phase_seconds"].samples == {
        labels(phase="kernel"): 2.5,
        labels(phase="ainit"): 1.25,
    }
    (info,) = page["ainos_machine_info"].samples
    assert ("hostname", "node1") in info


@pytest.mark.parametrize("status", [{}, {"machine": [], "units": {}, "phases": 1}])
def test_what_is_not_told_is_no_sample(status: dict[str, object]) -> None:
    assert render(collect(status, {})) == ""


def test_the_documentation_lists_every_metric() -> None:
    text = (ROOT / "docs/resources.md").read_text(encoding="utf-8")
    families = collect({**STATUS, "units": UNITS}, ACCOUNTS)
    assert set(re.findall(r"`(ainos_[a-z0-9_]+)`", text)) == {family.name for family in families}
