"""One partition becomes another: on a fake world, without and with faults and deaths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.errors import AinosError, UnavailableError
from ainit.sched.records import End, Slot
from ainit.sched.repartition import DRAIN_S
from tests.support.idl import Interface
from tests.unit.sched import crash_cases
from tests.unit.sched.crash_cases import entry
from tests.unit.sched.fake_nvml import COMPUTE, CREATE, DESTROY, UNCOMPUTE, Fault, Kind
from tests.unit.sched.gpu_world import World

GPU = Interface.named("org.ainos.Gpu")
ALWAYS = 1000


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield World(folder, "H100-80GB", "H100-80GB")


def ask(world: World, method: str, **parameters: object) -> dict[str, Any]:
    assert GPU.wrong_call(method, parameters) == []
    try:
        reply = world.call(method, **parameters)
    except VarlinkError as error:
        if problems := GPU.wrong_error(error.name.removeprefix("org.ainos.Gpu."), error.parameters):
            pytest.fail(str(problems))
        raise
    assert GPU.wrong_reply(method, reply) == []
    return reply


def apply(world: World, *entries: dict[str, object], unknown: str = "keep") -> int:
    number = ask(world, "Apply", entries=list(entries), unknown=unknown, name="test")["transaction"]
    assert isinstance(number, int)
    return number


def end_of(world: World, number: int) -> tuple[object, object]:
    assert world.rest()
    progress = ask(world, "Progress", transaction=number)
    return progress["end"], progress["reason"]


def there(world: World, gpu: int = 0) -> list[tuple[str, int]]:
    return [(each.profile, each.start) for each in world.gpus.devices()[gpu].instances]


def test_an_empty_gpu_is_partitioned(world: World) -> None:
    number = apply(world, entry(0, "1g.10gb", "1g.10gb", "3g.40gb"))
    assert end_of(world, number) == ("committed", "")
    assert there(world) == [("1g.10gb", 0), ("1g.10gb", 1), ("3g.40gb", 4)]
    assert there(world, 1) == []
    status = ask(world, "Status")
    assert len(status["partition"]) == 3
    assert status["unknown"] == []


def test_agents_take_what_is_there_and_leave_it_there(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    world.start("agent", "3g.40gb")
    world.rest()
    assert len(there(world)) == 2
    held = world.pid1.agents["agent"].uuid
    assert held in {each.uuid for each in world.gpus.devices()[0].instances}
    ask(world, "Release", agent="agent")
    assert len(there(world)) == 2
    second = ask(world, "Allocate", agent="other", profile="3g.40gb")
    assert second["uuid"] == held


def test_who_is_not_in_the_way_goes_on_and_who_is_is_moved(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "1g.10gb", "3g.40gb")))
    for name, profile in (("low", "1g.10gb"), ("high", "3g.40gb")):
        world.start(name, profile)
    world.rest()
    kept = world.pid1.agents["high"].uuid
    moved = world.pid1.agents["low"].uuid
    number = apply(world, entry(0, "4g.40gb", "3g.40gb"), entry(1, "1g.10gb"))
    transaction = world.ledger().record.transaction
    assert transaction is not None
    assert transaction.drain == ("low",)
    assert end_of(world, number) == ("committed", "")
    assert there(world) == [("4g.40gb", 0), ("3g.40gb", 4)]
    assert world.pid1.agents["high"].uuid == kept
    assert world.pid1.agents["low"].uuid not in (None, moved)
    assert world.pid1.agents["low"].wanted
    assert world.verdict() == []


def test_nothing_is_touched_before_its_holder_is_down(world: World) -> None:
    world.start("agent", "7g.80gb")
    world.rest()
    world.pid1.stop = lambda agents: None  # type: ignore[method-assign]
    apply(world, entry(0, "1g.10gb"))
    for _ in range(5):
        assert world.partitions.tick() > 0
    assert there(world) == [("7g.80gb", 0)]
    world.now += DRAIN_S + 1
    world.rest()
    [outcome] = world.ledger().record.outcomes
    assert (outcome.end, "did not stop in time" in outcome.reason) == (End.ROLLED_BACK, True)
    assert there(world) == [("7g.80gb", 0)]
    assert world.ledger().held_by("agent") is not None
    assert world.pid1.agents["agent"].uuid is not None


def test_what_pid_1_refuses_changes_nothing(world: World) -> None:
    world.start("agent", "7g.80gb")
    world.rest()

    def refuse(agents: object) -> None:
        raise AinosError("Stop of agent was refused")

    world.pid1.stop = refuse  # type: ignore[method-assign]
    number = apply(world, entry(0, "1g.10gb"))
    assert end_of(world, number) == ("rolled-back", "Stop of agent was refused")
    assert there(world) == [("7g.80gb", 0)]


def test_a_holder_that_pid_1_does_not_know_is_refused_at_once(world: World) -> None:
    ask(world, "Allocate", agent="stranger", profile="7g.80gb")

    def unknown(agents: object) -> tuple[str, ...]:
        raise UnavailableError("PID 1 knows no unit stranger to stop")

    world.pid1.affected = unknown  # type: ignore[method-assign]
    with pytest.raises(VarlinkError) as caught:
        apply(world, entry(0, "1g.10gb"))
    assert "knows no unit stranger" in str(caught.value.parameters["reason"])
    assert world.ledger().record.transaction is None


def test_only_one_transaction_at_a_time(world: World) -> None:
    apply(world, entry(0, "1g.10gb"))
    with pytest.raises(VarlinkError) as caught:
        apply(world, entry(1, "1g.10gb"))
    assert caught.value.name == "org.ainos.Gpu.Busy"


def test_a_plan_changes_nothing_and_says_what_apply_would_do(world: World) -> None:
    world.start("agent", "1g.10gb")
    world.rest()
    plan = ask(world, "Plan", entries=[entry(0, "7g.80gb"), entry(1, "9g.90gb")])
    assert plan["problems"][0]["entry"] == 1
    gpu = next(i for i in (0, 1) if there(world, i))
    good = ask(world, "Plan", entries=[entry(gpu, "7g.80gb")])
    assert good["plan"]["disturbed"] == ["agent"]
    assert there(world, gpu) != [("7g.80gb", 0)]
    with pytest.raises(VarlinkError) as caught:
        apply(world, entry(1, "9g.90gb"))
    assert caught.value.name == "org.ainos.Gpu.Impossible"


# ---- what others made


def foreign(world: World, profile: str = "1g.10gb", start: int = 0) -> int:
    number = world.gpus.create_gpu_instance(0, profile, start)
    world.gpus.create_compute_instance(0, number)
    return number


def test_an_unknown_instance_is_kept_and_reported(world: World) -> None:
    foreign(world)
    assert ask(world, "Status")["unknown"] == ["1g.10gb at 0:0"]
    plan = ask(world, "Plan", entries=[entry(0, "7g.80gb")])
    assert "it was not made here" in plan["problems"][0]["reason"]
    assert end_of(world, apply(world, entry(0, "3g.40gb")))[0] == "committed"
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]


def test_an_unknown_instance_is_adopted_on_request(world: World) -> None:
    foreign(world)
    number = apply(world, entry(0, "1g.10gb", "3g.40gb"), unknown="adopt")
    assert end_of(world, number)[0] == "committed"
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert ask(world, "Status")["unknown"] == []
    foreign(world, start=1)
    with pytest.raises(VarlinkError):  # one that is adopted must be wished for
        apply(world, entry(0, "7g.80gb"), unknown="adopt")


@pytest.mark.parametrize("is_half", [False, True])
def test_an_unknown_instance_is_removed_on_request(world: World, is_half: bool) -> None:
    if is_half:
        world.gpus.create_gpu_instance(0, "1g.10gb", 0)
    else:
        foreign(world)
    number = apply(world, entry(0, "7g.80gb"), unknown="remove")
    assert end_of(world, number)[0] == "committed"
    assert there(world) == [("7g.80gb", 0)]


def test_a_rollback_gives_back_what_others_made(world: World) -> None:
    foreign(world)
    world.gpus.faults.append(Fault(COMPUTE, Kind.REFUSE, 5))
    number = apply(world, entry(0, "7g.80gb"), unknown="remove")
    assert end_of(world, number)[0] == "rolled-back"
    assert there(world) == [("1g.10gb", 0)]
    assert ask(world, "Status")["unknown"] == ["1g.10gb at 0:0"]


def test_an_instance_with_a_process_of_nobody_is_not_touched(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb")))
    [instance] = world.gpus.devices()[0].instances
    world.gpus.busy.add((0, instance.id))
    plan = ask(world, "Plan", entries=[entry(0, "7g.80gb")])
    assert "process 1 is on it" in plan["problems"][0]["reason"]


# ---- faults


def test_what_goes_wrong_once_is_tried_again(world: World) -> None:
    world.gpus.faults = [Fault(call, Kind.REFUSE) for call in (CREATE, COMPUTE, UNCOMPUTE, DESTROY)]
    assert end_of(world, apply(world, entry(0, "1g.10gb")))[0] == "committed"
    assert end_of(world, apply(world, entry(0, "7g.80gb")))[0] == "committed"
    assert there(world) == [("7g.80gb", 0)]


def test_what_goes_wrong_for_good_is_rolled_back(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    world.gpus.faults = [Fault(CREATE, Kind.REFUSE, 5)]
    end, reason = end_of(world, apply(world, entry(0, "7g.80gb")))
    assert end == "rolled-back"
    assert "could not be made in 5 tries" in str(reason)
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert len(ask(world, "Status")["partition"]) == 2


def test_an_instance_that_stays_is_rolled_back_and_given_back(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    world.gpus.faults = [Fault(DESTROY, Kind.NOTHING, ALWAYS)]
    end, reason = end_of(world, apply(world, entry(0, "7g.80gb")))
    assert (end, reason) == ("rolled-back", "1g.10gb at 0:0 does not go away")
    assert [each.computes for each in world.gpus.devices()[0].instances] == [1, 1]
    ask(world, "Allocate", agent="agent", profile="1g.10gb")


def test_a_rollback_that_cannot_be_whole_says_so_and_is_made_whole_later(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    world.gpus.faults = [Fault(CREATE, Kind.REFUSE, ALWAYS)]
    assert end_of(world, apply(world, entry(0, "7g.80gb")))[0] == "rolled-back-in-part"
    assert there(world) == []
    assert ask(world, "Status")["quarantine"] != []
    world.heal()
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert ask(world, "Status")["quarantine"] == []


def test_ghosts_are_quarantined_and_placement_avoids_them(world: World) -> None:
    world.gpus.ghosts = {0: 0b1111_0000, 1: 0b1111_1111}
    granted = ask(world, "Allocate", agent="first", profile="3g.40gb")
    assert (granted["gpu"], granted["start"]) == (0, 0)
    listed = ask(world, "Status")["quarantine"]
    assert {(each["index"], each["start"]) for each in listed} <= {(0, 4), (1, 0), (1, 4)}
    with pytest.raises(VarlinkError):
        ask(world, "Allocate", agent="second", profile="3g.40gb")
    world.gpus.ghosts.clear()
    world.now += 10
    assert ask(world, "Allocate", agent="second", profile="3g.40gb")["profile"] == "3g.40gb"


def test_a_gpu_that_falls_off_the_bus_is_rolled_back_on_the_others(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb"), entry(1, "1g.10gb")))
    world.gpus.faults = [Fault(CREATE, Kind.LOSE)]
    number = apply(world, entry(0, "3g.40gb"), entry(1, "3g.40gb"))
    end, reason = end_of(world, number)
    assert end == "rolled-back-in-part"
    assert "GPU-fake-0 is gone" in str(reason)
    [left] = world.gpus.devices()
    assert [each.profile for each in left.instances] == ["1g.10gb"]


def test_a_driver_that_is_loaded_anew_gets_the_partition_again(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    world.start("agent", "3g.40gb")
    world.rest()
    world.gpus.reboot()
    world.gpus.is_gone = True
    world.now += 10
    for _ in range(4):
        world.rest()
        world.now += 10
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert world.verdict() == []
    assert world.pid1.agents["agent"].uuid is not None


# ---- the next boot


def test_the_next_boot_has_the_same_partition(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb", "3g.40gb")))
    Path(world.journal).unlink()
    world.gpus.reboot()
    world.live()
    world.partitions.bring_up(20)
    assert there(world) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert ask(world, "Status")["unknown"] == []


def test_a_commit_that_was_not_kept_is_kept_by_the_next_life(world: World) -> None:
    end_of(world, apply(world, entry(0, "1g.10gb")))
    world.keeper.save(())
    world.live()
    world.partitions.engine()
    assert world.keeper.load() == (Slot("GPU-fake-0", "1g.10gb", 6, 1),)


def test_a_partition_that_cannot_be_kept_is_in_force_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(partition: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.keeper, "save", full)
    assert end_of(world, apply(world, entry(0, "1g.10gb")))[0] == "committed"


def test_events_tell_what_happened(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    del world.partitions.tell  # the class's own, which keeps and prints
    number = apply(world, entry(0, "1g.10gb"))
    end_of(world, number)
    events = ask(world, "Events")["events"]
    kinds = [each["kind"] for each in events]
    assert kinds == ["begin", "committed"]
    first = events[0]["number"]
    assert len(ask(world, "Events", after=first)["events"]) == 1
    assert "begin: transaction 1 (test): 0 kept, 0 removed, 1 created" in capsys.readouterr().out


# ---- deaths: a sample of the matrix that `make bench-gpu` runs whole


@pytest.mark.parametrize("kind", crash_cases.KINDS)
@pytest.mark.parametrize("fault", ["none", "create fails late", "destroy refused"])
def test_death_at_any_moment_strands_nothing(kind: str, fault: str) -> None:
    verdicts = list(crash_cases.matrix([kind], [fault], ["H100-80GB"], step=9))
    assert len(verdicts) > 1
    assert [each for each in verdicts if each.wrong or each.stranded] == []


def test_every_fault_strands_nothing_on_a_sample_of_moments() -> None:
    verdicts = [
        crash_cases.run(kind, fault, "A100-40GB", 1 + (number * 17) % 60)[0]
        for number, (kind, fault) in enumerate(
            (kind, fault) for kind in crash_cases.KINDS for fault in crash_cases.FAULTS
        )
    ]
    assert [each for each in verdicts if each.wrong or each.stranded] == []


def test_the_verdict_sees_what_is_wrong(world: World) -> None:
    """The matrix is worth nothing if a stranding would not be noticed."""
    end_of(world, apply(world, entry(0, "1g.10gb")))
    assert world.final_verdict() == []
    foreign(world, start=3)
    assert any("nobody's" in each for each in world.final_verdict())
    assert world.slices_stranded() == 1
    record = world.ledger().record
    world.ledger().save(replace(record, members=()))
    assert any("partition is missing" in each for each in world.final_verdict())
