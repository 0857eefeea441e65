"""GPUs of a booted machine (EMULATED): partitions under load, a service that dies, and jobs.

One machine; each test leaves the agents up, wherever their instances are by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import repartition
from lib.machine import Machine
from lib.process import wait_until
from lib.repartition import GPU, LARGE, MOVED, ROOM, SMALL, STAYS, ended, held_by, instances

from tests.qemu import story

Data = dict[str, Any]

DEADLINE_S = story.STEER_DEADLINE_S


@pytest.fixture(scope="module")
def machine(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose agents are up."""
    with Machine(image, tmp_path_factory.mktemp("machine")) as made:
        story.boot(made)
        for agent in (MOVED, STAYS):
            ready(made, agent)
        yield made
        made.power_off()


def ready(machine: Machine, name: str) -> Data:
    return story.until(machine, name, lambda unit: unit["state"] == "ready")


def profiles(machine: Machine, gpu: int) -> list[str]:
    return [each["profile"] for each in instances(machine) if each["gpu"] == gpu]


def test_an_agent_answers_while_the_instances_of_others_change(machine: Machine) -> None:
    stays, moved, before = ready(machine, STAYS), ready(machine, MOVED), held_by(machine, STAYS)
    seen = repartition.under_load(machine)
    assert (seen["end"], seen["disturbed"]) == ("committed", [MOVED])
    assert seen["answered"] == seen["asked"] > 0
    story.until_ready_again(machine, moved)
    assert seen["from"].partition(" at ")[0] == seen["to"].partition(" at ")[0] == ROOM
    assert seen["from"] != seen["to"]
    assert held_by(machine, STAYS) == before
    now = ready(machine, STAYS)
    assert (now["pid"], now["restarts"]) == (stays["pid"], stays["restarts"])


def test_an_agent_moves_between_profiles_under_load(machine: Machine) -> None:
    before = held_by(machine, STAYS)
    for profile in (SMALL, ROOM):
        moved = ready(machine, MOVED)
        seen = repartition.under_load(machine, to=profile)
        assert (seen["end"], seen["disturbed"]) == ("committed", [MOVED])
        assert seen["answered"] == seen["asked"] > 0
        story.until_ready_again(machine, moved)
        assert seen["to"].partition(" at ")[0] == profile
        assert held_by(machine, STAYS) == before


def test_a_service_that_dies_in_a_transaction_finishes_it(machine: Machine) -> None:
    moved, service = ready(machine, MOVED), ready(machine, "gpu")
    begun = repartition.begin(machine)
    story.in_shell(machine, f"kill -9 {service['pid']}")
    story.until_ready_again(machine, service)
    assert wait_until(lambda: ended(machine, begun["transaction"]) is not None, DEADLINE_S)
    assert ended(machine, begun["transaction"]) == "committed"
    story.until_ready_again(machine, moved)
    assert LARGE in profiles(machine, begun["gpu"])
    status = machine.call(f"{GPU}.Status", {})
    assert (status["quarantine"], status["unknown"], status["pending"]) == ([], [], [])


def test_a_job_gets_its_instance_and_gives_it_back(machine: Machine) -> None:
    program = "import os; print('on', os.environ['CUDA_VISIBLE_DEVICES'])"
    command = ["/usr/bin/python3", "-I", "-S", "-c", program]
    asked = {"command": command, "profiles": ["1g.10gb"], "name": "once"}
    name = machine.call("org.ainos.Control.Run", asked)["name"]

    def job() -> Data:
        (found,) = machine.call("org.ainos.Control.Jobs", {"name": name})["jobs"]
        return dict(found)

    assert wait_until(lambda: job()["over"], DEADLINE_S), job()
    assert job()["exit_status"] == 0, job()
    lines = machine.call("org.ainos.Control.Logs", {"unit": name, "lines": 100})["lines"]
    assert [line["text"] for line in lines if line["text"].startswith("on MIG-")]
    assert wait_until(lambda: name not in story.holders(machine), DEADLINE_S)


@pytest.mark.parametrize("gpu", range(repartition.GPUS))
def test_nothing_new_is_placed_on_a_cordoned_gpu(machine: Machine, gpu: int) -> None:
    before = ready(machine, MOVED)
    machine.call(f"{GPU}.Cordon", {"gpu": str(gpu), "reason": "a test"})
    command = ["/usr/bin/python3", "-I", "-S", "-c", "import time; time.sleep(3600)"]
    asked = {"command": command, "profiles": ["1g.10gb"], "name": f"beside-{gpu}"}
    name = machine.call("org.ainos.Control.Run", asked)["name"]
    assert wait_until(lambda: name in story.holders(machine), DEADLINE_S)
    assert held_by(machine, name)["gpu"] != gpu
    machine.call("org.ainos.Control.CancelJob", {"name": name})
    assert wait_until(lambda: name not in story.holders(machine), DEADLINE_S)
    machine.call(f"{GPU}.Uncordon", {"gpu": str(gpu)})
    (health,) = [one for one in machine.call(f"{GPU}.Health", {})["gpus"] if one["index"] == gpu]
    assert (health["state"], health["cordons"]) == ("ready", [])
    now = ready(machine, MOVED)  # who is there stays
    assert (now["pid"], now["gpu"]) == (before["pid"], before["gpu"])
