"""A boot with a known critical chain, as records of ``org.ainos.Control.Status``."""

from __future__ import annotations

from tests.support.replies import STATUS, UNIT

PHASES: list[dict[str, object]] = [
    {"name": "firmware", "seconds": 4.0},
    {"name": "loader", "seconds": 1.0},
    {"name": "kernel", "seconds": 2.0},
    {"name": "ainit", "seconds": 1.0},
    {"name": "agents", "seconds": 22.5},
]


def unit(
    name: str,
    wanted: float | None,
    spawned: float | None,
    ready: float | None,
    **more: object,
) -> dict[str, object]:
    """The record of a unit with these times, in seconds since boot."""
    return {
        **UNIT,
        "name": name,
        "since": ready or 0.0,
        "restarts": 0,
        "wanted_at": wanted,
        "spawned_at": spawned,
        "ready_at": ready,
        "blocked_by": "",
        "after": [],
        "trigger": None,
        **more,
    }


DEVICES = unit("devices", 3.0, 3.01, 5.0)
GPU = unit("gpu", 3.0, 5.0, 20.2, after=["devices"], blocked_by="devices")
SPEECH = unit("speech", 3.0, 20.2, 25.1, after=["gpu", "devices"], blocked_by="gpu")
UNITS = [
    SPEECH,
    DEVICES,
    GPU,
    unit("network", 3.0, 5.0, 9.0, after=["devices"]),
    unit("crasher", 3.0, 3.1, None, state="failed", since=8.0, essential=False),
    unit("slow", 3.0, 4.0, None, state="starting", essential=False),
    unit("never", 3.0, None, None, state="waiting", essential=False),
]
BOOT: dict[str, object] = {**STATUS, "phases": PHASES, "units": UNITS}
