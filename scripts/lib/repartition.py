"""A GPU is partitioned anew under one agent, while another goes on answering. GPUs are EMULATED.

seen = under_load(machine)       # of a machine whose agents are up
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lib import report
from lib.host import HostError
from lib.machine import Machine
from lib.process import wait_until

Data = dict[str, Any]

GPU = "org.ainos.Gpu"
MOVED, STAYS = "speech", "filetype"
GPUS = 2  # of the emulated machine
DEADLINE_S = 180.0
# What MOVED likes best, what will do for it, and what is of no use to it.
ROOM, SMALL, LARGE = "1g.20gb", "1g.10gb", "3g.40gb"
_ANSWER = "shell"  # what the other agent takes its question for


def instances(machine: Machine) -> list[Data]:
    """Every instance, with the index of its GPU."""
    devices = machine.call(f"{GPU}.Status", {})["devices"]
    return [{**each, "gpu": one["index"]} for one in devices for each in one["instances"]]


def held_by(machine: Machine, agent: str) -> Data:
    """The instance of an agent. Raises HostError when it holds none."""
    for each in instances(machine):
        if each["agent"] == agent:
            return each
    raise HostError(f"{agent} holds no GPU instance")


def begin(machine: Machine, to: str = ROOM) -> Data:
    """Wish the GPU of ``MOVED`` to be full of other instances, and each other one to have room for
    it on profile ``to``; what ``STAYS`` has may stay. The answer, with that GPU's index.
    """
    held = instances(machine)
    now = held_by(machine, MOVED)
    gpu = now["gpu"]
    entries = []
    for index in range(GPUS):
        wanted = [
            {"profile": each["profile"], "start": each["start"]}
            for each in held
            if each["agent"] == STAYS and each["gpu"] == index
        ]
        small = [] if now["profile"] == SMALL else [SMALL] * (3 - len(wanted))
        others = (LARGE, *small) if index == gpu or to == SMALL else (ROOM,)
        wanted += [{"profile": each, "start": None} for each in others]
        entries.append({"gpus": [index], "kinds": [], "mig": None, "instances": wanted})
    answer = machine.call(f"{GPU}.Apply", {"entries": entries, "name": "shown"})
    return {**answer, "gpu": gpu}


def ended(machine: Machine, number: int) -> str | None:
    """How a transaction ended; None while it goes on, or nobody answers."""
    end = report.ask(machine.call, f"{GPU}.Progress", {"transaction": number}).get("end")
    return str(end) if end else None


def ask(machine: Machine) -> bool:
    """Whether the agent that stays answers its question, and rightly."""
    interface, member, parameters = report.QUESTIONS[0]
    answer = report.ask(machine.call, f"{interface}.{member}", parameters)
    return bool(answer.get("label") == _ANSWER)


def under_load(machine: Machine, to: str = ROOM) -> Data:
    """Do it, asking all the while: how it ended, who went from where to where in how many seconds,
    and how many questions were answered of how many.
    """
    before = held_by(machine, MOVED)
    started = time.monotonic()
    begun = begin(machine, to)
    right: list[bool] = []

    def is_over() -> bool:
        right.append(ask(machine))
        return ended(machine, begun["transaction"]) is not None and _is_up(machine)

    wait_until(is_over, DEADLINE_S)
    seconds = time.monotonic() - started
    now = [each for each in instances(machine) if each["agent"] == MOVED]
    return {
        "end": ended(machine, begun["transaction"]),
        "disturbed": begun["plan"]["disturbed"],
        "from": _place(before),
        "to": _place(now[0]) if now else None,
        "made": f"{LARGE} and {SMALL} on GPU {begun['gpu']}",
        "asked": len(right),
        "answered": sum(right),
        "seconds": round(seconds, 1),
    }


def _is_up(machine: Machine) -> bool:
    unit = machine.call("org.ainos.Control.Describe", {"name": MOVED})["unit"]
    return bool(unit["state"] == "ready" and unit["desired"] == "up")


def _place(instance: Mapping[str, Any]) -> str:
    return f"{instance['profile']} at {instance['gpu']}:{instance['start']}"
