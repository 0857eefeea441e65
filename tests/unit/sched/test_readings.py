"""Readings as records."""

from __future__ import annotations

import pytest

from ainit.sched import readings
from ainit.sched.readings import STALE_AFTER_S, Part, Reading, Recovery, Shot


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, ()),
        (0x1, ("idle",)),
        (0x64, ("power-cap", "sw-thermal", "hw-thermal")),
        (0x8000_0001, ("idle", "0x80000000")),
    ],
)
def test_reasons_of_slower_clocks_have_names(mask: int, words: tuple[str, ...]) -> None:
    assert readings.throttle_words(mask) == words


def test_what_is_not_told_is_null_in_json() -> None:
    record = Reading(0, "GPU-0", "H100", "00000000:01:00.0").to_record()
    assert record["temperature_c"] is None
    assert (record["throttle"], record["recovery"], record["parts"]) == (None, None, [])


def test_sets_and_enums_have_a_json_form() -> None:
    reading = Reading(
        0, "GPU-0", "H100", "00000000:01:00.0",
        throttle=("idle",), recovery=Recovery.RESET, parts=(Part(1, "MIG-1", 2, 3, 0),),
    )  # fmt: skip
    record = reading.to_record()
    assert (record["throttle"], record["recovery"], record["fabric"]) == (["idle"], "reset", None)
    assert record["parts"] == [
        {
            "instance": 1,
            "uuid": "MIG-1",
            "memory_used_mib": 2,
            "memory_mib": 3,
            "processes": 0,
            "uncorrected": None,
        }
    ]


def test_an_old_reading_and_none_at_all_are_stale() -> None:
    assert Shot().is_stale(0.0)
    assert not Shot(taken_at=100.0).is_stale(100.0 + STALE_AFTER_S)
    assert Shot(taken_at=100.0).is_stale(100.1 + STALE_AFTER_S)
