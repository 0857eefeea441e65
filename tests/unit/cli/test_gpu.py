"""``ainitctl gpu``: devices, instances, decisions."""

from __future__ import annotations

from .conftest import Run, Serve

DECISION = {
    "time": 9.5, "agent": "filetype", "profile": "1g.10gb", "gpu": 0, "start": 2, "size": 1,
    "decided_by": "policy", "fallback": "", "candidates": 14, "legal": 12, "score": 0.75,
    "milliseconds": 3.25, "features": {"stranded": 0.5, "held": 0.0}, "outcome": "allocated",
    "does": "start", "displaces": [], "alternative": "start filetype 1g.10gb at 1:0",
    "alternative_score": 0.5, "shadow": "agrees",
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
    "policy": {
        "state": "active", "reason": "", "proposals": 2, "accepted": 1, "late": 0,
        "deadline_ms": 50.0,
        "shadow": {"asked": 4, "agreed": 3, "failed": 0},
    },
    "devices": [DEVICE], "pending": [], "notes": ["an instance of nobody was destroyed"],
    "partition": [], "transaction": None, "outcomes": [], "quarantine": [], "unknown": [],
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
    taken = "active, 1 of 2 proposals taken; its shadow agreed 3 of 4 times"
    assert ["policy", taken] in cells
    assert ["note", "an instance of nobody was destroyed"] in cells


def test_a_machine_without_a_gpu_says_why(run: Run, serve: Serve) -> None:
    empty = {**STATUS, "state": "no-gpu", "reason": "no driver", "emulated": False, "devices": []}
    serve({METHOD: {**empty, "decisions": [], "notes": []}})
    out = run("gpu", "status").out
    assert "no-gpu" in out
    assert "no driver" in out
    assert "emulated" not in out
    assert "INSTANCE" not in out


def test_gpu_status_shows_changes_under_way_and_what_is_quarantined(run: Run, serve: Serve) -> None:
    busy = {
        **STATUS,
        "transaction": {
            "number": 4, "name": "mixed", "phase": "rollback", "reason": "it stays", "since": 1.0,
        },
        "outcomes": [
            {"number": 3, "name": "small", "end": "committed", "reason": "", "time": 1.0},
        ],
        "quarantine": [
            {
                "gpu": "GPU-aa", "index": 1, "start": 4, "size": 4,
                "reason": "no room", "tries": 2, "retry_s": 7.5,
            },
        ],
        "unknown": ["1g.10gb at 0:6"],
        "partition": [
            {"gpu": "GPU-aa", "index": 0, "profile": "1g.10gb", "start": 6, "size": 1},
            {"gpu": "GPU-aa", "index": 0, "profile": "3g.40gb", "start": 0, "size": 4},
        ],
    }  # fmt: skip
    serve({METHOD: busy})
    out = run("gpu", "status").out
    assert "transaction  4 mixed: rollback, it stays" in out
    assert "3 small: committed" in out
    assert "GPU 1, slices 4-7: no room; 2 tries, next in 7.5 s" in out
    assert "1g.10gb at 0:6" in out
    assert "GPU 0: 1g.10gb@6, 3g.40gb@0" in out


WAITING = {
    "name": "speech", "kind": "agent", "owner": "agent", "profiles": ["2g.20gb"], "position": 1,
    "priority": 0, "waited_s": 130.0, "estimate_s": None, "deadline": None, "share": 0.25,
    "rank": 10.26, "reason": "1 of 1, no GPU has room",
}  # fmt: skip


def test_why_a_unit_has_its_place(run: Run, serve: Serve) -> None:
    queue = {"waiting": [WAITING], "moves": []}
    decided = {"policy": STATUS["policy"], "decisions": [DECISION]}
    server = serve({"org.ainos.Gpu.Explain": decided, "org.ainos.Gpu.Queue": queue})
    out = run("gpu", "explain", "filetype").out
    for words in ("start 1g.10gb at 0:2", "12 legal, 14 in all", "0.7500", "stranded 0.5"):
        assert words in out
    assert "start filetype 1g.10gb at 1:0" in out
    assert "agrees" in out
    assert "held" not in out  # it is 0
    assert "speech" not in out
    assert server.calls[0] == ("org.ainos.Gpu.Explain", {"name": "filetype"})


def test_why_a_unit_waits(run: Run, serve: Serve) -> None:
    queue = {"waiting": [WAITING], "moves": []}
    nothing = {"policy": STATUS["policy"], "decisions": []}
    serve({"org.ainos.Gpu.Explain": nothing, "org.ainos.Gpu.Queue": queue})
    out = run("gpu", "explain", "speech").out
    for words in ("1 of 1, no GPU has room", "2min 10s", "10.3 points", "25%"):
        assert words in out
    assert "nothing was decided" in run("gpu", "explain", "other").out


def test_another_policy(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Gpu.Reload": {"policy": STATUS["policy"]}})
    assert "active" in run("gpu", "reload").out
