"""What services say on the notification socket: who is heard, what is stored and thrown away."""

from __future__ import annotations

import gc
import os
import socket
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ainit.pid1 import notify
from ainit.pid1.loop import Loop
from ainit.pid1.notify import Notifications
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from ainit.policy.state import State
from tests.support import descriptors
from tests.support.units import make_unit
from tests.unit.pid1.world import Process, World, install

OWN = os.getpid()


class Bench:
    """PID 1's end of the socket. This process is the main one of the unit, or one beside it."""

    def __init__(self, directory: Path, unit: Unit, *, main: bool, stranger: bool) -> None:
        self.path = str(directory / "notify")
        self.world = World([unit])
        if main:
            self.world._next = OWN - 1
        self.world.start()
        self.world.take()
        if not (main or stranger):
            self.world.processes[OWN] = Process(OWN, unit.name, main=False)
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.001)
        self.notifications = self.listen()

    def listen(self) -> Notifications:
        return Notifications(self.loop, self.world.journal, self.world.supervisor, self.path)

    def again(self) -> None:
        """PID 1 is executed anew; what was sent meanwhile is still there."""
        self.loop.remove(self.notifications._socket.fileno())
        self.notifications._socket.detach()
        self.world.again()
        self.notifications = self.listen()

    def send(self, text: str | bytes, *descriptors: int) -> None:
        data = text.encode() if isinstance(text, str) else text
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(self.path)
            channel.settimeout(10)
            channel.sendmsg([data], rights if descriptors else [])

    def say(self, text: str | bytes, *descriptors: int) -> State:
        """Send, and have PID 1 hear it; the state of the unit."""
        self.send(text, *descriptors)
        self.loop.turn()
        return self.state

    @property
    def state(self) -> State:
        return next(iter(self.world.supervisor.states.values()))

    def stored(self) -> list[str]:
        return [name for name, _ in self.notifications.stored("u")]

    def close(self) -> None:
        self.notifications.forget("u")
        self.notifications._socket.close()


Make = Callable[..., Bench]


@pytest.fixture
def make(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Bench] = []

    def bench(*, main: bool = True, stranger: bool = False, **fields: object) -> Bench:
        unit = make_unit("u", **{"type": plan.NOTIFY, **fields})
        one = Bench(sockets, unit, main=main and not stranger, stranger=stranger)
        install(one.world, monkeypatch)
        made.append(one)
        return one

    yield bench
    for one in made:
        one.close()


@pytest.fixture
def files() -> Iterator[list[int]]:
    opened = [os.memfd_create(f"file-{number}") for number in range(4)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_the_main_process_is_heard(make: Make) -> None:
    state = make().say("READY=1\nSTATUS=serving 3 clients")
    assert (state.state, state.text) == (life.READY, "serving 3 clients")


def test_findings_last_until_the_unit_takes_them_back(make: Make) -> None:
    bench = make()
    assert bench.say("READY=1\nX_AINOS_FINDINGS=GPU 1 is\tlost").findings == "GPU 1 is lost"
    assert bench.say("STATUS=x").findings == "GPU 1 is lost"
    assert bench.say("X_AINOS_FINDINGS=").findings == ""


@pytest.mark.parametrize(("access", "heard"), [("main", False), ("all", True), ("none", False)])
def test_another_process_of_the_unit_is_heard_if_the_unit_says_so(
    make: Make, access: str, heard: bool
) -> None:
    state = make(main=False, notify_access=access).say("READY=1\nSTATUS=x")
    assert (state.state == life.READY, state.text == "x") == (heard, heard)


def test_with_access_for_nobody_not_even_the_main_process_is_heard(make: Make) -> None:
    assert make(notify_access="none").say("READY=1").state == life.STARTING


def test_a_stranger_is_not_heard(make: Make, files: list[int]) -> None:
    bench = make(stranger=True, notify_access="all", fd_store_max=4)
    before = len(descriptors.at_first())
    assert bench.say("READY=1\nFDSTORE=1", *files).state == life.STARTING
    assert len(descriptors.now()) == before


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"\0", b"READY", b"READY=2", b"READY=", b"\xff\xfe", b"=", b"MAINPID=x",
        b"MAINPID=-1", b"WATCHDOG_USEC=-5", b"EXTEND_TIMEOUT_USEC=" + b"9" * 4000, b"x" * 5000,
        b"FDSTORE=1", b"FDSTOREREMOVE=1", b"FDSTOREREMOVE=1\nFDNAME=none",
    ],
)  # fmt: skip
def test_what_is_malformed_says_nothing_and_what_follows_is_heard(make: Make, text: bytes) -> None:
    bench = make(fd_store_max=1)
    assert bench.say(text).state == life.STARTING
    assert bench.say("READY=1").state == life.READY


