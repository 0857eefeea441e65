"""Pipes and rings together: what is written is read, and none waits for another."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from ainit.constants import LOG_RING_BYTES
from ainit.pid1 import logs as module
from ainit.pid1.lines import Record
from ainit.pid1.logs import PIPE, RING, Logs
from ainit.pid1.loop import Loop
from ainit.pid1.ring import READ_BYTES, Ring
from tests.support import descriptors
from tests.support.log_host import Keeper
from tests.support.units import make_unit

ALL = 1 << 40


class Machine:
    """Logs on a loop that never waits."""

    def __init__(self) -> None:
        self.keeper = Keeper()
        self.start()

    def start(self) -> None:
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.001)
        self.logs = Logs(self.loop, self.keeper)

    def stop(self) -> None:
        """Close what is not kept."""
        self.loop._poll.close()
        self.loop._hurry.close()
        self.logs._poll.close()

    def start_over(self) -> None:
        """As after a fault: nothing is left but what was kept."""
        self.stop()
        self.start()
        self.logs.resume({**self.keeper.of(PIPE), **self.keeper.of(RING)})

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.turn()

    def lines(self, unit: str | None) -> list[str]:
        return texts(self.logs.select(unit, 100_000)[0])


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    for descriptor in made.keeper.kept:
        os.close(descriptor)


def texts(lines: list[Record]) -> list[str]:
    return [str(line["text"]) for line in lines]


def test_what_a_service_writes_is_read_and_its_last_line_when_it_is_gone(machine: Machine) -> None:
    writer = machine.logs.pipe("u")
    os.write(writer, b"one\ntwo")
    machine.turn()
    assert machine.lines("u") == ["one"]
    os.close(writer)
    machine.turn(2)
    assert machine.lines("u") == ["one", "two"]
    assert [role[0] for role in machine.keeper.kept.values()] == [RING]


def test_two_incarnations_may_write_at_once(machine: Machine) -> None:
    old, new = machine.logs.pipe("u"), machine.logs.pipe("u")
    os.write(old, b"old ")
    os.write(new, b"new ")
    machine.turn(2)
    os.write(old, b"line\n")
    os.close(old)
    os.write(new, b"line\n")
    machine.turn(4)
    os.write(new, b"newer\n")
    os.close(new)
    machine.turn(4)
    assert sorted(machine.lines("u")) == ["new line", "newer", "old line"]
    assert machine.logs.dropped("u") == 0


def test_pid_1s_words_never_run_into_a_partial_line(machine: Machine) -> None:
    writer = machine.logs.pipe("u")
    os.write(writer, b"half")
    machine.turn()
    machine.logs.say("u", "ready")
    os.write(writer, b" and half\n")
    machine.turn()
    assert machine.lines("u") == ["ready", "half and half"]
    os.close(writer)


def test_who_starts_over_goes_on_in_the_middle_of_a_line(machine: Machine) -> None:
    writer = machine.logs.pipe("u")
    quiet = machine.logs.pipe("quiet")
    machine.logs.say("u", "starting")
    os.write(writer, b"half")
    machine.turn()
    _, cursor, _ = machine.logs.read("u", 0, ALL)
    os.write(writer, b" and half\nmo")
    os.write(quiet, b"first\n")
    machine.start_over()
    os.write(writer, b"re\n")
    machine.turn(2)
    assert texts(machine.logs.read("u", cursor, ALL)[0]) == ["half and half", "more"]
    assert machine.lines("u") == ["starting", "half and half", "more"]
    assert machine.lines("quiet") == ["first"]
    os.close(writer)
    os.close(quiet)
    machine.start_over()
    machine.turn(2)
    assert {role[0] for role in machine.keeper.kept.values()} == {RING}


def test_a_flood_leaves_the_others_their_turn_and_costs_its_own_oldest_bytes(
    machine: Machine,
) -> None:
    floods = [machine.logs.pipe(f"flood{number}") for number in range(3)]
    quiet = machine.logs.pipe("quiet")
    for writer in floods:
        os.set_blocking(writer, False)
    for turn in range(60):
        for writer in floods:
            try:
                while True:
                    os.write(writer, b"x" * 99 + b"\n")
            except BlockingIOError:
                pass
        os.write(quiet, b"%d\n" % turn)
        machine.turn()
        assert machine.lines("quiet")[-1] == str(turn)
    for number in range(3):
        lines, dropped = machine.logs.select(f"flood{number}", 100_000)
        assert set(texts(lines)) == {"x" * 99}
        assert len(lines) * 100 + dropped == 60 * READ_BYTES // 100 * 100 or dropped > 0
        assert machine.logs.head(f"flood{number}") == 60 * READ_BYTES
        assert machine.logs._rings[f"flood{number}"].size <= LOG_RING_BYTES
    for writer in (*floods, quiet):
        os.close(writer)


def test_a_unit_may_have_a_ring_of_its_own_size(machine: Machine) -> None:
    machine.logs.configure([make_unit("small", log_ring=4096), make_unit("other")])
    for number in range(1000):
        machine.logs.say("small", f"line {number}")
        machine.logs.say("other", f"line {number}")
    assert machine.logs._rings["small"].size <= 4096
    assert machine.lines("small")[-1] == "line 999"
    assert (machine.logs.dropped("small") > 0, machine.logs.dropped("other")) == (True, 0)


def test_the_ring_keeps_its_descriptor_whatever_it_drops(machine: Machine) -> None:
    machine.logs.configure([make_unit("u", log_ring=4096)])
    for number in range(1000):
        machine.logs.say("u", f"line {number}")
    machine.start_over()
    machine.logs.say("u", "on")
    assert machine.lines("u")[-2:] == ["line 999", "on"]
    (ring,) = machine.keeper.kept
    assert os.get_inheritable(ring)


def test_the_last_lines_of_one_unit_or_of_all_in_order_of_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unit, number in (("a", 1), ("b", 2), ("a", 3)):
        monkeypatch.setattr(module, "_microseconds", lambda at=number: at * 1_000_000)
        machine.logs.say(unit, f"{unit}{number}")
    found = [texts(machine.logs.select(None, count)[0]) for count in (0, 1, 2, 9)]
    assert found == [[], ["a3"], ["b2", "a3"], ["a1", "b2", "a3"]]
    one = [texts(machine.logs.select("a", count)[0]) for count in (1, 9)]
    assert one == [["a3"], ["a1", "a3"]]
    assert machine.logs.select("silent", 9) == ([], 0)
    assert machine.logs.read("silent", 5, 9) == ([], 0, 0)


def test_the_last_lines_of_many_units_are_the_last_ones(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(2000):
        monkeypatch.setattr(module, "_microseconds", lambda at=at: at)
        machine.logs.say(f"u{at * at % 37}", str(at))
    for count in (1, 7, 100, 1500):
        expected = [str(at) for at in range(2000 - count, 2000)]
        assert texts(machine.logs.select(None, count)[0]) == expected


def test_volatile_units_are_left_out_of_what_is_kept(machine: Machine) -> None:
    machine.logs.configure([make_unit("a"), make_unit("b", log_persistent=False)])
    machine.logs.say("a", "one")
    machine.logs.say("b", "two")
    assert machine.logs.names() == ["a", "b"]
    assert machine.logs.names(persistent=True) == ["a"]
    assert machine.logs.names("b", persistent=True) == []
    assert texts(machine.logs.select(None, 9, persistent=True)[0]) == ["one"]


def test_without_memory_bytes_wait_and_pid_1_does_not_spin(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def move(self: Ring, pipe: int, flags: int, now: int) -> int:
        tried.append(pipe)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    writer = machine.logs.pipe("u")
    os.write(writer, b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(Ring, "move", move)
        machine.turn(20)
    assert len(tried) == 1
    assert machine.lines("u") == []
    machine.logs._retry(machine.logs._retry_at)
    machine.turn()
    assert machine.lines("u") == ["one"]
    os.close(writer)


@pytest.mark.parametrize("part", ["keep", "register"])
def test_a_pipe_that_cannot_be_had_leaves_nothing_open(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    machine.logs.say("u", "starting")
    before = descriptors.at_first()

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    what, name = (Keeper, "keep") if part == "keep" else (Logs, "_watch")
    monkeypatch.setattr(what, name, fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        machine.logs.pipe("u")
    assert descriptors.now() == before
    machine.turn()


def test_words_without_memory_are_lost_and_nothing_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Ring, "make", fail)
        machine.logs.say("u", "lost")
    machine.logs.say("u", "said")
    assert machine.lines("u") == ["said"]


def test_followers_are_told_which_unit_has_something_new(machine: Machine) -> None:
    class Follower:
        def __init__(self) -> None:
            self.marked: list[str] = []

        def mark(self, unit: str) -> None:
            self.marked.append(unit)

    follower = Follower()
    machine.logs.followers.append(follower)
    writer = machine.logs.pipe("u")
    machine.logs.say("v", "said")
    assert follower.marked == ["v"]
    os.write(writer, b"half")
    machine.turn()
    os.close(writer)
    machine.turn()
    assert follower.marked == ["v", "u", "u"]


def test_a_unit_costs_two_descriptors_and_little_memory(machine: Machine) -> None:
    before = len(descriptors.at_first())
    writers = [machine.logs.pipe(f"u{number}") for number in range(100)]
    for writer in writers:
        os.close(writer)
    assert len(descriptors.now()) - before == 200
    ring = machine.logs._rings["u0"]
    own = sum(sys.getsizeof(value) for value in (ring.descriptor, ring._last, ring._seq, 1000))
    tables = (machine.logs._rings, machine.logs._pipes)
    assert sys.getsizeof(ring) + own + sum(sys.getsizeof(table) / 100 for table in tables) <= 350
    machine.turn(7)
    assert len(descriptors.now()) - before == 100


class Fault(BaseException):
    """What nobody expects."""


def test_a_fault_at_any_line_loses_and_repeats_nothing() -> None:
    """Three incarnations of a service write and end; PID 1 faults at one line of its own code
    after the other, starts over from what was kept, and goes on.
    """
    at = 0
    opened = descriptors.at_first()
    while True:
        at += 1
        machine = Machine()
        machine.logs.configure([make_unit("u", log_ring=4096)])
        tracer = Tracer(at)
        expected: list[str] = []
        for step in range(3):
            writer = machine.logs.pipe("u")
            for number in range(2):
                lines = [f"{step} {number} {'x' * 300} {line}" for line in range(4)]
                text = "\n".join(lines) + ("\n" if number == 0 else "")
                os.write(writer, text.encode())
                expected += lines
                if number == 1:
                    os.close(writer)
                while machine.keeper.of(PIPE):
                    before = machine.logs.head("u")
                    try:
                        with tracer:
                            machine.turn()
                    except Fault:
                        machine.start_over()
                        machine.logs.configure([make_unit("u", log_ring=4096)])
                        continue
                    if number == 0 and machine.logs.head("u") == before:
                        break
        found = machine.lines("u")
        assert found == expected[-len(found) :], f"a fault at line {tracer.where}"
        assert len(found) >= 4
        machine.stop()
        for name in descriptors.now() - opened:
            try:
                os.close(int(name))  # as the journal does with what a fault left open
            except OSError:
                pass  # the listing itself
        if not tracer.where:
            break
    assert at > 200


Line = Callable[[FrameType, str, object], Any]


class Tracer:
    """Raises a fault at the ``at``-th line of the logs' own code; ``where`` that was."""

    FILES = (module.__file__, sys.modules[Ring.__module__].__file__)

    def __init__(self, at: int) -> None:
        self._left = at
        self.where = ""

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Line | None:
        return self._line if frame.f_code.co_filename in self.FILES else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Line:
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise Fault(self.where)
        return self._line
