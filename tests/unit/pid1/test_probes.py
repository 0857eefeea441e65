"""Health probes: when units are asked, what counts, and what a new PID 1 knows of it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.pid1.loop import Loop
from ainit.pid1.probes import Probes
from ainit.policy.plan import Record, Unit
from ainit.wire import protocol
from ainit.wire.protocol import Message
from tests.support import descriptors

EXEC = {"probe_exec": ["/bin/check"], "probe_interval": 10.0, "probe_timeout": 3.0}


def unit(name: str = "a", /, **keys: object) -> Unit:
    return Unit.from_record({"name": name, "kind": "service", **keys})


class Bench:
    """Probes with a clock of their own; commands are numbers, and end when they are told."""

    def __init__(self, journal: Record | None = None, loop: Loop | None = None) -> None:
        self.now = 1000.0
        self.loop = loop or Loop()
        self.spawned: list[tuple[float, str, int]] = []
        self.killed: list[int] = []
        self.reports: list[tuple[str, str]] = []
        self.ready: list[str] = []
        self.calls: list[Callable[[Message | None, str], None]] = []
        self.abandoned = 0
        self.problem: Exception | None = None
        self.journal: Record = {} if journal is None else journal
        self.probes = Probes(
            self.loop,
            spawn=self._spawn,
            kill=self.killed.append,
            call=self._call,
            report=lambda name, words: self.reports.append((name, words)),
            ready=self.ready.append,
            journal=self.journal.__setitem__,
            now=lambda: self.now,
        )
        self.probes.resume(dict(self.journal))

    def _spawn(self, unit: Unit) -> int:
        if self.problem:
            raise self.problem
        pid = 5000 + len(self.spawned)
        self.spawned.append((self.now, unit.name, pid))
        return pid

    def _call(
        self, name: str, request: bytes, on_reply: Callable[[Message | None, str], None]
    ) -> Callable[[], None]:
        assert protocol.Inbox().feed(request)[0]["method"] == "org.varlink.service.GetInfo"
        self.calls.append(on_reply)

        def abandon() -> None:
            self.abandoned += 1

        return abandon

    def until(self, at: float) -> None:
        """Let time pass, going from deadline to deadline."""
        while True:
            deadline = self.probes.hook(self.now)
            assert not deadline or deadline > self.now
            if not deadline or deadline > at:
                break
            self.now = deadline
        self.now = at
        self.probes.hook(at)

    def attempts(self, seconds: float, status: int | None = 0) -> list[float]:
        """When a command was started; each ends at once with ``status``, or not at all."""
        end, seen = self.now + seconds, len(self.spawned)
        while self.now <= end:
            self.probes.hook(self.now)
            for _, _, pid in self.spawned[seen:]:
                if status is not None and self.probes.owns(pid):
                    assert self.probes.exited(pid, status)
            following = self.probes.hook(self.now) or end + 1
            if following > end:
                break
            self.now = following
        self.now = end
        return [at for at, _, _ in self.spawned[seen:]]


def test_a_healthy_unit_is_asked_at_its_interval_and_not_reported() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC), starting=False)
    times = bench.attempts(50)
    assert 0.0 <= times[0] - 1000.0 < 10.0
    assert times == pytest.approx([times[0] + 10.0 * number for number in range(5)])
    assert bench.reports == []
    assert not any(bench.journal.values())


def test_so_many_failures_in_a_row_are_reported_and_counted_anew() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC, probe_failures=3), starting=False)
    bench.attempts(20, status=1)
    bench.attempts(10, status=0)
    assert bench.reports == []
    bench.attempts(30, status=1)
    why = "its probe failed 3 times in a row: /bin/check exited with status 1"
    assert bench.reports == [("a", why)]
    bench.attempts(30, status=-9)
    assert len(bench.reports) == 2


def test_a_single_failure_can_be_enough() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC, probe_failures=1), starting=False)
    bench.attempts(10, status=2)
    assert bench.reports == [("a", "its probe failed: /bin/check exited with status 2")]


def test_a_command_that_hangs_is_killed_and_counts_as_a_failure() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC, probe_failures=1), starting=False)
    (at,) = bench.attempts(10, status=None)
    bench.until(at + 3.0)
    assert bench.killed == [5000]
    assert bench.reports == [("a", "its probe failed: no success in 3 s")]
    assert bench.probes.exited(5000, -9)
    assert len(bench.reports) == 1
    assert len(bench.attempts(10)) == 1


def test_a_command_that_cannot_even_be_killed_has_no_second_beside_it() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC, probe_failures=2), starting=False)
    assert len(bench.attempts(35, status=None)) == 1
    assert len(bench.reports) == 1
    assert bench.reports[0][1].endswith("its command of before, which took 3 s, is not gone")
    bench.probes.exited(5000, -9)
    assert len(bench.attempts(10)) == 1


def test_a_timeout_longer_than_the_interval_skips_questions() -> None:
    bench = Bench()
    slow = {**EXEC, "probe_timeout": 25.0}
    bench.probes.watch(unit(**slow, probe_failures=1), starting=False)
    assert len(bench.attempts(30, status=None)) == 1
    assert bench.killed == []
    bench.until(bench.now + 10)
    assert bench.killed == [5000]


def test_a_unit_that_stops_is_not_asked_any_more_and_its_command_is_ended() -> None:
    bench = Bench()
    bench.probes.watch(unit(**EXEC), starting=False)
    bench.attempts(10, status=None)
    bench.probes.unwatch("a")
    assert bench.killed == [5000]
    assert bench.attempts(100, status=None) == []
    assert bench.probes.exited(5000, -9)
    assert not bench.probes.exited(5000, 0)
    assert not any(bench.journal.values())
    assert bench.reports == []


def test_a_unit_without_a_probe_is_left_alone() -> None:
    bench = Bench()
    bench.probes.watch(unit(), starting=False)
    bench.probes.watch(unit(**EXEC), starting=True)  # its probe says nothing of readiness
    bench.probes.unwatch("never seen")
    assert bench.probes.hook(1e9) == 0.0
    assert not bench.probes.exited(1, 0)


def test_readiness_is_asked_for_often_and_failures_before_it_do_not_count() -> None:
    bench = Bench()
    starting = unit(**EXEC, probe_readiness=True, probe_failures=1)
    bench.probes.watch(starting, starting=True)
    times = bench.attempts(1.0, status=1)
    assert times == pytest.approx([1000.0, 1000.1, 1000.3, 1000.7])
    assert (bench.ready, bench.reports) == ([], [])
    bench.attempts(1.0, status=0)
    assert bench.ready == ["a"]
    bench.probes.watch(starting, starting=False)
    assert len(bench.attempts(10, status=1)) == 1
    assert len(bench.reports) == 1
    assert bench.ready == ["a"]


def test_probes_of_many_units_do_not_come_together() -> None:
    bench = Bench()
    for number in range(1000):
        bench.probes.watch(unit(f"u{number}", **EXEC), starting=False)
    times = sorted(bench.attempts(10))
    assert len(times) == 1000
    most = max(sum(at <= other < at + 0.1 for other in times) for at in times)
    assert most < 60


def test_units_that_come_and_go_leave_nothing_behind() -> None:
    bench = Bench()
    for _ in range(2000):
        bench.probes.watch(unit(**EXEC), starting=False)
        bench.probes.unwatch("a")
    assert len(bench.probes._heap) < 100


def test_a_report_may_end_the_watching() -> None:
    bench = Bench()
    bench.probes._report = lambda name, words: bench.probes.unwatch(name)
    bench.probes.watch(unit(**EXEC, probe_failures=1), starting=False)
    assert len(bench.attempts(100, status=1)) == 1
    assert not any(bench.journal.values())


@pytest.mark.parametrize(
    ("problem", "failed"),
    [
        (OSError(errno.EMFILE, "too many"), False),
        (OSError(errno.ENOMEM, "no memory"), False),
        (OSError(errno.ENOENT, "no group"), True),
        (RefusedError("no such user"), True),
    ],
)
def test_what_pid_1_lacks_is_no_failure_of_the_unit(problem: Exception, failed: bool) -> None:
    bench = Bench()
    bench.problem = problem
    bench.probes.watch(unit(**EXEC, probe_failures=1), starting=False)
    bench.until(1010.0)
    assert bool(bench.reports) == failed
    bench.problem = None
    assert len(bench.attempts(10)) == 1


def test_a_new_pid_1_counts_on_and_waits_for_the_command_that_runs() -> None:
    bench = Bench()
    asked = unit(**EXEC, probe_failures=2)
    bench.probes.watch(asked, starting=False)
    bench.attempts(10, status=1)
    bench.attempts(10, status=None)
    later = Bench(bench.journal)
    assert later.probes.owns(5001)
    later.probes.watch(asked, starting=False)
    assert later.probes.to_record() == {"a": {"failures": 1, "pid": 5001}}
    assert later.attempts(2.0, status=None) == []
    assert later.probes.exited(5001, 1)
    assert len(later.reports) == 1


@pytest.mark.parametrize("failures", [0, 1])
def test_a_command_that_ends_while_nobody_waits_for_it_is_forgotten(failures: int) -> None:
    """PID 1 faults in the middle of a soft reboot: its successor does not ask any more, and buries
    the command; the one after that must not wait for it.
    """
    bench = Bench({"a": {"failures": failures, "pid": 77}})
    assert bench.probes.exited(77, 15)
    assert bench.journal["a"] == ({"failures": 1, "pid": 0} if failures else {})
    bench = Bench(bench.journal)
    assert not bench.probes.owns(77)
    bench.probes.watch(unit(**EXEC), starting=False)
    assert bench.attempts(30.0)
    assert bench.reports == []


def test_a_new_pid_1_kills_the_command_that_hangs_and_buries_one_that_ended() -> None:
    kept: Record = {"a": {"failures": 0, "pid": 77}, "b": {"failures": 1, "pid": 78}}
    bench = Bench(kept)
    assert bench.probes.exited(78, 0)  # before its unit is watched
    for name in ("a", "b"):
        bench.probes.watch(unit(name, **EXEC), starting=False)
    bench.until(1003.0)
    assert bench.killed == [77]


def test_a_journal_of_another_version_does_no_harm() -> None:
    bench = Bench({"a": {"failures": "x", "pid": "y"}, "b": 5})
    bench.probes.watch(unit(**EXEC), starting=False)
    assert len(bench.attempts(10)) == 1


VARLINK = {"probe_varlink": "org.x", "probe_interval": 10.0, "probe_failures": 1}


@pytest.mark.parametrize(
    ("message", "problem", "words"),
    [
        ({"parameters": {"interfaces": ["org.varlink.service", "org.x"]}}, "", None),
        ({"parameters": {"interfaces": ["org.y"]}}, "", "org.x is not among the interfaces"),
        ({"parameters": {}}, "", "org.x is not among the interfaces"),
        ({}, "", "org.x is not among the interfaces"),
        ({"error": "org.x.Broken"}, "", "org.x answered Broken"),
        (None, "the service hung up", "the service hung up"),
    ],
)
def test_a_varlink_probe_wants_its_interface_named(
    message: Message | None, problem: str, words: str | None
) -> None:
    bench = Bench()
    bench.probes.watch(unit(**VARLINK), starting=False)
    bench.until(1010.0)
    bench.calls[0](message, problem)
    bench.calls[0](message, problem)  # a second answer changes nothing
    expected = [] if words is None else [("a", f"its probe failed: {words}")]
    assert [(name, said[: len(expected[0][1])]) for name, said in bench.reports] == expected


def test_a_varlink_probe_that_nobody_answers_is_abandoned() -> None:
    bench = Bench()
    bench.probes.watch(unit(**VARLINK), starting=False)
    bench.until(1014.9)
    assert bench.abandoned == 1
    assert bench.reports == [("a", "its probe failed: no success in 5 s")]


def connecting(address: str, **keys: object) -> tuple[Bench, Unit]:
    bench = Bench()
    bench.loop.hook(lambda now: now + 0.001)
    found = unit(probe_connect=address, probe_interval=1.0, probe_failures=1, **keys)
    bench.probes.watch(found, starting=False)
    return bench, found


def test_a_connection_that_is_taken_is_health(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sockets / "x"))
        server.listen()
        bench, _ = connecting(f"unix:{sockets}/x")
        bench.until(1001.0)
        server.accept()[0].close()
        server.close()
        bench.until(1002.0)
    assert bench.reports == [("a", f"its probe failed: unix:{sockets}/x: Connection refused")]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_tcp_connection_is_made_without_waiting(host: str) -> None:
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as server:
        port = server.getsockname()[1]
        bench, _ = connecting(f"tcp:{host}:{port}")
        before = len(descriptors.at_first())
        bench.until(1001.0)
        bench.loop.turn()
        server.accept()[0].close()
        assert bench.reports == []
    bench.until(1002.0)
    while not bench.reports:
        bench.loop.turn()
    assert bench.reports == [("a", f"its probe failed: tcp:{host}:{port}: Connection refused")]
    assert len(descriptors.now()) == before - 1  # less the server itself


def test_a_connection_to_nowhere_is_given_up_at_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # the one place in its queue
            bench, _ = connecting(f"tcp:127.0.0.1:{port}", probe_timeout=2.0)
            bench.until(1001.0)
            bench.loop.turn()
            before = len(descriptors.at_first())
            assert bench.reports == []
            bench.until(1003.0)
            assert bench.reports == [("a", "its probe failed: no success in 2 s")]
            bench.probes.unwatch("a")
            assert len(descriptors.now()) == before - 1
            bench.loop.turn()


def test_a_full_queue_is_no_health(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(sockets / "x"))
        server.listen(0)
        client.connect(str(sockets / "x"))
        bench, _ = connecting(f"unix:{sockets}/x")
        bench.until(1001.0)
    assert bench.reports[0][1].endswith("x: nobody accepts the connections that wait there")