def test_everything_that_a_service_can_say(make: Make) -> None:
    bench = make(watchdog=5.0)
    now = bench.world.now
    assert bench.say("EXTEND_TIMEOUT_USEC=60000000").deadline == now + 60
    assert bench.say("READY=1").watchdog_at == now + 5
    bench.world.now += 3
    assert bench.say("WATCHDOG=1").watchdog_at == now + 8
    assert bench.say("WATCHDOG_USEC=20000000").watchdog_at == now + 23
    assert bench.say("RELOADING=1").reloading
    assert not bench.say("READY=1").reloading
    assert not bench.say("RELOADING=1\nREADY=1").reloading
    state = bench.say("STOPPING=1")
    assert (state.reason, state.watchdog_at) == ("stops by itself", 0.0)


def test_a_watchdog_that_the_service_lets_go_off(make: Make) -> None:
    bench = make()
    bench.say("READY=1")
    assert bench.say("WATCHDOG=trigger").killed == "it said that its watchdog triggered"
    assert bench.world.take() == ["kill u"]


def test_another_main_process_must_be_one_of_its_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    bench.say("READY=1")
    stranger = bench.world.fork("other")
    assert bench.say(f"MAINPID={stranger}").pid == OWN
    assert bench.say("MAINPID=3").pid == OWN
    child = bench.world.fork("u")
    monkeypatch.setattr("ainit.linux.process.parent", lambda pid: OWN)
    assert bench.say(f"MAINPID={child}").pid == OWN, "its end would not be seen"
    monkeypatch.setattr("ainit.linux.process.parent", lambda pid: 1)
    assert bench.say(f"MAINPID={child}").pid == child


def test_descriptors_are_stored_under_a_name_in_order(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=3)
    bench.say("FDSTORE=1\nFDNAME=b", files[0])
    bench.say("FDSTORE=1\nFDNAME=a", files[1])
    bench.say("FDSTORE=1", files[2])
    stored = bench.notifications.stored("u")
    assert sorted(name for name, _ in stored) == ["a", "b", "stored"]
    assert {os.readlink(f"/proc/self/fd/{number}") for _, number in stored} == {
        os.readlink(f"/proc/self/fd/{number}") for number in files[:3]
    }
    assert bench.notifications.stored("another") == []


def test_no_more_are_stored_than_the_unit_may(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=2)
    gc.collect()  # what other tests left
    before = len(descriptors.at_first())
    bench.say("FDSTORE=1", *files)
    assert len(bench.stored()) == 2
    bench.say("FDSTORE=1", files[3])
    assert len(bench.stored()) == 2
    assert len(descriptors.now()) == before + 2


def test_who_may_store_nothing_stores_nothing(make: Make, files: list[int]) -> None:
    bench = make()
    gc.collect()  # what other tests left
    before = len(descriptors.at_first())
    bench.say("READY=1\nFDSTORE=1", *files)
    assert (bench.state.state, bench.stored()) == (life.READY, [])
    assert len(descriptors.now()) == before


