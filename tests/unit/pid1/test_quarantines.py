"""What PID 1 knows of quarantines: in its journal, on the state partition, and after a fault."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ainit import constants
from ainit.linux.cgroup import Tree
from ainit.pid1.control import Client
from ainit.pid1.loop import Loop
from ainit.pid1.quarantine import Quarantines
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.state import State
from ainit.wire.protocol import Call, VarlinkError
from tests.support.notebook import Notebook
from tests.support.units import make_unit

Done = Callable[[int, str], None]
KILLED = -9


class Init:
    """As much of PID 1 as a quarantine asks for; the journal outlives it."""

    def __init__(self, directory: Path, journal: Notebook, state: State) -> None:
        self.loop, self.journal = Loop(), journal
        self.cgroups = Tree(str(directory / "groups"))
        self.posted: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.jobs_run: list[tuple[list[str], Done]] = []
        self.providers: dict[str, str] = {}
        unit = make_unit("a")
        unit.kind = plan.AGENT
        self.supervisor = SimpleNamespace(
            units={"a": unit},
            states={"a": state},
            post=lambda name, event: self.posted.append((name, event.kind)),
            tell=lambda name, event: self.posted.append((name, event.kind)),
        )
        self.shutdown = SimpleNamespace(how="")
        self.relay = SimpleNamespace(refuse=lambda name, why: None)
        self.jobs = SimpleNamespace(run=self._run)
        self.control = SimpleNamespace()

    def _run(self, argv: list[str], seconds: float, done: Done) -> None:
        self.jobs_run.append((argv, done))

    def say(self, unit: str, text: str, level: int = 6) -> None:
        self.said.append(text)


class World:
    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory, State("a")
        self.journal = Notebook(lambda: None)
        self.begin()

    def begin(self) -> None:
        """A PID 1 begins, or begins anew."""
        self.init = Init(self.directory, self.journal, self.state)
        self.quarantines = Quarantines(self.init)  # type: ignore[arg-type]

    def again(self) -> None:
        self.journal = self.journal.reopened()
        self.begin()
        self.quarantines.resume()

    def call(self, member: str, **parameters: object) -> Any:
        call = Call({"method": f"org.ainos.Control.{member}", "parameters": parameters})
        return self.quarantines.table()[member](SimpleNamespace(uid=0), call)  # type: ignore[arg-type]

    def hold(self, *, deadline: float = 0.0) -> None:
        """It is in quarantine, and frozen unless there is still a deadline."""
        self.call("Quarantine", name="a", reason="odd")
        self.state.quarantine, self.state.state = "odd", life.QUARANTINED
        self.state.was, self.state.deadline = life.READY, deadline


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(constants, "QUARANTINE", str(tmp_path / "kept"))
    monkeypatch.setattr(constants, "QUARANTINE_HELD", str(tmp_path / "kept/held"))
    return World(tmp_path)


def refusal(world: World, member: str, **parameters: object) -> str:
    with pytest.raises(VarlinkError) as caught:
        world.call(member, **parameters)
    return str(caught.value.parameters.get("reason", caught.value.name))


def test_who_and_why_are_on_the_state_partition(world: World) -> None:
    world.call("Quarantine", name="a", reason=" odd ", by="kim")
    marker = world.directory / "kept/held/a"
    assert marker.stat().st_mode & 0o777 == 0o600
    record = json.loads(marker.read_text())
    assert (record["reason"], record["by"]) == ("odd", "kim")
    assert world.init.posted == [("a", life.QUARANTINE)]
    known = world.quarantines.of("a")
    assert known is not None
    assert known.keys() == {"reason", "by", "time", "evidence"}


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\nb", "\x1b[2J"])
def test_a_reason_is_one_line(world: World, reason: str) -> None:
    assert refusal(world, "Quarantine", name="a", reason=reason).endswith("InvalidParameter")
    assert world.init.posted == []


def test_one_that_left_the_plan_and_comes_back_is_held(world: World) -> None:
    world.hold()
    world.quarantines.hold()
    assert world.init.posted == [("a", life.QUARANTINE)]  # it is held already
    world.init.supervisor.states["a"] = State("a")
    world.quarantines.hold()
    assert world.init.posted == [("a", life.QUARANTINE)] * 2
    assert world.quarantines.of("a")["reason"] == "odd"  # type: ignore[index]


def test_a_fault_before_it_was_begun_begins_it(world: World) -> None:
    world.call("Quarantine", name="a", reason="odd")
    world.again()
    assert world.init.posted == [("a", life.QUARANTINE)]


def test_a_fault_while_it_freezes_looks_again(world: World) -> None:
    world.hold(deadline=9.0)
    world.again()
    assert world.init.posted == [("a", life.FROZEN)]  # there is no group that would move
    assert world.init.jobs_run == []


def test_a_fault_while_evidence_is_collected_collects_it_anew(world: World) -> None:
    world.hold()
    world.quarantines.isolate("a", life.EVIDENCE)
    assert "collected" in refusal(world, "Release", name="a")
    world.again()
    (argv, done) = world.init.jobs_run[0]
    assert argv[-2:] == ["a", world.quarantines.of("a")["evidence"]]  # type: ignore[index]
    done(0, "")
    world.again()
    assert world.init.jobs_run == []
    world.call("Release", name="a")
    assert world.init.posted[-1] == ("a", life.LET_GO)
    assert not (world.directory / "kept/held/a").exists()
    world.state.quarantine = ""
    world.again()
    assert world.init.posted == []


def test_who_asked_and_is_gone_when_the_answer_is_there_is_no_fault(world: World) -> None:
    """PID 1 finds that out when it sends."""
    ours, theirs = socket.socketpair()
    client = Client(ours, 0)

    def finish(to: Client) -> None:
        to.pending = False

    world.init.control = SimpleNamespace(send=lambda to, data: to.abandon(), finish=finish)
    world.state.state, world.state.quarantine, world.state.deadline = life.QUARANTINED, "odd", 9.0
    world.quarantines._remember("a", {"evidence": "a-1", "collected": True})
    call = Call({"method": "org.ainos.Control.Quarantine",
                 "parameters": {"name": "a", "reason": "odd"}})  # fmt: skip
    assert world.quarantines.table()["Quarantine"](client, call) is None
    assert client.pending
    world.quarantines.isolate("a", life.EVIDENCE)
    assert not client.pending
    ours.close()
    theirs.close()


def test_a_child_that_was_killed_is_tried_again_a_few_times(world: World) -> None:
    world.hold()
    world.quarantines.isolate("a", life.EVIDENCE)
    for number in range(3):
        assert len(world.init.jobs_run) == number + 1
        world.init.jobs_run[number][1](KILLED, "")
    assert len(world.init.jobs_run) == 3
    assert world.init.said[-1] == "its evidence was not kept: status -9"
    assert world.quarantines.of("a")["evidence"] == ""  # type: ignore[index]


@pytest.mark.parametrize("torn", ["", "{", '{"reason": 3}', "[]", '"x"', "[" * 10_000])
def test_a_torn_file_holds_as_well(world: World, torn: str) -> None:
    held = world.directory / "kept/held"
    held.mkdir(parents=True)
    (held / "a").write_text(torn)
    (held / "of-another-plan").write_text("")
    world.begin()
    world.quarantines.resume()
    assert world.init.posted == [("a", life.QUARANTINE)]
    assert world.quarantines.of("a")["reason"] == "its record cannot be read"  # type: ignore[index]
    world.call("Release", name="of-another-plan")
    assert [path.name for path in held.iterdir()] == ["a"]
    assert refusal(world, "Release", name="../held/a").endswith("NoSuchUnit")


def test_without_a_state_partition_it_is_said(world: World) -> None:
    (world.directory / "kept").write_text("")
    world.call("Quarantine", name="a", reason="odd")
    assert world.init.said[-1] == "its quarantine does not outlast a reboot: File exists"
    assert world.init.posted == [("a", life.QUARANTINE)]


def test_one_that_cannot_be_released_for_good_is_not_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: str) -> None:
        raise OSError(30, "Read-only file system")

    world.hold()
    monkeypatch.setattr("os.unlink", read_only)
    words = "a cannot be released for good: Read-only file system"
    assert refusal(world, "Release", name="a") == words


def test_evidence_has_a_name_of_its_own(world: World) -> None:
    world.call("Quarantine", name="a", reason="odd")
    first = world.quarantines.of("a")["evidence"]  # type: ignore[index]
    (world.directory / f"kept/{first}").mkdir()
    world.journal = Notebook(lambda: None)
    world.begin()
    second = world.call("Quarantine", name="a", reason="odd")["evidence"]
    assert first != second
