"""GPU readings as metrics."""

from __future__ import annotations

from ainit.metrics.exposition import render
from ainit.metrics.gpu import collect
from tests.support.exposition import Metric, labels, parse
from tests.unit.metrics.test_source import PART, READING

MINE = {"gpu": "0", "uuid": "GPU-aa", "emulated": "true"}


def page(*gpus: dict[str, object], emulated: bool = True) -> dict[str, Metric]:
    return parse(render(collect({"emulated": emulated, "gpus": list(gpus)})))


def test_numbers_are_in_base_units() -> None:
    found = page(READING)
    assert {
        name: metric.samples[labels(**MINE)]
        for name, metric in found.items()
        if labels(**MINE) in metric.samples
    } == {
        "ainos_gpu_cordoned": 0,
        "ainos_gpu_reading_stale": 0,
        "ainos_gpu_reading_age_seconds": 2.0,
        "ainos_gpu_temperature_celsius": 66,
        "ainos_gpu_power_watts": 412.5,
        "ainos_gpu_power_limit_watts": 700.0,
        "ainos_gpu_sm_clock_hertz": 1.98e9,
        "ainos_gpu_memory_clock_hertz": 2.619e9,
        "ainos_gpu_memory_used_bytes": 1 << 30,
        "ainos_gpu_memory_bytes": 80 << 30,
        "ainos_gpu_pcie_replays_total": 7,
        "ainos_gpu_memory_errors_uncorrected_total": 0,
        "ainos_gpu_memory_errors_corrected_total": 3,
        "ainos_gpu_memory_rows_remapped": 0,
    }
    assert found["ainos_gpu_pcie_replays_total"].kind == "counter"


def test_what_is_not_told_is_no_sample() -> None:
    assert "ainos_gpu_utilisation_ratio" not in page(READING)
    busy = page({**READING, "utilisation": 37})
    assert busy["ainos_gpu_utilisation_ratio"].samples[labels(**MINE)] == 0.37
    untold = page({**READING, "throttle": None, "temperature_c": None})
    assert "ainos_gpu_throttled" not in untold
    assert "ainos_gpu_temperature_celsius" not in untold


def test_states_and_reasons_are_one_sample_each() -> None:
    found = page({**READING, "state": "cordoned", "cordoned": True})
    states = found["ainos_gpu_state"].samples
    assert [key for key, value in states.items() if value] == [labels(**MINE, state="cordoned")]
    assert len(states) == 6
    slow = found["ainos_gpu_throttled"].samples
    assert [key for key, value in slow.items() if value] == [labels(**MINE, reason="power-cap")]
    assert found["ainos_gpu_cordoned"].samples[labels(**MINE)] == 1


def test_an_instance_says_whose_it_is() -> None:
    nobody = {**PART, "instance": 2, "uuid": "MIG-bb", "agent": None, "profile": None}
    nobody |= {"memory_used_mib": None}
    found = page({**READING, "parts": [PART, nobody]})
    one = labels(
        gpu="0", instance="1", uuid="MIG-aa", profile="1g.10gb", agent="speech", emulated="true"
    )
    other = labels(gpu="0", instance="2", uuid="MIG-bb", profile="", agent="", emulated="true")
    assert found["ainos_gpu_instance_memory_used_bytes"].samples == {one: 512 << 20}
    assert found["ainos_gpu_instance_processes"].samples == {one: 2, other: 2}


def test_a_reading_that_is_too_old_is_no_reading() -> None:
    found = page({**READING, "stale": True, "age_s": 75.0, "state": "silent"})
    assert found["ainos_gpu_reading_stale"].samples[labels(**MINE)] == 1
    assert found["ainos_gpu_reading_age_seconds"].samples[labels(**MINE)] == 75.0
    assert "ainos_gpu_temperature_celsius" not in found
    assert "ainos_gpu_instance_processes" not in found
    assert found["ainos_gpu_info"].samples


def test_a_real_gpu_is_not_called_emulated() -> None:
    text = render(collect({"emulated": False, "gpus": [READING]}))
    assert 'emulated="false"' in text
    assert "true" not in text


def test_a_machine_without_gpus_has_no_line() -> None:
    assert render(collect({})) == ""
