"""The device service on this kernel's own devices and events."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.service import Service
from tests.support.wait import wait_for

NAMESPACE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-euc")


def elsewhere(folder: Path) -> str:
    """What has the service write to a test's folder rather than to /run."""
    constants = "import ainit.constants as c"
    names = {"DEVICES": "devices.json", "DEVICES_TOLD": "told.json", "GPUS": "bus/gpus.json"}
    return "; ".join([constants, *(f"c.{k} = {f'{folder}/{v}'!r}" for k, v in names.items())])


def listed(service: Service) -> Any:
    return service.call("org.ainos.Devices.List")


def test_disks_are_those_of_sysfs(tmp_path: Path) -> None:
    """Loop devices come and go on a busy machine: the two agree sooner or later, and stay so."""
    with Service("ainit.devices", tmp_path, before=elsewhere(tmp_path)) as service:

        def agree() -> bool:
            told = {
                entry["name"]: int(entry["properties"]["bytes"])
                for entry in listed(service)["devices"]
                if entry["kind"] == "block"
            }
            there = {
                name: int(Path(f"/sys/class/block/{name}/size").read_text()) * 512
                for name in os.listdir("/sys/class/block")
            }
            return told == {name: size for name, size in there.items() if size}

        wait_for(agree, "agreement with sysfs")


def test_a_machine_without_a_gpu_says_so(tmp_path: Path) -> None:
    with Service("ainit.devices", tmp_path, before=elsewhere(tmp_path)) as service:
        answer = listed(service)
    assert answer["driver"]["state"] in ("none", "emulated")
    assert answer["problems"] == []
    bus = json.loads((tmp_path / "bus/gpus.json").read_text())
    assert bus == {"gpus": [], "switches": []}


def test_interfaces_come_and_go(tmp_path: Path) -> None:
    subprocess.run(["mkfifo", str(tmp_path / "gate")], check=True, timeout=60)
    setup = (
        f"(read _ < {tmp_path}/gate; ip link add one type veth peer name two; "
        f"read _ < {tmp_path}/gate; ip link delete one) &\n"
    )
    wrapper = (*NAMESPACE, setup + 'exec "$@"', "sh")
    with Service("ainit.devices", tmp_path, before=elsewhere(tmp_path), wrapper=wrapper) as service:

        def names() -> set[str]:
            return {entry["name"] for entry in listed(service)["devices"]}

        assert not {"one", "two"} & names()
        (tmp_path / "gate").write_text("\n")
        wait_for(lambda: {"one", "two"} <= names(), "the new interfaces")
        (tmp_path / "gate").write_text("\n")
        wait_for(lambda: not {"one", "two"} & names(), "the end of the interfaces")
        events = [
            (event["action"], event["name"])
            for event in listed(service)["events"]
            if event["name"] in ("one", "two")
        ]
        assert {("add", "one"), ("add", "two"), ("remove", "one"), ("remove", "two")} <= set(events)
