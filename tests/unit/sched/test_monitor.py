"""Threads that read and listen, so that nobody waits for a GPU in trouble."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ainit.sched.errors import GpuError, GpuMissingError
from ainit.sched.monitor import Monitor
from ainit.sched.readings import STALE_AFTER_S, Reading
from tests.support.wait import wait_for
from tests.unit.sched.fake_health import GPU0, GPU1, FakeHealth, FakeListener

LONG_S = 60.0


class Bench:
    """A monitor of fake GPUs, with a clock that stands."""

    def __init__(self) -> None:
        self.health = FakeHealth()
        self.now = 100.0
        self.wakes = threading.Semaphore(0)
        self.monitor = Monitor(self.health, self.wakes.release, lambda: self.now, LONG_S)

    def watch(self) -> None:
        self.monitor.watch(self.health.uuids(), LONG_S)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("ainit.sched.monitor.LISTEN_MS", 20)
    made = Bench()
    yield made
    for uuid in list(made.health._open):
        made.health.go_on(uuid)
    assert made.monitor.stop(LONG_S)


def test_what_is_watched_is_read_at_once(bench: Bench) -> None:
    bench.watch()
    shots = bench.monitor.shots()
    assert {uuid: shot.reading for uuid, shot in shots.items()} == {
        uuid: bench.health.read(uuid) for uuid in (GPU0, GPU1)
    }
    assert [shot.taken_at for shot in shots.values()] == [100.0, 100.0]
    assert bench.wakes.acquire(timeout=LONG_S)


def test_a_refresh_reads_anew(bench: Bench) -> None:
    bench.watch()
    bench.health.set(GPU1, temperature_c=80)
    bench.now = 105.0
    bench.monitor.refresh(LONG_S)
    shots = bench.monitor.shots()
    assert shots[GPU1].reading == bench.health.read(GPU1)
    assert shots[GPU1].taken_at == 105.0


def test_a_call_that_hangs_holds_up_no_other_gpu(bench: Bench) -> None:
    bench.watch()
    bench.health.hang(GPU0)
    bench.now = 100.0 + STALE_AFTER_S + 1
    bench.monitor.refresh()
    wait_for(lambda: bench.monitor.shots()[GPU1].taken_at == bench.now, "the other GPU's reading")
    wait_for(lambda: bench.monitor.shots()[GPU0].busy_since == bench.now, "the call that hangs")
    stuck, other = bench.monitor.shots()[GPU0], bench.monitor.shots()[GPU1]
    assert (stuck.is_stale(bench.now), other.is_stale(bench.now)) == (True, False)
    assert stuck.reading is not None  # the last one is still there, and said to be old
    bench.health.go_on(GPU0)
    bench.monitor.refresh(LONG_S)
    assert not bench.monitor.shots()[GPU0].is_stale(bench.now)


def test_a_gpu_that_hangs_from_the_start_holds_up_the_start_for_a_bounded_time(
    bench: Bench,
) -> None:
    bench.health.hang(GPU0)
    bench.monitor.watch(bench.health.uuids(), 0.0)
    wait_for(lambda: bench.monitor.shots()[GPU1].taken_at is not None, "the other GPU's reading")
    assert bench.monitor.shots()[GPU0].is_stale(bench.now)


def test_a_lost_gpu_is_named_and_keeps_its_last_reading(bench: Bench) -> None:
    bench.watch()
    before = bench.monitor.shots()[GPU0].reading
    bench.health.lose(GPU0)
    bench.monitor.refresh(LONG_S)
    shot = bench.monitor.shots()[GPU0]
    assert (shot.is_lost, shot.reading) == (True, before)
    assert "GPU is lost" in shot.problem
    bench.health.bring_back(GPU0)
    bench.monitor.refresh(LONG_S)
    assert not bench.monitor.shots()[GPU0].is_lost


def test_a_reading_that_fails_is_a_problem_and_no_loss(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.watch()

    def fail(uuid: str) -> Reading:
        raise GpuError(f"reading {uuid}: Unknown Error")

    monkeypatch.setattr(bench.health, "read", fail)
    bench.monitor.refresh(LONG_S)
    shot = bench.monitor.shots()[GPU0]
    assert (shot.is_lost, shot.problem) == (False, f"reading {GPU0}: Unknown Error")


def test_a_driver_that_was_loaded_anew_is_to_be_opened_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.watch()

    def closed(uuid: str) -> Reading:
        raise GpuMissingError(f"reading {uuid}: Uninitialized")

    monkeypatch.setattr(bench.health, "read", closed)
    bench.monitor.refresh(LONG_S)
    shot = bench.monitor.shots()[GPU0]
    assert (shot.is_closed, shot.is_lost, shot.reading is None) == (True, False, False)


def test_xids_are_kept_in_order_until_they_are_taken(bench: Bench) -> None:
    bench.watch()
    for code in (13, 79, 94):
        bench.health.xid(GPU1, code)
    heard: list[int] = []

    def all_came() -> bool:
        heard.extend(event.code for event in bench.monitor.heard())
        return len(heard) == 3

    wait_for(all_came, "three Xids")
    assert heard == [13, 79, 94]
    assert bench.monitor.heard() == []


def test_a_listener_that_fails_is_made_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML ends the wait of a set when one of its GPUs is lost."""
    made: list[FakeListener] = []

    class Failing(FakeListener):
        def wait(self, timeout_ms: int) -> None:
            raise GpuError("hearing Xids: GPU is lost")

    def listen(uuids: tuple[str, ...]) -> FakeListener:
        kind = FakeListener if made else Failing
        made.append(kind(bench.health, uuids))
        bench.health.listeners.add(made[-1])
        return made[-1]

    monkeypatch.setattr(bench.health, "listen", listen)
    monkeypatch.setattr("ainit.sched.monitor.AGAIN_S", 0.0)
    bench.watch()
    wait_for(lambda: len(made) == 2, "the second listener")
    bench.health.xid(GPU0, 79)
    wait_for(lambda: [event.code for event in bench.monitor.heard()] == [79], "the Xid")
    assert made[0] not in bench.health.listeners


def test_what_is_no_longer_watched_is_forgotten(bench: Bench) -> None:
    bench.watch()
    bench.monitor.watch((GPU1,), LONG_S)
    assert list(bench.monitor.shots()) == [GPU1]


def test_one_that_comes_is_heard_too(bench: Bench) -> None:
    bench.monitor.watch((GPU0,), LONG_S)
    bench.watch()
    bench.health.xid(GPU1, 79)
    wait_for(lambda: [event.code for event in bench.monitor.heard()] == [79], "the Xid")


def test_a_stop_says_whether_a_call_still_hangs(bench: Bench) -> None:
    bench.watch()
    bench.health.hang(GPU0)
    bench.monitor.refresh()
    wait_for(lambda: bench.monitor.shots()[GPU0].busy_since is not None, "the call that hangs")
    assert not bench.monitor.stop(0.0)
