"""A successor has to hold with the units that use it before it takes its name."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.errors import RefusedError, UnavailableError
from ainit.policy import state as life
from ainit.store.admission import Store
from ainit.store.records import Verdict
from ainit.store.service import Library
from ainit.store.trial import CUT_SHORT, Notes, Units, hold
from tests.support.store import FakeCover, Publisher, deliver, onnx, store
from tests.support.wait import wait_for

PUBLISHER = Publisher()
OTHER = onnx(b"other weights")


class Machine:
    """A PID 1 with one unit that names the model. ``bad`` are digests that it does not start
    with; ``later`` are what it does while its clock goes on, a step a look.
    """

    def __init__(self) -> None:
        self.clock = 0.0
        self.unit: dict[str, Any] = {
            "name": "listener", "models": ["speech"], "state": life.READY, "desired": life.UP,
            "spawned_at": 1.0, "reason": "",
        }  # fmt: skip
        self.published: Mapping[str, Any] = {"models": []}
        self.started_with: list[str] = []
        self.bad: set[str] = set()
        self.later: list[Callable[[], None]] = []
        self.deaf = 0

    def units(self) -> Units:
        return Units(ask=self.ask, now=lambda: self.clock, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        if self.later:
            self.later.pop(0)()

    def ask(self, method: str, parameters: Mapping[str, object]) -> Mapping[str, object]:
        if self.deaf:
            self.deaf -= 1
            raise UnavailableError("nobody answers")
        if method == "Status":
            return {"units": [self.unit]}
        if parameters["name"] != self.unit["name"]:
            raise VarlinkError("org.ainos.Control.NoSuchUnit", parameters)
        if method == "Restart":
            self.restart()
            return {}
        return {"unit": dict(self.unit)}

    def restart(self) -> None:
        digest = next((model["digest"] for model in self.published["models"]), "")
        self.started_with.append(digest)
        bad = digest in self.bad
        self.unit["spawned_at"] += 1.0
        self.unit["state"] = life.BACKOFF if bad else life.READY
        self.unit["reason"] = "exited with status 1" if bad else ""

    def change(self, **keys: object) -> Callable[[], None]:
        return lambda: self.unit.update(keys)


class Bench:
    """A library with one model that was admitted, before that machine."""

    def __init__(self, folder: Path, cover: FakeCover) -> None:
        self.folder, self.cover, self.machine = folder, cover, Machine()
        self.adds = 0
        deliver(folder / "models", PUBLISHER)
        self.start()
        self.old = self.speech()["digest"]

    def start(self) -> None:
        """The service starts, as after a boot or a crash."""
        found = store(self.folder / "models", self.cover, PUBLISHER)
        self.library = Library(found, found.run(), self.publish, self.machine.units())
        self.publish(self.library.models())
        self.library.put_back()

    def publish(self, models: Mapping[str, object]) -> None:
        self.machine.published = models

    def speech(self) -> Mapping[str, Any]:
        (model,) = self.machine.published["models"]
        return dict(model)

    def call(self, method: str, **parameters: object) -> Any:
        return self.library.methods()[method](parameters)

    def job(self) -> dict[str, Any]:
        return wait_for(
            lambda: (job := self.call("Job")["job"]) and job["finished"] and job, "the job"
        )

    def add(self, content: bytes = OTHER, hold_s: float | None = 10.0) -> dict[str, Any]:
        self.adds += 1
        path = deliver(self.folder / f"elsewhere-{self.adds}", PUBLISHER, content=content)
        self.call("Add", source=str(path), hold_s=hold_s)
        return self.job()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    cover = FakeCover()
    yield Bench(tmp_path, cover)
    cover.close()


def digest_of(bench: Bench, content: bytes) -> str:
    """What a model's digest is, from a store of its own."""
    deliver(bench.folder / "scratch", PUBLISHER, content=content)
    (verdict,) = store(bench.folder / "scratch", bench.cover, PUBLISHER).run()
    assert isinstance(verdict, Verdict)
    return verdict.digest


def test_a_successor_that_holds_takes_the_name(bench: Bench) -> None:
    assert bench.add()["reason"] == ""
    new = bench.speech()
    assert bench.machine.started_with == [new["digest"]] != [bench.old]
    assert bench.machine.clock >= 10.0
    bench.start()
    assert bench.speech() == new
    assert new["reason"] == ""


def test_a_unit_that_is_not_ready_goes_back(bench: Bench) -> None:
    new = digest_of(bench, OTHER)
    bench.machine.bad = {new}
    why = "listener is not ready with it: exited with status 1"
    assert bench.add()["reason"] == why
    assert bench.machine.started_with == [new, bench.old]
    assert bench.machine.unit["state"] == life.READY
    for _ in range(2):
        model = bench.speech()
        assert (model["digest"], model["state"]) == (bench.old, "admitted")
        assert model["reason"] == f"its successor {new} was not taken: {why}"
        bench.start()
    assert bench.machine.started_with == [new, bench.old]
    bench.machine.bad = set()
    assert bench.add()["reason"] == ""
    assert (bench.speech()["digest"], bench.speech()["reason"]) == (new, "")


def test_what_was_not_taken_takes_no_room(bench: Bench) -> None:
    bench.machine.bad = {digest_of(bench, OTHER)}
    bench.add()
    objects = bench.folder / "models/objects"
    assert [f"sha256:{path.name}" for path in objects.iterdir()] == [bench.old]