def test_what_is_stored_already_is_not_stored_again(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=3)
    bench.say("FDSTORE=1\nFDNAME=a", files[0])
    bench.say("FDSTORE=1\nFDNAME=a", files[0], files[0], files[1])
    assert bench.stored() == ["a", "a"]
    copy = os.dup(files[1])
    bench.say("FDSTORE=1\nFDNAME=b", copy)
    os.close(copy)
    assert bench.stored() == ["a", "a"]


def test_two_of_a_kind_without_a_file_are_two(make: Make) -> None:
    """Event counters and timers all lie in the one inode of what has none."""
    bench = make(fd_store_max=3)
    pair = [os.eventfd(0), os.eventfd(0)]
    bench.say("FDSTORE=1", *pair, pair[0])
    assert len(bench.stored()) == 2
    for descriptor in pair:
        os.close(descriptor)


def test_descriptors_are_removed_by_name(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=4)
    bench.say("FDSTORE=1\nFDNAME=a", *files[:2])
    bench.say("FDSTORE=1\nFDNAME=b", files[2])
    before = len(descriptors.at_first())
    bench.say("FDSTOREREMOVE=1\nFDNAME=a")
    assert bench.stored() == ["b"]
    assert len(descriptors.now()) == before - 2
    bench.say("FDSTORE=1\nFDNAME=c", files[0])
    assert sorted(bench.stored()) == ["b", "c"]


def test_what_a_stopped_unit_stored_is_closed(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=4)
    before = len(descriptors.at_first())
    bench.say("FDSTORE=1", *files)
    bench.notifications.forget("u")
    assert bench.stored() == []
    assert len(descriptors.now()) == before
    assert bench.world.journal.of("store") == {}


def test_whoever_takes_over_has_socket_and_store(make: Make, files: list[int]) -> None:
    bench = make(fd_store_max=4)
    bench.say("FDSTORE=1\nFDNAME=a", files[0])
    inode = os.stat(bench.path).st_ino
    bench.send("FDSTORE=1\nFDNAME=a\nREADY=1", files[0], files[1])
    bench.again()
    assert (bench.stored(), bench.state.state) == (["a"], life.STARTING)
    bench.loop.turn()
    assert (bench.stored(), bench.state.state) == (["a", "a"], life.READY)
    assert os.stat(bench.path).st_ino == inode


def test_a_message_over_which_pid_1_failed_is_heard_again(make: Make, files: list[int]) -> None:
    """It is taken off the queue last; until then, all that it does can be done twice."""
    bench = make(fd_store_max=4)

    class Fault(BaseException):
        pass

    def fails() -> None:
        raise Fault

    bench.notifications._take = fails  # type: ignore[method-assign]
    with pytest.raises(Fault):
        bench.say("READY=1\nFDSTORE=1", *files[:2])
    bench.again()
    assert (bench.state.state, len(bench.stored())) == (life.READY, 2)
    bench.loop.turn()
    assert (bench.state.state, len(bench.stored())) == (life.READY, 2)


def test_a_message_that_pid1_failed_at_three_times_is_thrown_away(make: Make) -> None:
    class Fault(BaseException):
        pass

    def fails(sender: int, said: dict[str, str], received: list[int]) -> None:
        raise Fault

    bench = make()
    bench.send("STATUS=poison")
    bench.send("READY=1")
    for _ in range(3):
        bench.notifications._heard = fails  # type: ignore[method-assign]
        with pytest.raises(Fault):
            bench.loop.turn()
        bench.again()
    bench.loop.turn()
    assert (bench.state.text, bench.state.state) == ("", life.READY)


def test_faults_at_something_else_cost_no_message(make: Make) -> None:
    bench = make()
    bench.send("READY=1")
    for _ in range(3):
        bench.again()
    bench.loop.turn()
    assert bench.state.state == life.READY


def test_a_flood_is_taken_in_turns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_DATAGRAMS_A_TURN", 3)
    bench = make()
    for number in range(8):
        bench.send(f"STATUS={number}")
    seen = []
    for _ in range(3):
        bench.loop.turn()
        seen.append(bench.state.text)
    assert seen == ["2", "5", "7"]
