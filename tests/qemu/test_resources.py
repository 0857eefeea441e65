"""Limits, accounts and memory pressure on a kernel that has every controller of cgroup v2.

One machine with units of its own on the state partition, each of which runs into one limit.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import drive, state_partition
from lib.machine import Machine
from lib.process import wait_until
from lib.qemu import DiskBus, Hardware

from ainit.policy import plan
from tests.qemu import story
from tests.support.exposition import labels, parse
from tests.support.units import python_unit

Data = dict[str, Any]

DEADLINE_S = 180.0
DISK = "/dev/nvme0n1"
# The child takes the memory, and its parent would live on if the kernel killed the child alone.
HOG = """\
import os, time
child = os.fork()
print("parent" if child else "child", flush=True)
if not child:
    taken = [b"x" * (1 << 20) for _ in range(256)]
time.sleep(3600)
"""
FORKS = """\
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(3600)
        count += 1
except BlockingIOError:
    print(f"{count} children", flush=True)
time.sleep(3600)
"""
# Over memory_high, whoever takes more is made to wait: a stall that lasts.
PRESSED = """\
taken = []
while True:
    taken.append(b"x" * (1 << 16))
"""
UNITS = {
    "hog": python_unit(HOG, 'memory_max = "64M"\nmemory_swap_max = "0"'),
    "forks": python_unit(FORKS, "pids_max = 8"),
    "busy": python_unit("while True: pass", "cpu_max = '10%'\ncpu_weight = 50\ncpus = '0'"),
    "pressed": python_unit(
        PRESSED,
        'memory_high = "32M"\nmemory_swap_max = "0"\n'
        'memory_pressure = 5\nmemory_pressure_action = "restart"',
        plan.ALWAYS,
    ),
    "disk": python_unit(
        "import time; time.sleep(3600)",
        'io_weight = 50\nmemory_low = "16M"\n[resources.io_max]\n'
        f'"{DISK}" = {{ write_bps = "1M", read_iops = 5000 }}',
    ),
    "elsewhere": python_unit("import time; time.sleep(3600)", "cpus = '8000'"),
}


@pytest.fixture(scope="module")
def machine(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, at rest; the units go on."""
    folder = tmp_path_factory.mktemp("units")

    def install(disk: Path) -> None:
        state_partition.debugfs(disk, "mkdir /config/units")
        for name, text in UNITS.items():
            (folder / name).write_text(text)
            state_partition.debugfs(disk, f"write {folder / name} /config/units/{name}.toml")

    hardware = Hardware(disk_bus=DiskBus.NVME)
    with Machine(image, tmp_path_factory.mktemp("machine"), hardware) as made:
        made.alter(install)
        story.boot(made)
        yield made
        made.power_off()


def until(machine: Machine, name: str, holds: Callable[[Data], bool]) -> Data:
    return story.until(machine, name, holds)


def told(machine: Machine, name: str, text: str) -> str:
    """A line of a unit's log that holds ``text``, once there is one."""
    found: list[str] = []

    def look() -> bool:
        lines = machine.call("org.ainos.Control.Logs", {"unit": name, "lines": 1000})["lines"]
        found[:] = [line["text"] for line in lines if text in line["text"]]
        return bool(found)

    assert wait_until(look, DEADLINE_S), f"{name} never said {text}"
    return found[-1]


def file(machine: Machine, name: str, file_: str) -> str:
    """A file of a unit's group."""
    return story.in_shell(machine, f"cat /sys/fs/cgroup/ainos/{name}/{file_}").strip()


def account(machine: Machine, name: str) -> Data:
    answer = machine.call("org.ainos.Control.Accounting", {"names": [name]})
    (found,) = answer["units"]
    return dict(found)


def test_out_of_memory_kills_the_group_and_is_the_reason(machine: Machine) -> None:
    hog = until(machine, "hog", lambda unit: unit["state"] == "failed")
    assert "out of memory: the kernel killed the group (memory_max 64M)" in hog["reason"]
    assert "populated 0" in file(machine, "hog", "cgroup.events")
    seen = account(machine, "hog")
    assert seen["oom_kills"] >= 2  # child and parent
    assert 32 << 20 < seen["memory_peak_bytes"] <= 64 << 20


