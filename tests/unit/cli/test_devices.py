"""``ainitctl devices``: devices and hotplug events."""

from __future__ import annotations

from .conftest import Run, Serve

DISK = {
    "kind": "block",
    "name": "vda",
    "path": "/devices/pci0000:00/vda",
    "properties": {"ro": "0", "bytes": "1073741824"},
}
EVENT = {"time": 7.25, "action": "add", "kind": "net", "name": "eth1"}
DRIVER = {"state": "mismatch", "version": "550.163.01", "reason": "the libraries are of 570.1"}
ANSWER = {
    "devices": [DISK],
    "events": [EVENT],
    "dropped": 3,
    "driver": DRIVER,
    "problems": ["could not insert 'x': Key was rejected by service"],
}
METHOD = "org.ainos.Devices.List"


def test_devices_with_their_properties_and_no_events_unasked(run: Run, serve: Serve) -> None:
    serve({METHOD: ANSWER})
    result = run("devices", "list")
    assert "vda   bytes=1073741824 ro=0" in result.out
    assert "NVIDIA driver: mismatch 550.163.01 the libraries are of 570.1\n" in result.out
    assert "module: could not insert 'x': Key was rejected by service\n" in result.out
    assert "eth1" not in result.out
    assert result.err == ""


def test_events_and_how_many_are_gone(run: Run, serve: Serve) -> None:
    serve({METHOD: ANSWER})
    result = run("devices", "list", "--events")
    assert "7.250  add     net   eth1" in result.out
    assert result.err == "ainitctl: 3 older events are no longer kept\n"
