"""Asking for GPU instances: what each answer is to the unit that asked, and to others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.pid1.gpus import Gpus
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from ainit.policy.state import Event, State
from ainit.wire import protocol
from ainit.wire.protocol import Message
from tests.support.idl import Interface
from tests.support.units import make_unit
from tests.unit.pid1.wires import Service, Wires

GPU = "org.ainos.Gpu"
GRANTED: Message = {
    "uuid": "MIG-0", "gpu": 0, "profile": "1g.10gb", "start": 0, "size": 1, "environment": {},
    "numa": None, "ready": [], "move": [],
}  # fmt: skip
QUEUED: Message = {
    "position": 2, "of": 5, "reason": "2 of 5", "retry_s": 3.0, "ready": [], "move": [],
}  # fmt: skip


class Told:
    """A supervisor that is told things."""

    def __init__(self) -> None:
        state = State("web")
        state.wanted_at = 77.0
        self.states = {"web": state}
        self.events: list[tuple[str, str]] = []

    def tell(self, name: str, event: Event) -> None:
        self.events.append((name, event.kind))


class Desk:
    """Gpus on real sockets, with a GPU service that answers as the test says."""

    def __init__(self, wires: Wires, service: Service) -> None:
        self.wires = wires
        self.service = service
        self.said: list[str] = []
        self.told = Told()
        self.providers = {GPU: "gpu"}
        self.gpus = Gpus(wires.relay, self.providers, lambda unit, text: self.said.append(text))
        self.gpus.supervisor = self.told  # type: ignore[assignment]

    def ask(self, unit: Unit, answer: bytes) -> tuple[Event, Message]:
        """The event that an answer comes to, and what was asked."""
        events: list[Event] = []
        self.gpus.allocate(unit, events.append)
        channel, call = self.service.accept()
        parameters = call["parameters"]
        assert isinstance(parameters, dict)
        assert Interface.named(GPU).wrong_call("Allocate", parameters) == []
        channel.sendall(answer) if answer else channel.shutdown(socket.SHUT_RDWR)
        self.wires.until(lambda: bool(events), "the answer to arrive")
        return events[0], parameters

    def release(self, unit: Unit, answer: bytes) -> None:
        before = len(self.told.events)
        self.gpus.release(unit)
        channel, _ = self.service.accept()
        channel.sendall(answer)
        self.wires.until(lambda: len(self.told.events) > before or bool(self.said), "an answer")


@pytest.fixture
def desk(sockets: Path) -> Iterator[Desk]:
    wires = Wires(sockets, {})
    with wires.service("gpu") as service:
        yield Desk(wires, service)
    wires.close()


def web(**fields: object) -> Unit:
    return make_unit("web", gpu_profile="1g.10gb", **fields)


def error(name: str, **parameters: object) -> bytes:
    return protocol.error(f"{GPU}.{name}", parameters)


def test_an_instance(desk: Desk) -> None:
    event, _ = desk.ask(web(), protocol.reply(GRANTED))
    assert event.kind == life.ALLOCATED
    assert event.gpu is not None
    assert event.gpu["uuid"] == "MIG-0"
    assert "ready" not in event.gpu


def test_all_that_a_unit_wishes_is_asked_for(desk: Desk) -> None:
    unit = web(gpu_profiles=["1g.10gb", "2g.20gb"], gpu_priority=3, gpu_resizable=True)
    _, asked = desk.ask(unit, protocol.reply(GRANTED))
    assert (asked["agent"], asked["profile"]) == ("web", "1g.10gb")
    assert asked["request"] == {
        "kind": "agent", "profiles": ["1g.10gb", "2g.20gb"], "speeds": {}, "owner": "agent",
        "priority": 3, "since": 77.0, "estimate_s": 0.0, "deadline": 0.0, "resizable": True,
        "waits": True,
    }  # fmt: skip
    _, asked = desk.ask(web(gpu_required=False), protocol.reply(GRANTED))
    request = asked["request"]
    assert isinstance(request, dict)
    assert request["waits"] is False


def test_a_place_in_the_queue(desk: Desk) -> None:
    event, _ = desk.ask(web(), protocol.error(f"{GPU}.Queued", QUEUED))
    assert (event.kind, event.reason, event.seconds) == (life.QUEUED, "in the queue: 2 of 5", 3.0)


@pytest.mark.parametrize(
    ("given", "seconds"), [(1e9, 60.0), (-1, 0.1), (True, 5.0), ("soon", 5.0), (None, 5.0)]
)
def test_no_answer_keeps_a_unit_from_asking_again(
    desk: Desk, given: object, seconds: float
) -> None:
    event, _ = desk.ask(web(), protocol.error(f"{GPU}.Queued", {**QUEUED, "retry_s": given}))
    assert event.seconds == seconds


def test_whoever_is_named_is_told(desk: Desk) -> None:
    desk.ask(web(), protocol.reply({**GRANTED, "ready": ["a.job"], "move": ["db", 3]}))
    assert desk.told.events == [("a.job", life.TURN), ("db", life.MOVE)]
    desk.ask(web(), protocol.error(f"{GPU}.Queued", {**QUEUED, "ready": ["b.job"]}))
    assert desk.told.events[2:] == [("b.job", life.TURN)]
    desk.release(web(), protocol.reply({"ready": ["c.job"], "move": []}))
    assert desk.told.events[3:] == [("c.job", life.TURN)]


def test_what_goes_wrong_is_said(desk: Desk) -> None:
    event, _ = desk.ask(web(), error("NoCapacity", profile="1g.10gb"))
    assert event.kind == life.NOT_ALLOCATED
    assert event.reason == "no GPU instance: NoCapacity: profile 1g.10gb"
    desk.release(web(), error("Failed", reason="busy"))
    assert desk.said == ["its GPU instance was not released: Failed: reason busy"]


def test_a_service_that_went_away_is_a_failure_to_an_agent_and_a_wait_to_a_job(desk: Desk) -> None:
    event, _ = desk.ask(web(), b"")
    assert event.kind == life.NOT_ALLOCATED
    job = Unit("a.job", plan.JOB)
    job.gpu_profile = "1g.10gb"
    event, _ = desk.ask(job, b"")
    assert event.kind == life.QUEUED
    assert "closed the connection" in event.reason


def test_without_a_service_there_is_none(desk: Desk) -> None:
    desk.providers.clear()
    events: list[Event] = []
    desk.gpus.allocate(web(), events.append)
    assert events[0].reason == "no GPU instance: no unit provides org.ainos.Gpu"