def test_the_limit_of_processes_holds(machine: Machine) -> None:
    assert "7 children" in told(machine, "forks", "children")
    assert account(machine, "forks")["pids"] == 8


def test_the_limit_of_the_processor_throttles(machine: Machine) -> None:
    def is_throttled() -> bool:
        stat = dict(line.split() for line in file(machine, "busy", "cpu.stat").splitlines())
        return int(stat["nr_throttled"]) > 0

    until(machine, "busy", lambda unit: unit["state"] == "ready")
    assert wait_until(is_throttled, DEADLINE_S)
    assert file(machine, "busy", "cpu.max") == "10000 100000"
    assert file(machine, "busy", "cpu.weight") == "50"
    assert account(machine, "busy")["cpu_usec"] > 0


def test_a_unit_stays_on_its_processors(machine: Machine) -> None:
    busy = until(machine, "busy", lambda unit: unit["state"] == "ready")
    status = story.in_shell(machine, f"cat /proc/{busy['pid']}/status")
    assert "Cpus_allowed_list:\t0\n" in status
    assert file(machine, "busy", "cpuset.cpus.effective") == "0"


def test_memory_pressure_restarts_the_unit_and_says_why(machine: Machine) -> None:
    words = "memory pressure: tasks waited for memory for over 5 % of 10 s"
    assert words in told(machine, "pressed", "memory pressure")
    until(machine, "pressed", lambda unit: unit["restarts"] > 0)


def test_limits_of_disks_and_guarantees_are_in_force(machine: Machine) -> None:
    until(machine, "disk", lambda unit: unit["state"] == "ready")
    assert file(machine, "disk", "io.max").endswith("rbps=max wbps=1048576 riops=5000 wiops=max")
    assert "default 50" in file(machine, "disk", "io.weight")
    assert file(machine, "disk", "memory.low") == str(16 << 20)
    assert file(machine, "disk", "memory.oom.group") == "1"


def test_a_limit_that_cannot_be_set_is_the_reason(machine: Machine) -> None:
    """On processors that the machine lacks, it does not run without the limit instead."""
    elsewhere = until(machine, "elsewhere", lambda unit: unit["state"] == "failed")
    assert "cpus cannot be set (8000 in cpuset.cpus)" in elsewhere["reason"]
    assert elsewhere["pid"] is None


def test_every_account_is_complete(machine: Machine) -> None:
    until(machine, "disk", lambda unit: unit["state"] == "ready")
    assert {key for key, value in account(machine, "disk").items() if value is None} == set()


def test_top_shows_the_units(machine: Machine) -> None:
    until(machine, "busy", lambda unit: unit["state"] == "ready")
    assert "7 children" in told(machine, "forks", "children")
    machine.disconnect()
    command = ["build/venv/bin/python", "-m", "ainit.cli", "--json", "top"]
    command[4:4] = ["--socket", str(machine.socket("control"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    units = {unit["name"]: unit for unit in json.loads(done.stdout)["units"]}
    assert units["busy"]["cpu_percent"] > 0
    assert units["forks"]["pids"] == 8


def test_metrics_are_served_and_start_with_the_first_scrape(machine: Machine) -> None:
    drive.wait_at_rest(machine)
    before = until(machine, "metrics", lambda unit: True)
    assert before["state"] in ("inactive", "ready")
    scrape = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/ainit/metrics.sock'); "
        "s.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n'); print(s.makefile().read())"
    )
    answer = story.in_shell(machine, f'/usr/bin/python3 -I -c "{scrape}"')
    assert answer.startswith("HTTP/1.1 200 OK")
    page = parse(answer.partition("\n\n")[2].strip() + "\n")
    assert page["ainos_unit_pids"].samples[labels(unit="forks")] == 8
    assert page["ainos_unit_oom_kills_total"].samples[labels(unit="hog")] >= 2
    assert until(machine, "metrics", lambda unit: unit["state"] == "ready")["pid"]
