from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import place, quarantine
from ainit.sched.errors import GpuBusyError, GpuError, NoRoomError
from ainit.sched.journal import Journal, Record
from ainit.sched.place import Instance, Proposal
from ainit.sched.transaction import Ledger
from tests.unit.sched.fake_nvml import FakeNvml, ProcessDeath

PROPOSAL = Proposal(0, "2g.20gb", 2, 2)
CREATION = ("create_gpu_instance", "create_compute_instance")
DESTRUCTION = ("destroy_compute_instances", "destroy_gpu_instance")
WHEN = ("before", "after")


class DyingJournal(Journal):
    """Kills the process before or after the save of that number."""

    def __init__(self, path: str, at: int, when: str) -> None:
        super().__init__(path)
        self._left = at
        self._when = when

    def save(self, record: Record) -> None:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            raise ProcessDeath("journal")
        super().save(record)
        if self._left == 0:
            raise ProcessDeath("journal")


@pytest.fixture
def gpus() -> FakeNvml:
    return FakeNvml()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.json")


def live(gpus: FakeNvml) -> list[Instance]:
    gpus.crash = None
    return [each for device in gpus.devices() for each in device.instances]


def assert_consistent(gpus: FakeNvml, path: str) -> Ledger:
    """After recovery every live instance has a holder, and every holder a whole instance."""
    ledger = Ledger(gpus, Journal(path))
    ledger.recover()
    assert ledger.pending == ()
    assert {each.uuid for each in live(gpus)} == {each.uuid for each in ledger.assignments}
    assert all(each.computes == 1 for each in live(gpus))
    assert Journal(path).load() == Record(ledger.assignments)
    return ledger


def test_a_creation_ends_in_an_assignment(gpus: FakeNvml, path: str) -> None:
    made = Ledger(gpus, Journal(path)).create("agent", PROPOSAL)
    [instance] = live(gpus)
    assert (made.uuid, made.instance, made.start) == (instance.uuid, instance.id, 2)
    assert Journal(path).load() == Record((made,))
    assert assert_consistent(gpus, path).held_by("agent") == made


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("call", CREATION)
def test_death_in_a_creation_strands_nothing(
    gpus: FakeNvml, path: str, call: str, when: str
) -> None:
    ledger = Ledger(gpus, Journal(path))
    kept = ledger.create("other", Proposal(0, "1g.10gb", 6, 1))
    gpus.crash = (call, when)
    with pytest.raises(ProcessDeath):
        ledger.create("agent", PROPOSAL)
    assert assert_consistent(gpus, path).assignments == (kept,)
    Ledger(gpus, Journal(path)).create("agent", PROPOSAL)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("save", [1, 2, 3, 4])
def test_death_at_any_entry_of_a_creation_strands_nothing(
    gpus: FakeNvml, path: str, save: int, when: str
) -> None:
    with pytest.raises(ProcessDeath):
        Ledger(gpus, DyingJournal(path, save, when)).create("agent", PROPOSAL)
    ledger = assert_consistent(gpus, path)
    assert len(ledger.assignments) == (1 if (save, when) == (4, "after") else 0)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("call", DESTRUCTION)
def test_death_in_a_destruction_is_finished(
    gpus: FakeNvml, path: str, call: str, when: str
) -> None:
    ledger = Ledger(gpus, Journal(path))
    ledger.create("agent", PROPOSAL)
    gpus.crash = (call, when)
    with pytest.raises(ProcessDeath):
        ledger.destroy("agent")
    assert assert_consistent(gpus, path).assignments == ()


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("save", [1, 2])
def test_death_at_any_entry_of_a_destruction_strands_nothing(
    gpus: FakeNvml, path: str, save: int, when: str
) -> None:
    made = Ledger(gpus, Journal(path)).create("agent", PROPOSAL)
    with pytest.raises(ProcessDeath):
        Ledger(gpus, DyingJournal(path, save, when)).destroy("agent")
    ledger = assert_consistent(gpus, path)
    assert ledger.assignments == ((made,) if (save, when) == (1, "before") else ())


@pytest.mark.parametrize("call", CREATION)
def test_a_refused_step_is_rolled_back(gpus: FakeNvml, path: str, call: str) -> None:
    ledger = Ledger(gpus, Journal(path))
    gpus.fail = {call: NoRoomError("Insufficient Resources")}
    with pytest.raises(NoRoomError):
        ledger.create("agent", PROPOSAL)
    assert live(gpus) == []
    assert replace(Journal(path).load(), barred=()) == Record()


def test_a_result_that_is_not_what_was_asked_for_is_rolled_back(gpus: FakeNvml, path: str) -> None:
    wrong = Proposal(0, "2g.20gb", 2, 3)
    with pytest.raises(GpuError, match="not what was asked for"):
        Ledger(gpus, Journal(path)).create("agent", wrong)
    assert live(gpus) == []


