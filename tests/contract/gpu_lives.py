"""The GPU service in real processes on the real emulator, killed at a chosen moment.

The process ends itself with ``os._exit`` before or after a call of the driver or a save of the
journal, or the emulator kills it inside a call. There is no PID 1: units stop as they are told.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ainit.child.server import VarlinkError
from ainit.errors import AinosError
from ainit.sched.journal import Journal
from ainit.sched.records import Assignment, Member
from tests.contract import nvml_emulator
from tests.support.service import Service
from tests.support.wait import wait_for
from tests.unit.sched.crash_cases import entry, sizes

# What a life is made mortal with: a counter of moments, and a PID 1 that obeys.
_MORTAL = """
import os, ainit.constants
ainit.constants.RUNTIME = ainit.constants.STATE = {folder!r}
from ainit.sched import drain, journal, nvml
count = 0
def moment():
    global count
    count += 1
    if count == {fatal}:
        os._exit(9)
def mortal(kind, name):
    call = getattr(kind, name)
    def wrapped(*arguments):
        moment()
        answer = call(*arguments)
        moment()
        return answer
    setattr(kind, name, wrapped)
for name in ("devices", "create_gpu_instance", "create_compute_instance",
             "destroy_compute_instances", "destroy_gpu_instance"):
    mortal(nvml.Nvml, name)
mortal(journal.Journal, "save")
class Obedient:
    affected = staticmethod(tuple)
    stop = start = restart = staticmethod(lambda units: None)
    running = staticmethod(lambda units: ())
drain.Units = Obedient
"""

FAULTS = {
    "none": "",
    "create fails late": "fault 0 create-gpu-instance late 1",
    "create refused": "fault 0 create-gpu-instance refuse 1",
    "compute fails late": "fault 0 create-compute-instance late 1",
    "destroy refused": "fault 0 destroy-gpu-instance refuse 1",
    "destroy leaves remnants": "fault 0 destroy-gpu-instance nothing 1",
    "killed inside a creation": "fault 0 create-gpu-instance die-after 1",
    "killed inside a destruction": "fault 0 destroy-gpu-instance die-before 1",
    "GPU reset": "fault 0 create-gpu-instance reset 1",
}
MORTAL_S = 2.0  # a life that may end between being connected to and answering
KINDS = ("create", "destroy", "replace", "repartition")


@dataclass(frozen=True)
class Case:
    """One life that ends at a moment, and what is wrong after the next."""

    kind: str
    fault: str
    board: str
    moment: int
    wrong: tuple[str, ...]
    stranded: int


class Machine:
    """One boot: what the service leaves on disk and in the emulator."""

    def __init__(self, folder: Path, board: str) -> None:
        self.folder = folder
        self.board = board
        self.lives = 0
        self.library = nvml_emulator.load().parent

    def service(self, fatal: int = 0) -> Service:
        """The service, started (again); it dies at that moment of its life."""
        self.lives += 1
        life = self.folder / str(self.lives)
        life.mkdir()
        return Service(
            "ainit.sched",
            life,
            environment={
                "LD_LIBRARY_PATH": str(self.library),
                "AINOS_NVML_STATE": str(self.folder / "state"),
                "AINOS_NVML_BOARDS": f"{self.board},{self.board}",
            },
            before=_MORTAL.format(folder=str(self.folder), fatal=fatal),
        )

    def inject(self, line: str) -> None:
        """The faults from now on."""
        (self.folder / "state.inject").write_text(f"{line}\n")


def run(folder: Path, kind: str, fault: str, board: str, moment: int) -> Case:
    """A machine with a partition and two holders; a task, a fault, a death; then a life without."""
    machine = Machine(folder, board)
    size = sizes(board)
    with machine.service() as service:
        _apply(service, [entry(1, size.one, size.three)])
        _ask(service, "Allocate", agent="small", profile=size.one)
        _ask(service, "Allocate", agent="middle", profile=size.two)
    machine.inject(FAULTS[fault])
    with suppress(AinosError, VarlinkError), machine.service(moment) as service:
        service.deadline = MORTAL_S
        _task(service, kind, board)
    machine.inject("")
    with machine.service() as service:
        _settle(service)
        status = _ask(service, "Status")
        wrong = tuple(_wrong(status, Journal(str(folder / "gpu/journal.json"))))
        stranded = sum(each["size"] for each in _unheld(status))
    return Case(kind, fault, board, moment, wrong, stranded)


def _task(service: Service, kind: str, board: str) -> None:
    size = sizes(board)
    match kind:
        case "create":
            _ask(service, "Allocate", agent="new", profile=size.three)
        case "destroy":
            _ask(service, "Release", agent="middle")
        case "replace":
            _ask(service, "Allocate", agent="middle", profile=size.three)
        case _:
            _apply(service, [entry(0, size.four, size.one), entry(1, size.two, size.three)])


def _ask(service: Service, method: str, **parameters: object) -> dict[str, Any]:
    if not service.is_running():
        raise AinosError("this life is over")
    return dict(service.call(f"org.ainos.Gpu.{method}", **parameters))


def _apply(service: Service, entries: list[dict[str, object]]) -> None:
    number = _ask(service, "Apply", entries=entries, name="test")["transaction"]

    def is_over() -> bool:
        return _ask(service, "Progress", transaction=number)["end"] is not None

    wait_for(is_over, "the end of the transaction")


def _settle(service: Service) -> None:
    """What the former life left is finished: any Allocate settles, and the loop goes on."""

    def is_settled() -> bool:
        with suppress(VarlinkError):
            _ask(service, "Allocate", agent="probe", profile="none")
        status = _ask(service, "Status")
        return status["transaction"] is None and status["pending"] == []

    wait_for(is_settled, "rest")


def _unheld(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Live instances that neither an agent holds nor the partition has."""
    slots = {(each["gpu"], each["profile"], each["start"]) for each in status["partition"]}
    return [
        instance
        for device in status["devices"]
        for instance in device["instances"]
        if instance["agent"] is None
        and (device["uuid"], instance["profile"], instance["start"]) not in slots
    ]


def _wrong(status: dict[str, Any], journal: Journal) -> list[str]:
    wrong = [f"stranded: {each}" for each in _unheld(status)]
    live = {each["uuid"] for device in status["devices"] for each in device["instances"]}
    record = journal.load()
    written: list[Assignment | Member] = [*record.assignments, *record.members]
    wrong += [
        f"untruth: {each} is written down and not there"
        for each in written
        if each.uuid not in live
    ]
    wrong += [f"unknown: {each}" for each in status["unknown"]]
    for device in status["devices"]:
        taken: set[int] = set()
        for each in device["instances"]:
            slices = set(range(each["start"], each["start"] + each["size"]))
            if taken & slices:
                wrong.append(f"overlap: {each}")
            taken |= slices
    return wrong
