"""The queue at work, on a fake driver: every message is held against the interface description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.sched import decide, place
from ainit.sched.decide import Decider
from ainit.sched.errors import GpuError
from ainit.sched.journal import Journal
from ainit.sched.opening import Opening
from ainit.sched.round_records import CLAIM_S, UNCOLLECTED_S
from ainit.sched.service import Scheduler
from tests.support.idl import Interface
from tests.unit.sched.fake_nvml import FakeNvml

GPU = Interface.named("org.ainos.Gpu")


@dataclass
class Answer:
    """What the service said, whether it granted or not."""

    granted: bool
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> list[str]:
        return list(self.values["ready"])

    @property
    def move(self) -> list[str]:
        return list(self.values["move"])


class Hall:
    """The service, a clock, and units that ask as PID 1 does."""

    def __init__(self, folder: Path, *boards: str, **settings: object) -> None:
        self.now = 1000.0
        self.gpus = FakeNvml(*(boards or ("H100-80GB",)))
        self.folder = folder
        self.settings = settings
        self.restart()

    def restart(self) -> None:
        decider = Decider(None, decide.MISSING, "no policy was handed over")
        journal = Journal(str(self.folder / "journal.json"))
        self.scheduler = Scheduler(
            Opening(lambda: self.gpus, journal, now=lambda: self.now),
            decider,
            50.0,
            lambda: self.now,
            settings=self.settings,
            queue_path=str(self.folder / "queue.json"),
        )

    def call(self, method: str, **parameters: object) -> Mapping[str, Any]:
        reply = GPU.asked(self.scheduler.methods(), method, parameters)
        self.never_overlapping()
        return reply

    def never_overlapping(self) -> None:
        for device in self.gpus.devices():
            assert sum(each.size for each in device.instances) == device.occupied.bit_count()

    def ask(self, name: str, *profiles: str, kind: str = "job", **more: object) -> Answer:
        request = {"kind": kind, "profiles": list(profiles), "owner": kind, "priority": 0}
        request |= {"waits": True, "since": self.now, **more}
        try:
            reply = self.call("Allocate", agent=name, profile=profiles[0], request=request)
        except VarlinkError as error:
            if not error.name.endswith(".Queued"):
                raise
            return Answer(False, error.parameters)
        return Answer(True, reply)

    def agent(self, name: str, *profiles: str, **more: object) -> Answer:
        return self.ask(name, *profiles, kind="agent", **more)

    def release(self, name: str) -> Answer:
        return Answer(True, self.call("Release", agent=name))

    def queue(self) -> list[Mapping[str, Any]]:
        return list(self.call("Queue")["waiting"])

    def held(self) -> dict[str, tuple[int, str, int]]:
        """Unit → GPU, profile, start."""
        return {
            each["agent"]: (device["index"], each["profile"], each["start"])
            for device in self.call("Status")["devices"]
            for each in device["instances"]
            if each["agent"]
        }


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def test_who_finds_room_has_it_at_once(hall: Hall) -> None:
    answer = hall.ask("a.job", "2g.20gb")
    assert answer.granted
    assert answer.values["profile"] == "2g.20gb"
    assert hall.queue() == []


def test_who_finds_none_is_told_where_he_stands(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    first, second = hall.ask("b.job", "3g.40gb"), hall.ask("c.job", "1g.10gb")
    assert not first.granted
    assert (first.values["position"], first.values["of"]) == (1, 1)
    assert (second.values["position"], second.values["of"]) == (2, 2)
    assert "no GPU has room for 3g.40gb" in first.values["reason"]
    assert 0 < first.values["retry_s"] <= 15
    assert [each["name"] for each in hall.queue()] == ["b.job", "c.job"]


def test_what_is_released_goes_to_those_who_wait_and_they_are_named(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "3g.40gb")
    hall.ask("c.job", "3g.40gb")
    hall.ask("d.job", "3g.40gb")
    assert hall.release("a.job").ready == ["b.job", "c.job"]
    assert hall.ask("b.job", "3g.40gb").granted
    assert not hall.ask("d.job", "3g.40gb").granted
    assert hall.held().keys() == {"b.job", "c.job"}


def test_asking_for_another_names_those_whose_turn_came_meanwhile(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "1g.10gb")
    hall.gpus.reboot()  # the instance is gone, and nobody said so
    assert hall.ask("c.job", "1g.10gb").ready == ["b.job"]


def test_any_of_several_profiles_will_do(hall: Hall) -> None:
    hall.ask("a.job", "4g.40gb")
    answer = hall.ask("b.job", "7g.80gb", "3g.40gb")
    assert answer.granted
    assert answer.values["profile"] == "3g.40gb"


def test_an_agent_gets_what_it_likes_best_if_there_is_room(hall: Hall) -> None:
    assert hall.agent("a", "4g.40gb", "1g.10gb").values["profile"] == "4g.40gb"
    assert hall.agent("b", "4g.40gb", "1g.10gb").values["profile"] == "1g.10gb"


def test_an_agent_goes_before_jobs_that_wait(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "7g.80gb", priority=100)
    hall.agent("web", "7g.80gb")
    assert hall.release("a.job").ready == ["web"]


def test_room_is_kept_for_an_agent_that_waits(hall: Hall) -> None:
    """Else small jobs would keep the large slices from ever being free together."""
    hall.ask("a.job", "3g.40gb", estimate_s=100)
    hall.ask("b.job", "3g.40gb", estimate_s=300)
    waits = hall.agent("web", "7g.80gb")
    assert "room for 7g.80gb is kept on GPU 0, in" in waits.values["reason"]
    hall.release("a.job")
    assert not hall.ask("c.job", "1g.10gb").granted
    assert hall.release("b.job").ready == ["web"]


def test_room_is_kept_for_a_job_that_has_waited_too_long(tmp_path: Path) -> None:
    hall = Hall(tmp_path, wait_max_s=600.0)
    hall.ask("a.job", "3g.40gb")
    hall.ask("b.job", "7g.80gb")
    assert hall.ask("c.job", "1g.10gb").granted
    hall.now += 600.0
    assert not hall.ask("d.job", "1g.10gb").granted
    hall.release("a.job")
    assert hall.release("c.job").ready == ["b.job"]


def test_a_higher_priority_is_served_first(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "7g.80gb")
    hall.ask("c.job", "7g.80gb", priority=50)
    assert hall.release("a.job").ready == ["c.job"]


def test_a_shorter_job_is_served_first(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "7g.80gb", estimate_s=7200)
    hall.ask("c.job", "7g.80gb", estimate_s=60)
    assert hall.release("a.job").ready == ["c.job"]


def test_who_leaves_the_queue_is_not_served(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "7g.80gb")
    hall.release("b.job")
    assert hall.release("a.job").ready == []
    assert hall.held() == {}


def test_who_would_not_wait_does_not(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    with pytest.raises(VarlinkError, match="NoCapacity"):
        hall.agent("b", "1g.10gb", waits=False)
    assert hall.queue() == []


def test_a_grant_that_nobody_fetches_goes_back(hall: Hall) -> None:
    hall.ask("a.job", "7g.80gb")
    hall.ask("b.job", "7g.80gb")
    hall.release("a.job")
    hall.now += UNCOLLECTED_S + 1
    assert hall.ask("c.job", "7g.80gb").granted


def test_a_restart_of_the_service_forgets_no_holder_and_no_share(hall: Hall) -> None:
    hall.ask("a.job", "3g.40gb", owner="kim")
    hall.now += 3600.0
    hall.ask("b.job", "4g.40gb", owner="ada")
    hall.restart()
    hall.ask("c.job", "7g.80gb", owner="kim")
    hall.ask("d.job", "7g.80gb", owner="ada")
    shares = {each["owner"]: each["share"] for each in hall.queue()}
    assert shares["kim"] < 0.5 < shares["ada"]
    assert hall.ask("a.job", "3g.40gb").granted


def test_a_memory_that_is_none_is_said_to_be_lost(hall: Hall) -> None:
    hall.ask("a.job", "3g.40gb")
    (hall.folder / "queue.json").write_text('{"schema": 1}')
    hall.restart()
    assert "the queue's memory is lost" in hall.call("Status")["notes"][0]
    assert hall.ask("a.job", "3g.40gb").granted


# A driver that fails.


def test_a_driver_that_fails_costs_no_place_at_first(hall: Hall) -> None:
    hall.gpus.fail = {"create_gpu_instance": GpuError("Unknown Error")}
    first = hall.ask("a.job", "1g.10gb")
    assert not first.granted
    assert "the driver said: Unknown Error" in first.values["reason"]
    hall.gpus.fail = {}
    assert hall.ask("a.job", "1g.10gb").granted


def test_after_three_times_it_is_the_answer(hall: Hall) -> None:
    hall.gpus.fail = {"create_gpu_instance": GpuError("Unknown Error")}
    assert not hall.ask("a.job", "1g.10gb").granted
    assert not hall.ask("a.job", "1g.10gb").granted
    with pytest.raises(VarlinkError, match="Failed"):
        hall.ask("a.job", "1g.10gb")
    assert hall.queue() == []


# Services that may be moved.


def spread(hall: Hall) -> None:
    """One small service in the middle of the board, and nothing else."""
    hall.agent("a", "1g.10gb")
    hall.agent("web", "1g.10gb", resizable=True)
    hall.release("a")
    hall.now += 1000.0


def test_a_service_moves_for_who_has_no_room(tmp_path: Path) -> None:
    hall = Hall(tmp_path, "H100-80GB", "H100-80GB")
    hall.agent("web", "1g.10gb", resizable=True)
    hall.agent("other", "7g.80gb")
    hall.now += 1000.0
    waits = hall.ask("big.job", "7g.80gb")
    assert not waits.granted
    assert waits.move == []  # there is nowhere to go
    free = hall.release("other")
    assert free.ready == ["big.job"]


def test_two_services_on_two_gpus_leave_one_to_who_needs_it_whole(tmp_path: Path) -> None:
    hall = Hall(tmp_path, "H100-80GB", "H100-80GB")
    hall.agent("a", "4g.40gb")
    hall.agent("web", "4g.40gb", "3g.40gb", resizable=True)
    assert {place_[0] for place_ in hall.held().values()} == {0, 1}
    hall.now += 1000.0
    waits = hall.ask("big.job", "7g.80gb")
    assert waits.move == ["web"]  # as a 3g.40gb beside a
    assert "gets" not in waits.values["reason"]
    again = hall.agent("web", "4g.40gb", "3g.40gb", resizable=True)
    assert again.granted
    assert again.values["profile"] == "3g.40gb"
    assert again.ready == ["big.job"]
    assert hall.held()["big.job"][1] == "7g.80gb"


def test_nobody_moves_who_did_not_say_that_he_can(tmp_path: Path) -> None:
    hall = Hall(tmp_path, "H100-80GB", "H100-80GB")
    hall.agent("a", "4g.40gb")
    hall.agent("web", "4g.40gb", "3g.40gb")
    hall.now += 1000.0
    assert hall.ask("big.job", "7g.80gb").move == []


def test_nobody_moves_so_soon_after_his_start(tmp_path: Path) -> None:
    hall = Hall(tmp_path, "H100-80GB", "H100-80GB", residency_s=500.0)
    hall.agent("a", "4g.40gb")
    hall.agent("web", "4g.40gb", "3g.40gb", resizable=True)
    hall.now += 499.0
    assert hall.ask("big.job", "7g.80gb").move == []
    hall.now += 1.0
    assert hall.ask("big.job", "7g.80gb").move == ["web"]


def test_a_service_grows_again_when_nobody_waits(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.ask("a.job", "4g.40gb")
    hall.agent("web", "4g.40gb", "1g.10gb", resizable=True)
    assert hall.held()["web"][1] == "1g.10gb"
    hall.now += 1000.0
    assert hall.release("a.job").move == ["web"]
    assert hall.agent("web", "4g.40gb", "1g.10gb", resizable=True).values["profile"] == "4g.40gb"


def test_there_are_only_so_many_moves_an_hour(tmp_path: Path) -> None:
    hall = Hall(tmp_path, moves_per_hour=1)
    for expected in (["web"], []):
        hall.ask("a.job", "4g.40gb")
        hall.agent("web", "4g.40gb", "1g.10gb", resizable=True)
        hall.now += 1000.0
        assert hall.release("a.job").move == expected
        hall.agent("web", "4g.40gb", "1g.10gb", resizable=True)
        hall.release("web")


def test_who_does_not_stop_in_time_stays(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.ask("a.job", "4g.40gb")
    hall.agent("web", "4g.40gb", "1g.10gb", resizable=True)
    hall.now += 1000.0
    assert hall.release("a.job").move == ["web"]
    hall.now += CLAIM_S + 1
    before = hall.held()["web"]
    hall.ask("b.job", "1g.10gb")
    assert hall.held()["web"] == before
    assert hall.call("Queue")["moves"] == []


def test_a_move_whose_place_was_taken_is_no_harm(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.ask("a.job", "4g.40gb")
    hall.agent("web", "4g.40gb", "1g.10gb", resizable=True)
    hall.now += 1000.0
    hall.release("a.job")
    device = hall.gpus.devices()[0]
    start = next(s for s in (0, 4) if not place.mask(s, 4) & device.occupied)
    hall.gpus.create_gpu_instance(0, "4g.40gb" if start == 0 else "3g.40gb", start)  # a stranger
    assert hall.agent("web", "4g.40gb", "1g.10gb", resizable=True).values["profile"] == "1g.10gb"


def test_a_service_that_ends_while_it_is_moved_lets_others_go_on(tmp_path: Path) -> None:
    hall = Hall(tmp_path, "H100-80GB", "H100-80GB")
    hall.agent("a", "4g.40gb")
    hall.agent("web", "4g.40gb", "3g.40gb", resizable=True)
    hall.now += 1000.0
    assert hall.ask("big.job", "7g.80gb").move == ["web"]
    assert hall.release("web").ready == ["big.job"]


@pytest.mark.parametrize(
    "request_",
    [
        [],
        {"kind": "pod", "profiles": ["1g.10gb"], "owner": "a"},
        {"kind": "job", "profiles": [], "owner": "a"},
        {"kind": "job", "profiles": ["1g.10gb"], "owner": ""},
        {"kind": "job", "profiles": ["1g.10gb"], "owner": "a", "speeds": {"1g.10gb": "x"}},
        {"kind": "job", "profiles": ["1g.10gb"], "owner": "a", "priority": "x"},
        {"kind": "job", "profiles": ["1g.10gb"] * 17, "owner": "a"},
    ],
)
def test_a_wish_that_makes_no_sense(hall: Hall, request_: object) -> None:
    asked = {"agent": "a", "profile": "1g.10gb", "request": request_}
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        hall.scheduler.queueing.allocate(asked)
