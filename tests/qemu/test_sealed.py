"""One machine whose state is sealed, over four boots and two releases (TPM emulated).

Release one makes the state at its first boot; release two is installed beside it, confirmed, and
once one is gone raises the floor; then somebody puts one back, and its owner goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lib import drive, report, sealed_disk
from lib.host import HostError
from lib.machine import Machine
from lib.process import wait_until
from lib.state_partition import partition_offset

from tests.qemu import releases, story

pytestmark = pytest.mark.variant("base")

Data = dict[str, Any]
SEAL = "org.ainos.Seal"
TWO = "9.0.0"  # newer than whatever this checkout is
# What an update to a third release would do to the slot of the first; then the boot is confirmed.
REMOVE = """\
mkdir /run/boot && mount -t vfat /dev/vda1 /run/boot && rm /run/boot/EFI/Linux/ainos_{version}* \
&& umount /run/boot && python3 -I -m ainit.seal commit 2>&1"""
WRONG = "cccccccc-" * 7 + "cccccccc"


@dataclass
class Seen:
    """What was seen at each stage."""

    one: str  # the version of the image
    status: dict[str, Data] = field(default_factory=dict)
    machine: dict[str, Data] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    accepted: dict[str, bool] = field(default_factory=dict)
    predicted: Data = field(default_factory=dict)
    predicted_back: Data = field(default_factory=dict)
    header: bytes = b""
    key: str = ""
    told_again: str = ""
    wrong: str = ""
    recovered: str = ""
    console: str = ""
    mounted: str = ""
    raised: str = ""


def is_settled(machine: Machine) -> bool:
    """Whether the boot is confirmed, or never will be."""
    status = machine.call("org.ainos.Control.Status", {})
    units = {unit["name"]: unit["state"] for unit in status["units"]}
    health = status["machine"]["health"]
    wanted = units["seal"] if health == "refused" else units["confirm"]
    return health != "starting" and wanted in ("ready", "exited")


def look(machine: Machine, seen: Seen, stage: str) -> None:
    """Boot, wait, and ask what every stage is asked."""
    story.boot(machine)
    if not wait_until(lambda: is_settled(machine), drive.REST_DEADLINE_S):
        raise HostError(f"the machine does not settle: {stage}")
    seen.machine[stage] = machine.call("org.ainos.Control.Status", {})["machine"]
    seen.status[stage] = machine.call(f"{SEAL}.Status", {})
    answer = report.ask(machine.call, "org.ainos.Store.Models", {})
    listed = answer.get("models") or []
    seen.models[stage] = [each["name"] for each in listed if each["state"] == "admitted"]
    seen.accepted[stage] = drive.attest(machine).accepted


@pytest.fixture(scope="module")
def seen(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The whole story."""
    place = tmp_path_factory.mktemp("sealed")
    sealed_disk.make(image, place / "image")
    one = releases.own(image)
    two = releases.make(image, place / "two", TWO, generation=2)
    seen = Seen(one.version)
    with Machine(place / "image", place / "machine") as machine:
        look(machine, seen, "first")
        seen.key = story.in_shell(machine, "ainitctl seal recovery-key").strip()
        seen.told_again = story.in_shell(machine, "ainitctl seal recovery-key 2>&1").strip()
        seen.mounted = story.in_shell(machine, "cat /proc/mounts")
        approval = {"approval": releases.record(two)}
        seen.predicted = machine.call(f"{SEAL}.Predict", approval)
        machine.power_off()
        machine.alter(two.install)
        machine.alter(lambda disk: keep_header(disk, seen))
        look(machine, seen, "beside")
        seen.raised = story.in_shell(machine, REMOVE.format(version=one.version))
        seen.status["alone"] = machine.call(f"{SEAL}.Status", {})
        back = {"approval": releases.record(one)}
        seen.predicted_back = machine.call(f"{SEAL}.Predict", back)
        machine.power_off()
        machine.alter(lambda disk: releases.remove(disk, TWO))
        machine.alter(one.install)
        look(machine, seen, "back")
        seen.wrong = story.in_shell(machine, f"echo {WRONG} | ainitctl seal recover 2>&1")
        seen.recovered = story.in_shell(machine, f"echo {seen.key} | ainitctl seal recover 2>&1")
        machine.power_off()
        look(machine, seen, "recovered")
        machine.power_off()
    return seen


def keep_header(disk: Path, seen: Seen) -> None:
    """The begin of the state partition."""
    with disk.open("rb") as file:
        file.seek(partition_offset("state"))
        seen.header = file.read(8)


def test_the_first_boot_makes_a_sealed_state(seen: Seen) -> None:
    status = seen.status["first"]
    assert (status["state"], status["floor"], status["floors"]) == ("open", 1, [1])
    assert (status["version"], status["generation"]) == (seen.one, 1)
    assert seen.header.startswith(b"LUKS\xba\xbe\0\2")
    assert "/dev/mapper/state /var/lib/ainos ext4" in seen.mounted


def test_what_was_delivered_is_in_it(image: Path, seen: Seen) -> None:
    names = {model["name"] for model in drive.manifest(image)["models"]}
    assert set(seen.models["first"]) == names
    assert seen.machine["first"]["health"] == "healthy", seen.machine["first"]["findings"]
    assert seen.accepted["first"]


def test_the_recovery_key_is_told_once(seen: Seen) -> None:
    assert seen.status["first"]["recovery_waits"] is True
    assert len(seen.key) == len(WRONG)
    assert "not here (any more)" in seen.told_again
    assert seen.status["beside"]["recovery_waits"] is False


def test_the_update_was_predicted_to_open_it_and_does(seen: Seen) -> None:
    assert seen.predicted == {"opens": True, "findings": []}
    status = seen.status["beside"]
    assert (status["state"], status["version"], status["generation"]) == ("open", TWO, 2)
    assert set(seen.models["beside"]) == set(seen.models["first"])


def test_the_fallback_holds_the_floor(seen: Seen) -> None:
    status = seen.status["beside"]
    assert (status["floor"], status["floors"]) == (1, [1, 2])


def test_the_floor_rises_once_every_image_can_follow(seen: Seen) -> None:
    status = seen.status["alone"]
    assert (status["state"], status["floor"], status["floors"]) == ("open", 2, [2])
    assert seen.raised == "the floor is 2\n"


def test_the_way_back_was_predicted_to_be_closed_and_is(seen: Seen) -> None:
    below = f"{seen.one} is of generation 1, below the floor of this machine, 2"
    assert seen.predicted_back == {"opens": False, "findings": [below]}
    status = seen.status["back"]
    assert (status["state"], status["findings"]) == ("locked", [below])
    assert seen.machine["back"]["health"] == "refused"
    assert any(below in finding for finding in seen.machine["back"]["findings"])


def test_an_older_image_is_not_attested(seen: Seen) -> None:
    assert not seen.accepted["back"]
    assert seen.models["back"] == []


def test_its_owner_goes_on_with_the_recovery_key(seen: Seen) -> None:
    assert "this key opens nothing here" in seen.wrong
    assert f"sealed to {seen.one} at floor 1" in seen.recovered
    status = seen.status["recovered"]
    assert (status["state"], status["floor"], status["floors"]) == ("open", 1, [1])
    assert set(seen.models["recovered"]) == set(seen.models["first"])
    assert seen.accepted["recovered"]
