"""One machine that is updated over the network: a release that stays, and one that does not.

The first release is found, installed, tried and committed; the second never gets healthy, falls
back by itself, tells why, and is not tried again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lib import drive
from lib.host import HostError
from lib.machine import Machine
from lib.process import wait_until
from lib.qemu import Hardware

from ainit.errors import AinosError
from tests.qemu import story
from tests.qemu.updates import ADDRESS, CHANNEL, Shop

pytestmark = pytest.mark.variant("base")

Data = dict[str, Any]
UPDATE = "org.ainos.Update"
GOOD, BROKEN = "9.0.0", "9.1.0"  # newer than whatever this checkout is
SETTINGS = f"""
[update]
repository = "http://{ADDRESS}"
channel = "{CHANNEL}"
automatic = "off"
healthy_s = 5
healthy_within_s = """
PATIENT, IMPATIENT = "600", "10"


@dataclass
class Seen:
    """What was seen, by stage."""

    one: str
    status: dict[str, Data] = field(default_factory=dict)
    jobs: dict[str, Data] = field(default_factory=dict)
    history: list[Data] = field(default_factory=list)
    again: str = ""
    confirmed: list[str] = field(default_factory=list)


def break_it(tree: Path) -> None:
    """The machine waits for an agent that cannot live."""
    path = tree / "usr/lib/ainos/plan.json"
    plan: Data = json.loads(path.read_text())
    (crasher,) = [unit for unit in plan["units"] if unit["name"] == "crasher"]
    crasher["essential"] = True
    path.write_text(json.dumps(plan))


def configure(machine: Machine, patience: str) -> None:
    """Say where updates come from, beside what the image is configured to."""
    text = story.in_shell(machine, "cat /usr/lib/ainos/machine.toml") + SETTINGS + patience
    machine.call("org.ainos.Control.Configure", {"files": {"machine.toml": f"{text}\n"}})


def work(machine: Machine, method: str, **parameters: object) -> Data:
    """Have something done; how it ended."""
    number = machine.call(f"{UPDATE}.{method}", parameters)["job"]["id"]
    found: Data = {}

    def is_over() -> bool:
        nonlocal found
        found = machine.call(f"{UPDATE}.Job", {})["job"]
        return bool(found["id"] == number and found["finished"])

    if not wait_until(is_over, drive.REST_DEADLINE_S):
        raise HostError(f"{method} does not end: {found}")
    return found


def stands(machine: Machine, state: str) -> Data:
    """Wait until an update stands like this."""
    found: Data = {}

    def is_reached() -> bool:
        nonlocal found
        found = machine.call(f"{UPDATE}.Status", {})
        return bool(found["state"] == state)

    if not wait_until(is_reached, drive.REST_DEADLINE_S):
        raise HostError(f"never {state}: {found}")
    return found


def install(machine: Machine, seen: Seen, version: str) -> None:
    """Look, install and reboot."""
    seen.jobs[f"check {version}"] = work(machine, "Check")
    seen.status[f"offered {version}"] = machine.call(f"{UPDATE}.Status", {})
    job = seen.jobs[f"install {version}"] = work(machine, "Install")
    if job["reason"]:
        raise HostError(f"not installed: {job['reason']}")
    seen.status[f"installed {version}"] = machine.call(f"{UPDATE}.Status", {})
    with suppress(AinosError):  # the machine may be gone before its answer is through
        machine.call("org.ainos.Control.Reboot", {})
    if machine.wait_end(drive.DOWN_DEADLINE_S) is None:
        raise HostError(f"no reboot: {seen.jobs}")
    story.boot(machine)


@pytest.fixture(scope="module")
def seen(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The whole story."""
    place = tmp_path_factory.mktemp("update")
    seen = Seen(drive.manifest(image)["version"])
    with Shop(image, place / "shop") as shop:
        shop.publish(GOOD)
        hardware = Hardware(reached=(shop.reached,))
        with Machine(image, place / "machine", hardware) as machine:
            story.boot(machine)
            drive.wait_at_rest(machine)
            configure(machine, PATIENT)
            install(machine, seen, GOOD)
            seen.status["trial"] = machine.call(f"{UPDATE}.Status", {})
            seen.status["committed"] = stands(machine, "idle")
            lines = machine.call("org.ainos.Control.Logs", {"unit": "confirm", "lines": 9})["lines"]
            seen.confirmed = [line["text"] for line in lines]
            configure(machine, IMPATIENT)
            shop.publish(BROKEN, break_it)
            install(machine, seen, BROKEN)
            if machine.wait_end(drive.REST_DEADLINE_S) is None:
                raise HostError(f"it stays: {machine.call(f'{UPDATE}.Status', {})}")
            story.boot(machine)
            seen.status["back"] = stands(machine, "idle")
            seen.history = machine.call(f"{UPDATE}.History", {})["entries"]
            work(machine, "Check")
            seen.again = machine.call(f"{UPDATE}.Status", {})["hindrance"]
            machine.power_off()
    return seen


def test_it_is_found_and_installed(seen: Seen) -> None:
    offered = seen.status[f"offered {GOOD}"]
    assert (offered["state"], offered["offered"]) == ("offered", GOOD)
    assert (offered["version"], offered["slots"]) == (
        seen.one,
        [{"version": seen.one, "tries": 3, "runs": True}],
    )
    installed = seen.status[f"installed {GOOD}"]
    assert (installed["state"], installed["next"]) == ("installed", "`ainitctl reboot`")


def test_it_runs_and_is_committed_once_it_is_healthy(seen: Seen) -> None:
    assert seen.status["trial"]["version"] == GOOD
    assert any("is on trial" in line for line in seen.confirmed)
    slots = {each["version"]: each["tries"] for each in seen.status["committed"]["slots"]}
    assert slots == {seen.one: 3, GOOD: 3}


def test_one_that_never_gets_healthy_falls_back_and_tells_why(seen: Seen) -> None:
    assert seen.status["back"]["version"] == GOOD
    outcomes = [(entry["version"], entry["outcome"]) for entry in seen.history]
    assert outcomes == [
        (GOOD, "installed"), (GOOD, "committed"), (BROKEN, "installed"), (BROKEN, "fell-back"),
    ]  # fmt: skip
    assert seen.history[-1]["reason"].startswith("not healthy within 10 s: ")


def test_it_is_not_tried_again(seen: Seen) -> None:
    assert seen.again.startswith(f"{BROKEN} did not stay here before: not healthy within 10 s")
