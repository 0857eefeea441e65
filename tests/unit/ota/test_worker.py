"""What the service does by itself, and when; one thing at a time."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.ota import decide, words
from ainit.ota.worker import BusyError, Worker
from ainit.policy import calendar_text
from ainit.policy.update import CHECK, INSTALL, OFF, REBOOT
from tests.support.update_world import START, UpdateMachine, quiet

MIDNIGHT = START // 86400 * 86400 + 86400


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UpdateMachine:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing loses its power here
    made = UpdateMachine(tmp_path)
    made.publish("0.2.0")
    made.config = replace(made.config, poll_s=7200, jitter_s=600)
    return made


def worker(machine: UpdateMachine, automatic: str = CHECK) -> Worker:
    machine.config = replace(machine.config, automatic=automatic)
    return Worker(machine.flow, machine.said.append, lambda: 0.5)


def run(machine: UpdateMachine, worker: Worker, seconds: float) -> None:
    """So much time passes."""
    until = machine.clock + seconds
    while machine.clock < until:
        wait = min(worker.step(), until - machine.clock)
        machine.clock += wait
        machine.time += wait


def looks(machine: UpdateMachine) -> int:
    return machine.did.count("repository")


def test_it_looks_soon_after_it_started_and_then_at_its_interval(machine: UpdateMachine) -> None:
    at_work = worker(machine)
    run(machine, at_work, 299)
    assert looks(machine) == 0
    run(machine, at_work, 10)
    assert looks(machine) == 1
    run(machine, at_work, 7400)
    assert looks(machine) == 1
    run(machine, at_work, 200)
    assert looks(machine) == 2
    assert machine.records.checked().offered == "0.2.0"
    assert machine.records.state() is None


def test_one_that_starts_again_goes_by_the_last_look(machine: UpdateMachine) -> None:
    run(machine, worker(machine), 400)
    run(machine, worker(machine), 7000)
    assert looks(machine) == 1


def test_it_does_not_look_when_it_is_not_to(machine: UpdateMachine) -> None:
    run(machine, worker(machine, OFF), 20000)
    machine.config = replace(machine.config, repository="", automatic=CHECK)
    run(machine, Worker(machine.flow, machine.said.append), 20000)
    assert looks(machine) == 0


def test_it_backs_off_and_says_why(machine: UpdateMachine) -> None:
    machine.shelf.fault = UnavailableError("no route to host")
    at_work = worker(machine)
    run(machine, at_work, 310)
    assert (looks(machine), machine.records.checked().problem) == (1, "no route to host")
    run(machine, at_work, 90)
    assert looks(machine) == 2
    run(machine, at_work, 150)
    assert looks(machine) == 2
    run(machine, at_work, 86400)
    assert looks(machine) < 24
    assert machine.records.checked().kind == words.UNREACHABLE
    machine.shelf.fault = None
    run(machine, at_work, 8000)
    assert machine.records.checked().problem == ""


def test_an_installation_that_fails_is_made_again_ever_later(machine: UpdateMachine) -> None:
    machine.faults["install"] = RefusedError("the UKI names another root than the release")
    run(machine, worker(machine, INSTALL), 86400)
    assert 5 < looks(machine) < 50
    assert machine.records.checked().failures > 5


def test_it_installs_within_the_window_only(machine: UpdateMachine) -> None:
    windows = (calendar_text.parse("daily"),)
    machine.config = replace(machine.config, windows=windows, window_s=3600)
    at_work = worker(machine, INSTALL)
    run(machine, at_work, 1000)
    assert (looks(machine), machine.records.state()) == (1, None)
    machine.clock += MIDNIGHT - machine.time - 100
    machine.time = MIDNIGHT - 100
    run(machine, at_work, 50)
    assert machine.records.state() is None
    run(machine, at_work, 100)
    assert machine.flow.meaning() == decide.INSTALLED
    run(machine, at_work, 4000)
    assert "reboot" not in machine.did


def test_it_reboots_within_the_window_only(machine: UpdateMachine) -> None:
    windows = (calendar_text.parse("daily"),)
    machine.config = replace(machine.config, windows=windows, window_s=3600)
    machine.flow.install(None, quiet)
    at_work = worker(machine, REBOOT)
    run(machine, at_work, MIDNIGHT - machine.time - 60)
    assert "reboot" not in machine.did
    run(machine, at_work, 61)
    assert machine.did.count("reboot") == 1


def test_it_judges_a_trial_before_it_does_anything_else(machine: UpdateMachine) -> None:
    machine.flow.install(None, quiet)
    machine.boot()
    at_work = worker(machine, REBOOT)
    machine.publish("0.3.0")
    run(machine, at_work, 290)
    assert (machine.outcomes()[-1], looks(machine)) == (("0.2.0", "installed"), 1)
    run(machine, at_work, 20)
    assert machine.outcomes()[-1] == ("0.2.0", "committed")
    run(machine, at_work, 700)
    assert machine.outcomes()[-1] == ("0.3.0", "installed")


def test_what_was_offered_before_a_commit_is_offered_no_more(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    at_work.ask("install", lambda tell: machine.flow.install(None, tell))
    at_work.step()
    assert machine.records.checked().offered == "0.2.0"
    machine.boot()
    machine.look(400)
    assert machine.records.checked().offered == ""


def test_a_look_that_fails_is_made_again(machine: UpdateMachine) -> None:
    machine.flow.install(None, quiet)
    machine.boot()
    machine.faults["confirm"] = UnavailableError("the ESP was found 0 times")
    at_work = worker(machine)
    run(machine, at_work, 400)
    assert "<4>the ESP was found 0 times" in machine.said
    machine.faults.clear()
    run(machine, at_work, 10)
    assert machine.outcomes()[-1] == ("0.2.0", "committed")


def test_what_was_interrupted_goes_on_by_itself(machine: UpdateMachine) -> None:
    machine.dies_at = "install"
    with pytest.raises(KeyboardInterrupt):
        machine.flow.install(None, quiet)
    machine.dies_at = ""
    machine.start()
    at_work = worker(machine, OFF)
    assert at_work.is_needed
    at_work.step()
    assert machine.flow.meaning() == decide.INSTALLED


def test_one_thing_at_a_time(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    job = at_work.ask("check", lambda tell: machine.flow.check())
    with pytest.raises(BusyError, match="check is being done"):
        at_work.ask("install", lambda tell: None)
    at_work.step()
    assert (job.finished, job.reason) == (True, "")
    assert not at_work.is_needed
    at_work.ask("check", lambda tell: machine.flow.check())


def test_what_is_short_is_done_between_two_steps(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    machine.flow.install(None, quiet)
    assert at_work.between(machine.flow.cancel) == "0.2.0"
    job = at_work.ask("check", lambda tell: print(at_work.between(lambda: "never")))
    at_work.step()
    assert "try it again" in job.reason


def test_cancel_ends_it_at_its_next_step_and_is_no_trouble(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    job = at_work.ask("install", lambda tell: machine.flow.install(None, tell))
    assert at_work.cancel() == "install"
    at_work.step()
    assert (job.reason, machine.records.state()) == ("it was cancelled", None)
    assert machine.records.checked().problem == ""
    assert at_work.cancel() == ""
    again = at_work.ask("install", lambda tell: machine.flow.install(None, tell))
    at_work.step()
    assert again.reason == ""
    assert (again.done, again.total) == (1, 2)


def test_it_is_needed_while_an_update_is_under_way(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    assert not at_work.is_needed
    machine.flow.install(None, quiet)
    assert at_work.is_needed  # PID 1 starts it as long as there is a state


def test_a_fault_ends_the_job_and_not_the_service(machine: UpdateMachine) -> None:
    at_work = worker(machine, OFF)
    machine.shelf.fault = ZeroDivisionError("oops")
    job = at_work.ask("check", lambda tell: machine.flow.check())
    at_work.step()
    assert job.finished
    assert "ZeroDivisionError" in job.reason
    assert machine.records.checked().kind == words.FAULT


def test_what_is_not_for_this_machine_is_no_trouble(machine: UpdateMachine) -> None:
    machine.publish("0.1.0")
    at_work = worker(machine, OFF)
    job = at_work.ask("install", lambda tell: machine.flow.install(None, tell))
    at_work.step()
    assert job.reason == "0.1.0 runs already"
    assert machine.records.checked().problem == ""


def test_a_full_state_partition_is_told(machine: UpdateMachine) -> None:
    machine.shelf.fault = OSError(28, "No space left on device")
    at_work = worker(machine, OFF)
    at_work.ask("check", lambda tell: machine.flow.check())
    at_work.step()
    assert machine.records.checked().kind == words.FULL


def test_kinds_of_trouble() -> None:
    wrapped = RefusedError("no room")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert words.kind(wrapped) == words.FULL
    assert words.kind(RefusedError("timestamp.json is expired")) == words.EXPIRED
    assert words.kind(UnavailableError("gone")) == words.UNREACHABLE
    assert words.kind(OSError(5, "I/O")) == words.UNREACHABLE
    assert words.kind(RefusedError("signature")) == words.REFUSED
    assert words.kind(ZeroDivisionError()) == words.FAULT