def test_a_rollback_that_fails_is_tried_again(gpus: FakeNvml, path: str) -> None:
    now = [100.0]
    ledger = Ledger(gpus, Journal(path), lambda: now[0])
    gpus.fail = {
        "create_compute_instance": GpuError("Unknown Error"),
        "destroy_gpu_instance": GpuBusyError("In use by another client"),
    }
    with pytest.raises(GpuError, match="Unknown"):
        ledger.create("agent", PROPOSAL)
    assert len(ledger.pending) == 1
    [note] = ledger.settle()
    assert "stays" in note
    gpus.fail = {}
    assert ledger.settle() == []  # not yet
    now[0] += 1
    [note] = ledger.settle()
    assert "was removed" in note
    assert live(gpus) == []


def test_removals_are_tried_ever_more_rarely(gpus: FakeNvml, path: str) -> None:
    now = [100.0]
    ledger = Ledger(gpus, Journal(path), lambda: now[0])
    made = ledger.create("agent", PROPOSAL)
    gpus.busy.add((0, made.instance))
    ledger.destroy("agent")
    waits = []
    for _ in range(20):
        [change] = ledger.pending
        waits.append(change.due - now[0])
        now[0] = change.due
        ledger.settle()
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] == quarantine.LONGEST_S
    assert quarantine.is_stuck(ledger.pending[0])


def test_an_instance_in_use_is_destroyed_when_it_is_free(gpus: FakeNvml, path: str) -> None:
    ledger = Ledger(gpus, Journal(path))
    made = ledger.create("agent", PROPOSAL)
    gpus.busy.add((0, made.instance))
    ledger.destroy("agent")
    assert ledger.held_by("agent") is None
    assert len(ledger.pending) == 1
    assert len(live(gpus)) == 1
    gpus.busy.clear()
    assert_consistent(gpus, path)
    assert live(gpus) == []


def test_the_destruction_of_nothing_is_nothing(gpus: FakeNvml, path: str) -> None:
    Ledger(gpus, Journal(path)).destroy("agent")
    assert gpus.calls == []


def test_recovery_leaves_the_instances_of_others(gpus: FakeNvml, path: str) -> None:
    foreign = gpus.create_gpu_instance(1, "3g.40gb", 0)
    gpus.create_compute_instance(1, foreign)
    ledger = Ledger(gpus, Journal(path))
    assert ledger.recover() == []
    assert [each.id for each in live(gpus)] == [foreign]


def test_a_foreign_instance_at_the_planned_place_is_not_taken_for_ours(
    gpus: FakeNvml, path: str
) -> None:
    """Death before the creation; then somebody else makes a whole instance in that place."""
    gpus.crash = ("create_gpu_instance", "before")
    with pytest.raises(ProcessDeath):
        Ledger(gpus, Journal(path)).create("agent", PROPOSAL)
    foreign = gpus.create_gpu_instance(0, PROPOSAL.profile, PROPOSAL.start)
    gpus.create_compute_instance(0, foreign)
    ledger = Ledger(gpus, Journal(path))
    ledger.recover()
    assert ledger.pending == ()
    assert [each.id for each in live(gpus)] == [foreign]


def test_what_a_death_left_and_nothing_removes_is_known_as_ours(gpus: FakeNvml, path: str) -> None:
    """The driver's answer was never written down, and the instance does not go away."""
    gpus.crash = ("create_gpu_instance", "after")
    with pytest.raises(ProcessDeath):
        Ledger(gpus, Journal(path)).create("agent", PROPOSAL)
    gpus.fail = {"destroy_gpu_instance": GpuBusyError("In use by another client")}
    ledger = Ledger(gpus, Journal(path))
    ledger.recover()
    [instance] = live(gpus)
    assert [each.instance for each in ledger.pending] == [instance.id]
    assert ledger.unknown(gpus.devices()) == []


def test_recovery_drops_what_a_reset_took(gpus: FakeNvml, path: str) -> None:
    ledger = Ledger(gpus, Journal(path))
    ledger.create("agent", PROPOSAL)
    gpus.reboot()
    ledger = Ledger(gpus, Journal(path))
    [note] = ledger.recover()
    assert "agent lost its 2g.20gb" in note
    assert ledger.assignments == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["1g.10gb", "2g.20gb", "4g.40gb", None]),  # None: the agent lets go
            st.none() | st.tuples(st.sampled_from(CREATION + DESTRUCTION), st.sampled_from(WHEN)),
        ),
        max_size=12,
    )
)
def test_no_sequence_of_changes_and_deaths_strands_an_instance(
    steps: list[tuple[str, str | None, tuple[str, str] | None]],
) -> None:
    gpus = FakeNvml("H100-80GB")
    with TemporaryDirectory(dir="/dev/shm") as folder:  # a tmpfs, as on the machine
        path = f"{folder}/journal.json"
        for agent, profile, death in steps:
            ledger = assert_consistent(gpus, path)
            gpus.crash = death
            try:
                if profile is None:
                    ledger.destroy(agent)
                elif ledger.held_by(agent) is None:
                    proposal = place.best(profile, gpus.devices())
                    if proposal is not None:
                        ledger.create(agent, proposal)
            except ProcessDeath:
                continue
        assert_consistent(gpus, path)