def test_a_full_disk_keeps_no_unit_at_the_new_model(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Notes.write

    def full(notes: Notes, name: str, digest: str, units: Any, reason: str = CUT_SHORT) -> None:
        if reason != CUT_SHORT:
            raise OSError(errno.ENOSPC, "no room")
        write(notes, name, digest, units, reason)

    monkeypatch.setattr(Notes, "write", full)
    bench.machine.bad = {digest_of(bench, OTHER)}
    assert "exited with status 1" in bench.add()["reason"]
    assert bench.speech()["digest"] == bench.machine.started_with[-1] == bench.old


def test_a_name_that_cannot_be_written_takes_the_units_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Store, "_name", full)
    assert bench.add()["reason"]
    assert len(bench.machine.started_with) == 2
    assert bench.speech()["digest"] == bench.machine.started_with[-1] == bench.old
    bench.start()
    assert bench.speech()["digest"] == bench.old


def test_a_unit_that_is_held_does_not_keep_the_others_at_the_new_model(bench: Bench) -> None:
    machine, asked = bench.machine, bench.machine.ask
    held = {**machine.unit, "name": "held"}

    def ask(method: str, parameters: Mapping[str, object]) -> Mapping[str, object]:
        if method == "Status":
            return {"units": [held, machine.unit]}
        if parameters["name"] != "held":
            return asked(method, parameters)
        if method == "Restart":
            if held["state"] == life.QUARANTINED:
                raise VarlinkError("org.ainos.Control.Refused", {"reason": "held"})
            held.update(state=life.QUARANTINED, reason="it is held")
        return {"unit": held}

    bench.library._units = Units(ask, lambda: machine.clock, machine.sleep)
    assert "held is not ready with it: it is held" in bench.add()["reason"]
    assert machine.started_with[-1] == bench.speech()["digest"] == bench.old


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": life.BACKOFF, "reason": "its probe failed"}, "its probe failed"),
        ({"spawned_at": 9.0}, "it is ready"),
        ({"state": life.QUARANTINED, "reason": "held"}, "held"),
    ],
)
def test_a_unit_that_does_not_stay_ready_goes_back(
    bench: Bench, change: dict[str, object], why: str
) -> None:
    bench.machine.later = [bench.machine.change(**change)]
    assert bench.add()["reason"] == f"listener did not stay ready with it: {why}"
    assert bench.speech()["digest"] == bench.machine.started_with[-1] == bench.old


def test_a_unit_that_was_stopped_meanwhile_stays_so(bench: Bench) -> None:
    stop = bench.machine.change(state=life.INACTIVE, desired=life.DOWN)
    bench.machine.later = [stop]
    assert "did not stay ready" in bench.add()["reason"]
    assert len(bench.machine.started_with) == 1
    assert bench.speech()["digest"] == bench.old


def test_pid_1_that_begins_anew_is_waited_for(bench: Bench) -> None:
    def begin_anew() -> None:
        bench.machine.deaf = 5

    bench.machine.later = [begin_anew]
    assert bench.add()["reason"] == ""


def test_without_a_unit_that_is_up_there_is_no_trial(bench: Bench) -> None:
    bench.machine.unit["state"] = life.INACTIVE
    assert bench.add()["reason"] == ""
    assert bench.machine.started_with == []
    assert bench.speech()["digest"] != bench.old


def test_without_hold_nothing_is_started_anew(bench: Bench) -> None:
    assert bench.add(hold_s=None)["reason"] == ""
    assert bench.machine.started_with == []
    with pytest.raises(VarlinkError):
        bench.add(hold_s=-1.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_store_that_dies_in_a_trial_comes_back_with_the_old_model(bench: Bench) -> None:
    reached, gone = threading.Event(), threading.Event()

    def die() -> None:
        reached.set()
        gone.wait(60)
        raise SystemExit  # what its thread does after that is nothing

    bench.machine.later = [die]
    path = deliver(bench.folder / "elsewhere", PUBLISHER, content=OTHER)
    dead = bench.library
    bench.call("Add", source=str(path), hold_s=10.0)
    assert reached.wait(60)
    tried = bench.speech()["digest"]
    assert bench.machine.started_with == [tried] != [bench.old]
    bench.start()
    assert bench.job()["reason"] == ""
    assert bench.machine.started_with == [tried, bench.old]
    model = bench.speech()
    assert (model["digest"], model["state"]) == (bench.old, "admitted")
    assert model["reason"] == f"its successor {tried} was not taken: its trial was cut short"
    bench.start()
    assert bench.machine.started_with == [tried, bench.old]
    gone.set()
    ended: Any = dead.methods()["Job"]
    wait_for(lambda: ended({})["job"]["finished"], "the thread to end")


def test_a_unit_that_failed_in_a_trial_that_was_cut_short_is_put_back(bench: Bench) -> None:
    Notes(str(bench.folder / "models")).write("speech", "sha256:0", ["listener", "gone"])
    bench.machine.unit.update(state=life.FAILED, reason="it failed too often")
    bench.start()
    assert bench.job()["reason"] == ""
    assert bench.machine.started_with == [bench.old]
    bench.start()
    assert bench.machine.started_with == [bench.old]


def test_a_unit_that_did_not_start_yet_is_left_to_the_boot(bench: Bench) -> None:
    Notes(str(bench.folder / "models")).write("speech", "sha256:0", ["listener"])
    bench.machine.unit.update(state=life.INACTIVE)
    bench.start()
    assert bench.job()["reason"] == ""
    assert bench.machine.started_with == []


def test_who_is_never_ready_is_not_waited_for_for_ever() -> None:
    machine = Machine()
    machine.unit["state"] = life.STARTING
    with pytest.raises(RefusedError, match="listener not ready with it after 900 s"):
        hold(machine.units(), {"listener": 1.0}, 0.0)
