"""``ainitctl gpu health``, ``top``, ``cordon`` and ``uncordon``."""

from __future__ import annotations

import json

import pytest

from ainit.wire.protocol import VarlinkError

from .conftest import Run, Serve

XID = {
    "code": 79, "words": "fallen off the bus", "response": "reboot", "instance": None, "time": 65.0,
}  # fmt: skip
CORDON = {
    "cause": "xid", "reason": "Xid 79 (fallen off the bus)", "time": 65.0, "lifted_by": "reboot",
    "moves": True,
}  # fmt: skip
WELL = {
    "index": 0, "uuid": "GPU-aa", "name": "H100", "bus": "00000000:01:00.0", "state": "ready",
    "reason": "", "cordons": [], "xids": [],
    "warnings": ["a memory row is remapped at the next reset"],
    "uncorrected": 0, "corrected": 3, "aggregate": 0, "remapped": 1, "remap_pending": True,
    "remap_failed": False, "retired": None, "retired_pending": None, "recovery": None,
    "fabric": "completed",
}  # fmt: skip
ILL = {
    **WELL, "index": 1, "uuid": "GPU-bb", "state": "cordoned", "warnings": [],
    "reason": "is cordoned: Xid 79 (fallen off the bus)", "cordons": [CORDON], "xids": [XID],
    "uncorrected": None, "fabric": None,
}  # fmt: skip
HEALTH = {
    "emulated": True, "expected": 3, "found": 2, "findings": ["2 of 3 GPUs are there"],
    "gpus": [WELL, ILL],
}  # fmt: skip
PART = {
    "instance": 1, "uuid": "MIG-aa", "agent": "speech", "profile": "1g.10gb",
    "memory_used_mib": 512, "memory_mib": 9984, "processes": 2,
}  # fmt: skip
READING = {
    "index": 0, "uuid": "GPU-aa", "name": "H100", "bus": "00000000:01:00.0", "state": "ready",
    "cordoned": False, "stale": False, "age_s": 2.0, "problem": "", "temperature_c": 66,
    "power_w": 412.4, "power_limit_w": 700.0, "clock_sm_mhz": 1980, "clock_memory_mhz": 2619,
    "throttle": ["idle", "power-cap"], "utilisation": None, "memory_used_mib": 1024,
    "memory_mib": 81920, "pcie_replays": 0, "persistence": True, "uncorrected": 0, "corrected": 0,
    "remapped": 0, "xids": 0,
    "parts": [PART, {**PART, "instance": 2, "agent": None, "profile": None}],
}  # fmt: skip
SILENT = {
    **READING, "index": 1, "state": "silent", "stale": True, "age_s": 75.0, "parts": [],
    "power_w": None, "throttle": None,
}  # fmt: skip
READINGS = {"emulated": True, "gpus": [READING, SILENT]}


def cells(text: str) -> list[list[str]]:
    lines = [line.split("  ") for line in text.splitlines()]
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_health_names_what_is_wrong_and_who_has_to_move(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Gpu.Health": HEALTH})
    result = run("gpu", "health")
    assert result.code == 0, result.err
    shown = cells(result.out)
    assert ["GPUs", "2 of 3, emulated"] in shown
    assert ["finding", "2 of 3 GPUs are there"] in shown
    assert ["GPU 0", "a memory row is remapped at the next reset"] in shown
    assert ["0", "ready", "0", "1", "completed", "-"] in shown
    why = "is cordoned: Xid 79 (fallen off the bus)"
    assert ["1", "cordoned", "-", "1", "-", why] in shown
    reason = "Xid 79 (fallen off the bus)"
    assert ["1", "xid", "1min 5s", "move", "reboot", reason] in shown
    assert ["1", "79", "1min 5s", "-", "reboot", "fallen off the bus"] in shown


def test_a_machine_without_gpus_has_no_table(run: Run, serve: Serve) -> None:
    nothing: dict[str, object] = {
        "emulated": False, "expected": None, "found": 0, "findings": [], "gpus": [],
    }  # fmt: skip
    serve({"org.ainos.Gpu.Health": nothing})
    assert run("gpu", "health").out == "GPUs  0\n"


def test_health_as_json_is_the_answer(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Gpu.Health": HEALTH})
    assert json.loads(run("--json", "gpu", "health").out) == HEALTH


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (("cordon", "1"), ("Cordon", {"gpu": "1", "reason": None})),
        (("cordon", "1", "--reason", "a new fan"), ("Cordon", {"gpu": "1", "reason": "a new fan"})),
        (("uncordon", "GPU-bb"), ("Uncordon", {"gpu": "GPU-bb"})),
        (("reset", "1"), ("Reset", {"gpu": "1"})),
    ],
)
def test_cordons_and_resets(
    run: Run, serve: Serve, arguments: tuple[str, ...], called: tuple[str, dict[str, object]]
) -> None:
    server = serve({f"org.ainos.Gpu.{called[0]}": {}})
    result = run("gpu", *arguments)
    assert (result.code, result.out) == (0, "")
    assert server.calls == [(f"org.ainos.Gpu.{called[0]}", called[1])]


def test_a_gpu_that_is_not_there_is_an_error(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Gpu.Cordon": VarlinkError("org.ainos.Gpu.NoSuchGpu", {"gpu": "7"})})
    result = run("gpu", "cordon", "7")
    assert result.code != 0
    assert "NoSuchGpu" in result.err


def test_top_shows_readings_parts_and_how_old_they_are(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Gpu.Readings": READINGS})
    result = run("gpu", "top")
    assert result.code == 0, result.err
    assert result.out.startswith("emulated GPUs")
    shown = cells(result.out)
    assert [
        "0", "ready", "66", "412/700", "1980", "2619", "power-cap", "-", "1.0G of 80.0G", "0", "-",
    ] in shown  # fmt: skip
    assert [
        "1", "silent", "66", "-", "1980", "2619", "-", "-", "1.0G of 80.0G", "0", "1min 15s",
    ] in shown  # fmt: skip
    assert ["0", "1", "1g.10gb", "speech", "512.0M of 9.8G", "2"] in shown
    assert ["0", "2", "-", "-", "512.0M of 9.8G", "2"] in shown


def test_top_again_and_again(run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server = serve({"org.ainos.Gpu.Readings": READINGS})
    result = run("--json", "gpu", "top", "-n", "3", "--interval", "7")
    assert [json.loads(line) for line in result.out.splitlines()] == [READINGS] * 3
    assert (len(server.calls), waits) == (3, [7.0, 7.0])
