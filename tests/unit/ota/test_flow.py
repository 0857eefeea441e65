"""An update from the first look to its end, on a machine that is in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.linux import files
from ainit.ota import decide, history
from tests.support.update_world import (
    HEALTHY,
    START,
    TRIES,
    UpdateMachine,
    quiet,
    release,
    status,
    unit,
)

BROKEN = replace(HEALTHY, status=status(unit("speech", "backoff", reason="exited with 3")))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UpdateMachine:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing loses its power here
    made = UpdateMachine(tmp_path)
    made.publish("0.2.0")
    return made


def installed(machine: UpdateMachine) -> UpdateMachine:
    machine.flow.install(None, quiet)
    return machine


def test_it_is_installed_tried_and_committed(machine: UpdateMachine) -> None:
    installed(machine)
    assert (machine.flow.meaning(), machine.did) == (
        decide.INSTALLED,
        ["repository", "install", "switch"],
    )
    machine.boot()
    assert (machine.version, machine.entries) == ("0.2.0", {"0.1.0": TRIES, "0.2.0": TRIES - 1})
    machine.look(295)
    assert machine.records.state() is not None
    machine.look(60)
    assert machine.records.state() is None
    assert machine.entries == {"0.1.0": TRIES, "0.2.0": TRIES}
    assert machine.outcomes() == [("0.2.0", "installed"), ("0.2.0", "committed")]
    assert machine.did[-1] == "raise seal"


def test_a_floor_of_the_state_that_cannot_be_raised_now_ends_no_commit(
    machine: UpdateMachine,
) -> None:
    machine.faults["raise"] = UnavailableError("the floor of the state was not raised: timeout")
    installed(machine).boot()
    machine.look(400)
    assert machine.outcomes()[-1] == ("0.2.0", "committed")


def test_one_that_is_not_healthy_goes_back_says_why_and_is_not_tried_again(
    machine: UpdateMachine,
) -> None:
    installed(machine).boot()
    machine.found = BROKEN
    machine.look(3000)
    assert machine.did[-2:] == ["condemn 0.2.0", "reboot"]
    machine.boot()
    assert machine.version == "0.1.0"
    last = machine.records.history()[-1]
    assert (last.version, last.outcome) == ("0.2.0", "fell-back")
    assert last.reason == "not healthy within 1800 s: speech is backoff: exited with 3"
    machine.flow.check()
    assert machine.flow.hindrance.startswith("0.2.0 did not stay here before: not healthy within")
    with pytest.raises(RefusedError, match="did not stay here before"):
        machine.flow.install(None, quiet)
    machine.flow.install("0.2.0", quiet)  # by name it is


def test_a_newer_one_is_tried_after_one_that_failed(machine: UpdateMachine) -> None:
    installed(machine).boot(reaches=False)
    machine.publish("0.3.0")
    installed(machine).boot()
    assert machine.version == "0.3.0"


def test_a_kernel_that_never_reaches_ainit(machine: UpdateMachine) -> None:
    installed(machine).boot(reaches=False)
    assert machine.version == "0.1.0"
    assert machine.boots == 1 + TRIES + 1
    last = machine.records.history()[-1]
    assert last.reason == "the new kernel never reached ainit in any of its tries"


def test_the_crash_is_told_where_it_is_known(machine: UpdateMachine) -> None:
    machine.crashed = ["panic: VFS: Unable to mount root fs", "unclean: ended"]
    installed(machine).boot(reaches=False)
    assert machine.records.history()[-1].reason.endswith("; panic: VFS: Unable to mount root fs")


def test_reboots_before_it_was_found_healthy(machine: UpdateMachine) -> None:
    installed(machine)
    for _ in range(TRIES):
        machine.boot()
        assert machine.version == "0.2.0"
        machine.look(100)
    machine.boot()
    assert machine.version == "0.1.0"
    assert machine.records.history()[-1].reason == "it ended before it was found healthy, 3 times"


def test_what_was_wrong_last_is_the_reason(machine: UpdateMachine) -> None:
    installed(machine)
    machine.found = BROKEN
    for _ in range(TRIES):
        machine.boot()
        machine.look(20)
    machine.boot()
    assert machine.records.history()[-1].reason == "speech is backoff: exited with 3"


def test_a_committed_slot_that_rots_falls_back(machine: UpdateMachine) -> None:
    installed(machine).boot()
    machine.look(400)
    machine.boot(reaches=False)
    assert machine.version == "0.1.0"


def test_power_fails_before_the_loader_could_see_it(machine: UpdateMachine) -> None:
    machine.dies_at = "switch"
    with pytest.raises(KeyboardInterrupt):
        machine.flow.install(None, quiet)
    machine.dies_at = ""
    machine.boot()
    assert machine.outcomes() == [("0.2.0", "failed")]
    machine.flow.install(None, quiet)  # it is not held against the release


def test_another_entry_was_chosen_at_boot(machine: UpdateMachine) -> None:
    installed(machine)
    machine.boots += 1
    machine.start()
    assert machine.flow.meaning() == decide.INSTALLED
    machine.boot()
    assert machine.version == "0.2.0"


@pytest.mark.parametrize("name", ["install", "confirm", "raise", "condemn"])
def test_killed_at_any_step_it_goes_on(machine: UpdateMachine, name: str) -> None:
    machine.dies_at = name
    try:
        machine.flow.install(None, quiet)
        machine.boot()
        if name == "condemn":
            machine.found = BROKEN
        machine.look(4000)
    except KeyboardInterrupt:
        pass
    machine.dies_at = ""
    machine.start()
    if machine.flow.meaning() == decide.UNFINISHED:
        machine.flow.resume(quiet)
        machine.boot()
    machine.look(4000)
    if name == "condemn":
        machine.boot()
    assert machine.outcomes()[-1] == ("0.2.0", "fell-back" if name == "condemn" else "committed")
    assert machine.records.state() is None


def test_what_could_not_be_written_boots_nothing(machine: UpdateMachine) -> None:
    machine.faults["install"] = UnavailableError("the server stopped answering")
    with pytest.raises(UnavailableError):
        machine.flow.install(None, quiet)
    assert machine.entries == {"0.1.0": TRIES}
    assert machine.records.state() is None
    assert machine.records.history()[-1].reason == "the server stopped answering"
    machine.faults.clear()
    machine.flow.install(None, quiet)
    assert machine.outcomes()[-1] == ("0.2.0", "installed")


def test_an_interrupted_one_that_cannot_go_on_is_over(machine: UpdateMachine) -> None:
    machine.dies_at = "install"
    with pytest.raises(KeyboardInterrupt):
        machine.flow.install(None, quiet)
    machine.dies_at = ""
    machine.start()
    assert machine.flow.meaning() == decide.UNFINISHED
    machine.shelf.fault = UnavailableError("no route")
    with pytest.raises(UnavailableError):
        machine.flow.resume(quiet)
    assert machine.flow.meaning() == decide.QUIET
    assert machine.outcomes() == [("0.2.0", "failed")]


def test_nothing_new_while_one_is_on_trial(machine: UpdateMachine) -> None:
    installed(machine).boot()
    machine.publish("0.3.0")
    for version in (None, "0.3.0"):
        with pytest.raises(RefusedError, match=r"0.2.0 is installed and not committed yet"):
            machine.flow.install(version, quiet)


def test_what_would_lock_the_state_is_refused(machine: UpdateMachine) -> None:
    machine.closed = "0.2.0 is of generation 1, below the floor of this machine, 2"
    with pytest.raises(RefusedError, match=r"0.2.0 would not open the state: 0.2.0 is of gener"):
        machine.flow.install(None, quiet)
    assert "install" not in machine.did


@pytest.mark.parametrize("by_name", [False, True])
def test_floors_rise_with_a_commit_and_hold(machine: UpdateMachine, by_name: bool) -> None:
    machine.publish("0.2.0", version_floor="0.1.5", data_format_floor=2)
    installed(machine)
    assert machine.records.floors() == history.Floors()
    machine.boot()
    machine.look(400)
    assert machine.records.floors() == history.Floors("0.1.5", 2)
    assert machine.entries == {"0.2.0": TRIES}  # 0.1.0 is below: it may not boot any more
    machine.publish("0.3.0")  # of the old data format
    with pytest.raises(RefusedError, match=r"0.3.0 cannot read the state"):
        machine.flow.install("0.3.0" if by_name else None, quiet)
    machine.publish("0.1.4", data_format_floor=2)
    with pytest.raises(RefusedError, match="below the version floor"):
        machine.flow.install("0.1.4", quiet)
    with pytest.raises(RefusedError, match="there is no other release"):
        machine.flow.rollback()


def test_floors_do_not_rise_before_it_stays(machine: UpdateMachine) -> None:
    machine.publish("0.2.0", version_floor="0.2.0")
    installed(machine).boot(reaches=False)
    assert machine.records.floors() == history.Floors()


def test_cancel_before_it_booted(machine: UpdateMachine) -> None:
    installed(machine)
    assert machine.flow.cancel() == "0.2.0"
    machine.boot()
    assert machine.version == "0.1.0"
    assert machine.outcomes()[-1] == ("0.2.0", "cancelled")
    with pytest.raises(RefusedError, match="nothing is under way"):
        machine.flow.cancel()


def test_cancel_is_too_late_for_what_runs(machine: UpdateMachine) -> None:
    installed(machine).boot()
    with pytest.raises(RefusedError, match="ainitctl update rollback"):
        machine.flow.cancel()


def test_rollback_of_what_was_committed(machine: UpdateMachine) -> None:
    installed(machine).boot()
    machine.look(400)
    machine.entries["0.1.0"] = 0  # whatever became of it
    assert machine.flow.rollback() == "0.1.0"
    assert machine.did[-3:] == ["rearm 0.1.0", "condemn 0.2.0", "reboot"]
    machine.boot()
    assert machine.version == "0.1.0"
    assert machine.outcomes()[-1] == ("0.1.0", "rolled-back")
    machine.flow.check()
    assert "0.2.0 did not stay here before: it was rolled back" in machine.flow.hindrance


def test_rollback_of_what_is_on_trial(machine: UpdateMachine) -> None:
    installed(machine).boot()
    assert machine.flow.rollback() == "0.1.0"
    machine.boot()
    assert machine.version == "0.1.0"
    assert machine.records.history()[-1].reason == "it was rolled back by hand"


def test_rollback_needs_somewhere_to_go(machine: UpdateMachine) -> None:
    with pytest.raises(RefusedError, match="there is no other release"):
        machine.flow.rollback()
    machine.entries["0.0.9"] = TRIES
    machine.records.raise_floors(history.Floors("0.1.0", 1))
    with pytest.raises(RefusedError, match=r"0.0.9 is below the version floor"):
        machine.flow.rollback()
    machine.records.raise_floors(history.Floors("0", 2))
    machine.approvals["0.0.9"] = 1
    with pytest.raises(RefusedError, match=r"0.0.9 cannot read the state"):
        machine.flow.rollback()
    machine.approvals["0.0.9"] = 2
    machine.closed = "PCR 7 differs"
    with pytest.raises(RefusedError, match=r"0.0.9 would not open the state: PCR 7 differs"):
        machine.flow.rollback()
    assert "reboot" not in machine.did


def test_a_rollback_that_did_not_happen_is_told(machine: UpdateMachine) -> None:
    machine.entries["0.0.9"] = TRIES
    machine.flow.rollback()
    machine.entries = {"0.1.0": TRIES}
    machine.boot()
    assert machine.outcomes() == [("0.0.9", "failed")]


def test_with_nothing_to_go_back_to_it_stays(machine: UpdateMachine) -> None:
    installed(machine).boot()
    machine.entries["0.1.0"] = 0
    machine.found = BROKEN
    machine.look(2000)
    assert "condemn 0.2.0" not in machine.did
    assert any(line.endswith("there is no other release to go back to") for line in machine.said)
    with pytest.raises(RefusedError, match="no other release"):
        machine.flow.rollback()
    machine.found = HEALTHY
    machine.look(400)
    assert machine.outcomes()[-1] == ("0.2.0", "committed")


def test_a_clock_that_is_behind_is_set_forward_and_metadata_judged_again(
    machine: UpdateMachine,
) -> None:
    machine.shelf.signed = START + 5000
    machine.flow.check()
    assert (machine.time, machine.shelf.refreshed) == (START + 5000, 2)
    machine.flow.check()
    assert machine.did.count("set clock") == 1


def test_without_a_repository(machine: UpdateMachine) -> None:
    machine.config = replace(machine.config, repository="")
    with pytest.raises(RefusedError, match=r"\[update\] in the machine configuration"):
        machine.flow.check()


def test_nothing_published_for_this_machine(machine: UpdateMachine) -> None:
    machine.shelf.newest_ = None
    machine.flow.check()
    assert machine.flow.hindrance == "nothing is published for this machine"
    with pytest.raises(RefusedError, match="nothing is published"):
        machine.flow.install(None, quiet)
    with pytest.raises(RefusedError, match=r"stable has no 7.0 for base-x86_64"):
        machine.flow.install("7.0", quiet)


def test_an_older_one_by_its_name(machine: UpdateMachine) -> None:
    machine.shelf.all["0.0.5"] = release("0.0.5")
    machine.flow.install("0.0.5", quiet)
    assert machine.outcomes() == [("0.0.5", "installed")]
    machine.boot()  # of those that have tries the loader takes the newest
    assert machine.version == "0.0.5"
    machine.look(400)
    assert machine.outcomes()[-1] == ("0.0.5", "committed")
    machine.boot()
    assert machine.version == "0.0.5"


def test_an_older_one_that_is_not_healthy(machine: UpdateMachine) -> None:
    machine.shelf.all["0.0.5"] = release("0.0.5")
    machine.flow.install("0.0.5", quiet)
    machine.boot()
    machine.found = BROKEN
    machine.look(3000)
    machine.boot()
    assert (machine.version, machine.outcomes()[-1]) == ("0.1.0", ("0.0.5", "fell-back"))


def test_an_older_one_that_is_cancelled_or_cut(machine: UpdateMachine) -> None:
    machine.shelf.all["0.0.5"] = release("0.0.5")
    machine.flow.install("0.0.5", quiet)
    assert machine.flow.cancel() == "0.0.5"
    assert machine.entries == {"0.1.0": TRIES}
    machine.dies_at = "condemn"
    with pytest.raises(KeyboardInterrupt):
        machine.flow.install("0.0.5", quiet)
    machine.dies_at = ""
    machine.boots += 1
    machine.start()
    machine.boot()
    assert machine.version == "0.0.5"


def test_a_loader_that_always_takes_another_entry(machine: UpdateMachine) -> None:
    installed(machine)
    for _ in range(2):
        machine.boots += 1
        machine.start()
    assert machine.flow.meaning() == decide.QUIET  # or a machine that may would reboot for ever
    last = machine.records.history()[-1]
    assert (last.outcome, machine.entries["0.2.0"]) == ("fell-back", 0)
    assert last.reason.startswith("the boot loader took another entry")


def test_a_boot_partition_that_cannot_be_read_ends_nothing(
    machine: UpdateMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> list[decide.Slot]:
        raise OSError(16, "Device or resource busy")

    installed(machine)
    machine.boots += 1
    with monkeypatch.context() as patch:
        patch.setattr(machine, "slots", unreadable)
        machine.start()
    machine.boot()
    assert (machine.version, machine.flow.meaning()) == ("0.2.0", decide.TRIAL)


def full(machine: UpdateMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, content: bytes, mode: int = 0o644) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", refuse)


def test_a_full_state_partition_keeps_no_release_that_is_not_healthy(
    machine: UpdateMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(machine)
    with monkeypatch.context() as patch:
        full(machine, patch)
        machine.boot()
        machine.found = BROKEN
        machine.look(3000)
        assert machine.did[-2:] == ["condemn 0.2.0", "reboot"]
    machine.boot()
    assert machine.outcomes()[-1] == ("0.2.0", "fell-back")


def test_a_machine_that_says_nothing_is_not_healthy(
    machine: UpdateMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise UnavailableError("PID 1 does not answer")

    installed(machine).boot()
    monkeypatch.setattr(machine, "answers", silent)
    machine.look(3000)
    assert machine.did[-1] == "reboot"


def test_a_service_that_dies_again_and_again_does_not_prolong_a_trial(
    machine: UpdateMachine,
) -> None:
    installed(machine).boot()
    machine.found = BROKEN
    for _ in range(20):
        machine.look(100)
        if machine.did[-1] == "reboot":
            break
        machine.start()
    assert machine.did[-1] == "reboot"


def test_downloads_are_cleaned(machine: UpdateMachine) -> None:
    old, new = (Path(machine.records.staging, name) for name in ("0.1.9", "0.2.0"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    machine.faults["install"] = UnavailableError("gone")
    with pytest.raises(UnavailableError):
        machine.flow.install(None, quiet)
    assert (old.exists(), new.exists()) == (False, True)
    machine.faults.clear()
    machine.flow.install(None, quiet)
    assert not new.exists()


def test_a_quote_now_and_then_and_before_a_commit(machine: UpdateMachine) -> None:
    installed(machine).boot()
    machine.look(400)
    assert machine.did.count("quote") == 6  # at 0, 60, … 300
    machine.publish("0.3.0")
    installed(machine).boot()
    machine.found = replace(HEALTHY, evidence="the TPM does not answer")
    machine.look(100)
    state = machine.records.state()
    assert state is not None
    assert state.reason == "no evidence for a verifier: the TPM does not answer"
