"""One suite for the emulator, as every board, and for the NVML of this host, if it has a GPU.

Nothing is changed, so it may run on a GPU that works. Without one the host's NVML is no parameter:
there is nothing to skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

from tests.contract import nvml_emulator
from tests.unit.sched.fake_nvml import BOARDS

READER = Path(__file__).with_name("nvml_reads.py")
NAMES = list(json.loads(BOARDS.read_text())["boards"])


def read(environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, str(READER)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


HOST = read({})  # None without a GPU


@pytest.fixture(params=[*NAMES, *(["host"] if HOST else [])])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "host":
        return HOST
    library = nvml_emulator.load()
    state = str(tmp_path / "state")
    return read(
        {
            "LD_LIBRARY_PATH": str(library.parent),
            "AINOS_NVML_STATE": state,
            "AINOS_NVML_BOARDS": f"{request.param},{request.param}",
        }
    )


def test_a_gpu_is_the_same_by_every_name(machine: Any) -> None:
    gpus = machine["gpus"]
    assert [gpu["index"] for gpu in gpus] == list(range(len(gpus)))
    assert all(gpu["index"] == gpu["found_by_bus"] == gpu["found_by_uuid"] for gpu in gpus)
    assert len({gpu["uuid"] for gpu in gpus}) == len(gpus)
    assert all(gpu["uuid"].startswith("GPU-") and len(gpu["uuid"]) == 40 for gpu in gpus)


def test_readings_are_in_their_ranges(machine: Any) -> None:
    for gpu in machine["gpus"]:
        total, free, used = gpu["memory"]
        assert 0 < free <= total
        assert used < total
        assert 0 < gpu["temperature"] < 120
        assert 0 < gpu["power"] <= gpu["power_limit"] * 1.2
        assert gpu["pci_device_id"] & 0xFFFF == 0x10DE
        assert gpu["name"].startswith("NVIDIA")


def test_the_enumerators_end_with_invalid_argument(machine: Any) -> None:
    for gpu in machine["gpus"]:
        assert gpu["past_the_end"] == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_the_mode_is_a_pair_of_switches(machine: Any) -> None:
    for gpu in machine["gpus"]:
        assert gpu["mig"] is None or set(gpu["mig"]) <= {0, 1}


def test_placements_are_what_planning_relies_on(machine: Any) -> None:
    for gpu in machine["gpus"]:
        profiles = gpu["profiles"]
        assert len({each["id"] for each in profiles}) == len(profiles)
        slices = max((start + size for p in profiles for start, size in p["placements"]), default=0)
        for profile in profiles:
            starts = [start for start, _ in profile["placements"]]
            sizes = {size for _, size in profile["placements"]}
            assert len(starts) == len(set(starts))
            assert len(sizes) <= 1  # one profile, one size
            assert 0 < profile["compute"] <= slices
            assert 0 < profile["memory_mib"] << 20 <= gpu["memory"][0]
            assert profile["name"].startswith("MIG ")
            assert profile["limit"] >= 1


def test_slices_that_do_not_overlap_are_enough(machine: Any) -> None:
    """That one mask of memory slices is the whole state is what planner and checker rest on: no
    choice of placements that do not overlap needs more compute slices than the board has.
    """
    for gpu in machine["gpus"]:
        compute = max((each["compute"] for each in gpu["profiles"]), default=0)
        places = [
            (each["compute"], frozenset(range(start, start + size)))
            for each in gpu["profiles"]
            for start, size in each["placements"]
        ]
        assert _most_compute(places, frozenset(), 0) <= compute


def _most_compute(
    places: list[tuple[int, frozenset[int]]], taken: frozenset[int], least: int
) -> int:
    return max(
        (
            compute + _most_compute(places, taken | slices, index + 1)
            for index, (compute, slices) in enumerate(places[least:], least)
            if not slices & taken
        ),
        default=0,
    )
