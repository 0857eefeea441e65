"""``ainitctl gpu``: devices, instances, decisions."""

from __future__ import annotations

from .conftest import Run, Serve

DECISION = {
    "time": 9.5, "agent": "filetype", "profile": "1g.10gb", "gpu": 0, "start": 2, "size": 1,
    "decided_by": "policy", "fallback": "", "candidates": 14, "legal": 12, "score": 0.75,
    "milliseconds": 3.25, "features": {"stranded": 0.5}, "outcome": "allocated",
}  # fmt: skip
INSTANCE = {
    "id": 3, "profile": "2g.20gb", "start": 0, "size": 2, "uuid": "MIG-0c1d", "agent": "speech",
}  # fmt: skip
DEVICE = {
    "index": 0, "uuid": "GPU-aa", "name": "NVIDIA H100 80GB HBM3", "mig": True, "memory_mib": 81920,
    "slices": 8, "free": 6, "stranded": 0.0, "profiles": ["1g.10gb"],
    "instances": [INSTANCE, {**INSTANCE, "id": 4, "start": 4, "agent": None, "uuid": None}],
}  # fmt: skip
STATUS = {
    "state": "ready", "reason": "", "emulated": True, "driver": "550.163.01",
    "policy": {"state": "active", "reason": "", "proposals": 2, "accepted": 1, "deadline_ms": 50.0},
    "devices": [DEVICE], "pending": [], "notes": ["an instance of nobody was destroyed"],
    "decisions": [
        DECISION,
        {**DECISION, "agent": "speech", "decided_by": "heuristic", "fallback": "NaN"},
    ],
}  # fmt: skip
METHOD = "org.ainos.Gpu.Status"


def test_gpu_status_says_emulated_wherever_a_device_is_named(run: Run, serve: Serve) -> None:
    serve({METHOD: STATUS})
    out = run("gpu", "status").out
    assert "550.163.01, emulated" in out
    assert "NVIDIA H100 80GB HBM3, emulated, MIG on, 6 of 8 slices free" in out


def test_gpu_status_shows_who_holds_what_and_who_decided(run: Run, serve: Serve) -> None:
    serve({METHOD: STATUS})
    lines = [line.split("  ") for line in run("gpu", "status").out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["0", "2g.20gb", "0-1", "speech", "MIG-0c1d"] in cells
    assert ["0", "2g.20gb", "4-5", "-", "-"] in cells
    assert ["filetype", "1g.10gb", "GPU 0, 2", "policy", "3.2 ms", "allocated"] in cells
    assert ["speech", "1g.10gb", "GPU 0, 2", "heuristic (NaN)", "3.2 ms", "allocated"] in cells
    assert ["policy", "active, 1 of 2 proposals taken"] in cells
    assert ["note", "an instance of nobody was destroyed"] in cells


def test_a_machine_without_a_gpu_says_why(run: Run, serve: Serve) -> None:
    empty = {**STATUS, "state": "no-gpu", "reason": "no driver", "emulated": False, "devices": []}
    serve({METHOD: {**empty, "decisions": [], "notes": []}})
    out = run("gpu", "status").out
    assert "no-gpu" in out
    assert "no driver" in out
    assert "emulated" not in out
    assert "INSTANCE" not in out
