"""docs/your-own-agent.md from the boot on: its commands, one by one, on a machine with its agent.

The image is one of its own (`AGENTS=`), for agents come with the image: the kernel, the packages
and the models are those that are there; the root is laid and packed once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lib import drive, venv
from lib.machine import Machine
from lib.qemu import Hardware
from lib.variant import Target

from tests.qemu import story
from tests.support.walkthrough import BOOT, ONLINE, PAGE, Walk, before_a_machine, pieces

pytestmark = pytest.mark.variant("base")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return before_a_machine(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def machine(walk: Walk, image: Path) -> Iterator[Machine]:
    """What the page's `make run` boots, without what that looks at besides. Its place is the page's
    own, build/run.
    """
    target = Target.of(agents=walk.place("~/agents"))
    venv.call("scripts/image", *target.options)
    hardware = Hardware(sticks=(walk.place("~/stick.img"),))
    with Machine(target.image, drive.RUN, hardware) as machine:
        story.boot(machine)
        drive.wait_at_rest(machine)
        yield machine
        machine.power_off()


def test_the_page_is_right(walk: Walk, machine: Machine) -> None:
    before = machine.call("org.ainos.Control.Describe", {"name": "price"})["unit"]
    assert before["state"] == "refused"
    assert machine.call("org.ainos.Control.Status", {})["machine"]["health"] == "healthy"
    for piece in pieces(PAGE, ONLINE):
        if piece.kind == BOOT:
            continue
        if piece.kind != "sh":
            walk.take(piece)
            continue
        for line in piece.text.splitlines():
            machine.disconnect()  # the control line is one at a time
            walk.run(f"{line}\n")
            drive.wait_at_rest(machine)  # as it does while somebody types the next line
    after = story.until(machine, "price", lambda unit: unit["state"] == "ready")
    assert after["restarts"] == 0
    models = machine.call("org.ainos.Store.Models", {})["models"]
    assert {each["name"]: each["state"] for each in models}["price"] == "admitted"
    status = story.in_shell(machine, f"cat /proc/{after['pid']}/status")
    assert "Seccomp:\t2" in status
