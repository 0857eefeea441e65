from __future__ import annotations

from typing import Any

import pytest

from ainit.devices.records import EVENTS_MAX, Device, Inventory, Kind, classify

GPU = {"class": "0x030200", "vendor": "0x10de", "device": "0x2330", "numa_node": "0"}
PATH = "/devices/pci0000:00/0000:00:05.0"


def test_a_gpu_of_nvidia_counts() -> None:
    device = classify("pci", PATH, {**GPU, "driver": "nvidia"})
    assert device == Device(
        Kind.GPU,
        "0000:00:05.0",
        PATH,
        {"vendor": "0x10de", "device": "0x2330", "numa_node": "0", "driver": "nvidia"},
    )
    assert classify("pci", PATH, {**GPU, "class": "0x030000"}) is not None


@pytest.mark.parametrize(
    ("subsystem", "attributes"),
    [
        ("pci", {**GPU, "vendor": "0x1234"}),
        ("pci", {**GPU, "class": "0x040300"}),  # its sound device
        ("pci", {}),
        ("block", {"size": "0"}),
        ("block", {}),
        ("usb", {}),
    ],
)
def test_other_things_do_not(subsystem: str, attributes: dict[str, str]) -> None:
    assert classify(subsystem, PATH, attributes) is None


def test_an_nvswitch_is_one() -> None:
    found = classify("pci", PATH, {**GPU, "class": "0x068000"})
    assert found is not None
    assert found.kind is Kind.SWITCH
    assert classify("pci", PATH, {**GPU, "class": "0x068000", "vendor": "0x8086"}) is None


def test_the_bus_is_told_by_kind_and_in_order() -> None:
    inventory = Inventory()
    for name, kind in (("b", Kind.GPU), ("s", Kind.SWITCH), ("a", Kind.GPU), ("n", Kind.NET)):
        inventory.update("add", f"/devices/{name}", Device(kind, name, f"/devices/{name}", {}), 1.0)
    assert inventory.bus() == {"gpus": ["a", "b"], "switches": ["s"]}
    inventory.update("remove", "/devices/a", None, 2.0)
    assert inventory.bus() == {"gpus": ["b"], "switches": ["s"]}


def test_a_disk_has_bytes() -> None:
    disk = classify("block", "/devices/x/block/vda", {"size": "2048", "ro": "0"})
    assert disk == Device(
        Kind.BLOCK, "vda", "/devices/x/block/vda", {"ro": "0", "bytes": "1048576"}
    )


def device(name: str) -> Device:
    return Device(Kind.NET, name, f"/devices/virtual/net/{name}", {})


def listed(inventory: Inventory) -> tuple[list[str], list[tuple[str, str]], int]:
    record: Any = inventory.to_record()
    names = [entry["name"] for entry in record["devices"]]
    events = [(event["action"], event["name"]) for event in record["events"]]
    return names, events, record["dropped"]


def test_events_change_the_list() -> None:
    inventory = Inventory()
    for action, name in (("add", "b"), ("add", "a"), ("change", "a"), ("remove", "b")):
        found = device(name)
        inventory.update(action, found.path, found, 1.0)
    assert listed(inventory) == (
        ["a"],
        [("add", "b"), ("add", "a"), ("change", "a"), ("remove", "b")],
        0,
    )


def test_a_device_that_no_longer_counts_is_gone_from_the_list() -> None:
    inventory = Inventory()
    loop = Device(Kind.BLOCK, "loop0", "/devices/virtual/block/loop0", {"bytes": "512"})
    inventory.update("change", loop.path, loop, 1.0)
    inventory.update("change", loop.path, None, 2.0)
    inventory.update("change", "/devices/other", None, 3.0)
    assert listed(inventory) == ([], [("change", "loop0"), ("change", "loop0")], 0)


def test_a_new_enumeration_tells_only_what_differs() -> None:
    inventory = Inventory()
    inventory.replace([device("a"), device("b")], 1.0)
    inventory.replace([device("b"), device("c")], 2.0)
    assert listed(inventory) == (
        ["b", "c"],
        [("add", "a"), ("add", "b"), ("remove", "a"), ("add", "c")],
        0,
    )


def test_the_event_list_is_bounded() -> None:
    inventory = Inventory()
    for number in range(EVENTS_MAX + 10):
        inventory.update("change", "/x", device(f"d{number}"), float(number))
    names, events, dropped = listed(inventory)
    assert (len(events), dropped) == (EVENTS_MAX, 10)
    assert events[-1] == ("change", f"d{EVENTS_MAX + 9}")
    assert len(names) == 1
