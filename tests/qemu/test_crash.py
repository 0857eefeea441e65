"""One machine that ends badly three times: a panic, a hang of PID 1, a power cut; then in order.

Disk and variable store are the same all along; each boot is asked how the one before it ended.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lib import drive, state_partition
from lib.host import HostError
from lib.machine import Machine

from ainit import constants
from tests.qemu import story

Data = dict[str, Any]

END_DEADLINE_S = 120.0
HANG_DEADLINE_S = constants.WATCHDOG_SECONDS * 4.0
PANIC = "echo c > /proc/sysrq-trigger"
# The freezer stops PID 1 where no signal can.
HANG = (
    "mkdir /sys/fs/cgroup/frozen && echo 1 > /sys/fs/cgroup/frozen/cgroup.procs && "
    "echo 1 > /sys/fs/cgroup/frozen/cgroup.freeze"
)


@dataclass(frozen=True)
class Ends:
    """What each boot knew: all crashes, the newest first, and all about the newest."""

    first: Data
    panic_reset: str | None
    after_panic: Data
    panic: Data
    pstore: str
    hang_reset: str | None
    after_hang: Data
    hang: Data
    after_cut: Data
    cut: Data
    left: list[str]


@pytest.fixture(scope="module")
def ends(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """Boot, panic; boot, hang; boot, cut the power; boot, power off in order."""
    left: list[str] = []
    with Machine(image, tmp_path_factory.mktemp("machine")) as machine:
        first = crashes(machine)
        run(machine, PANIC)
        panic_reset = machine.wait_end(END_DEADLINE_S)
        after_panic = crashes(machine)
        panic = newest(machine, after_panic)
        pstore = story.in_shell(machine, "ls /sys/fs/pstore")
        run(machine, HANG)
        hang_reset = machine.wait_end(HANG_DEADLINE_S)
        after_hang = crashes(machine)
        hang = newest(machine, after_hang)
        machine.kill()
        after_cut = crashes(machine)
        cut = newest(machine, after_cut)
        machine.power_off()
        machine.alter(lambda disk: left.extend(state_partition.entries(disk, "/crash")))
    return Ends(
        first=first,
        panic_reset=panic_reset,
        after_panic=after_panic,
        panic=panic,
        pstore=pstore,
        hang_reset=hang_reset,
        after_hang=after_hang,
        hang=hang,
        after_cut=after_cut,
        cut=cut,
        left=left,
    )


def crashes(machine: Machine) -> Data:
    """Boot until nothing moves any more, and ask what is known of earlier ends."""
    story.boot(machine)
    drive.wait_at_rest(machine)
    story.until(machine, "crash", lambda unit: unit["state"] == "ready")
    return machine.call("org.ainos.Crash.List", {})


def newest(machine: Machine, listed: Data) -> Data:
    """All about the newest crash."""
    if not listed["crashes"]:
        raise HostError("no crash is known")
    return machine.call("org.ainos.Crash.Show", {"id": listed["crashes"][0]["id"]})


def run(machine: Machine, script: str) -> None:
    """Do what may end the machine, and the shell with it, before it is done."""
    with suppress(HostError, OSError):
        story.in_shell(machine, script)


def test_a_new_machine_knows_of_no_crash(ends: Ends) -> None:
    assert ends.first == {"crashes": [], "problem": ""}


def test_a_panic_resets_the_machine_and_is_named(ends: Ends) -> None:
    assert ends.panic_reset == "guest-reset"
    (crash,) = ends.after_panic["crashes"]
    assert crash["kind"] == "panic"
    assert crash["cause"] == "Kernel panic - not syncing: sysrq triggered crash"
    assert crash["kernel"].endswith("-ainos")
    assert crash["boot_id"]
    assert not crash["incomplete"]


def test_its_last_console_lines_and_the_records_of_pid_1_are_there(ends: Ends) -> None:
    console = ends.panic["console"]
    assert "sysrq: Trigger a crash" in console
    assert "Call Trace:" in console
    assert "ainit: " in console


def test_the_firmware_s_memory_is_free_again(ends: Ends) -> None:
    assert ends.pstore.strip() == ""


def test_a_hang_of_pid_1_becomes_a_panic_of_the_watchdog(ends: Ends) -> None:
    assert ends.hang_reset == "guest-reset"
    crash = ends.after_hang["crashes"][0]
    assert crash["kind"] == "watchdog"
    assert crash["cause"] == "Kernel panic - not syncing: watchdog pretimeout event"
    assert "watchdog pretimeout event" in ends.hang["console"]


def test_a_power_cut_ended_without_shutdown(ends: Ends) -> None:
    crash = ends.after_cut["crashes"][0]
    assert (crash["kind"], crash["cause"]) == ("unclean", "ended without shutdown")
    assert ends.cut["console"] == ""


def test_every_end_is_told_once(ends: Ends) -> None:
    kinds = [crash["kind"] for crash in ends.after_cut["crashes"]]
    assert kinds == ["unclean", "watchdog", "panic"]
    boots = {crash["boot_id"] for crash in ends.after_cut["crashes"]}
    assert len(boots) == len(kinds)


def test_an_orderly_end_takes_its_mark_away(ends: Ends) -> None:
    assert "running" not in ends.left
    assert len(ends.left) == len(ends.after_cut["crashes"])
