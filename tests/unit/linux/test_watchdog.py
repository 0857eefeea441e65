"""The watchdog's settings, and devices that refuse them."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from ainit.linux.watchdog import Watchdog


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Each request to the device, and its number."""
    asked: dict[int, int] = {}

    def ioctl(descriptor: int, request: int, value: bytearray) -> int:
        asked[request & 0xFF] = int.from_bytes(value, "little")
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return asked


def test_it_warns_before_it_bites_and_a_refusal_disarms_nothing(
    tmp_path: Path, asked: dict[int, int]
) -> None:
    device = tmp_path / "watchdog0"
    device.touch()
    watchdog = Watchdog(60, str(device))
    assert asked == {6: 60, 8: 10}  # WDIOC_SETTIMEOUT, WDIOC_SETPRETIMEOUT
    assert watchdog.armed
    watchdog.pet()
    assert device.read_bytes() == b"."


def test_a_machine_without_one_is_not_armed(tmp_path: Path, asked: dict[int, int]) -> None:
    watchdog = Watchdog(60, str(tmp_path / "none"))
    watchdog.pet()
    assert not watchdog.armed
    assert asked == {}
