"""Accounts as PID 1 answers them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ainit.wire.protocol import Message

PAGE = 100


def account(name: str, **fields: object) -> dict[str, object]:
    """The account of a unit that the kernel accounts for in full."""
    return {
        "name": name,
        "state": "ready",
        "restarts": 0,
        "time": 100.0,
        "cpu_usec": 0,
        "memory_bytes": 50 << 20,
        "memory_peak_bytes": 60 << 20,
        "pids": 3,
        "io_read_bytes": 0,
        "io_write_bytes": 0,
        "oom_kills": 0,
        "cpu_pressure": 0.0,
        "memory_pressure": 0.0,
        "io_pressure": 0.0,
        **fields,
    }


def unaccounted(name: str) -> dict[str, object]:
    """The account of a unit that has no group."""
    whole = account(name, state="inactive")
    kept = ("name", "state", "restarts", "time")
    return {key: value if key in kept else None for key, value in whole.items()}


def in_pages(
    *readings: list[dict[str, object]],
) -> Callable[[Message], Mapping[str, object]]:
    """Answers ``Accounting`` with each reading in turn, the last one from then on."""
    left = list(readings)

    def answer(parameters: Message) -> Mapping[str, object]:
        after = parameters.get("after") or ""
        units = sorted(
            (unit for unit in left[0] if str(unit["name"]) > str(after)),
            key=lambda unit: str(unit["name"]),
        )
        page = units[:PAGE]
        following = page[-1]["name"] if len(units) > PAGE else None
        if following is None and len(left) > 1:
            left.pop(0)
        return {"units": page, "time": 100.0, "next": following}

    return answer
