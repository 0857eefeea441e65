"""A model from the repository to the store, on a machine that is in memory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.ota import models
from ainit.ota.history import Checked
from ainit.ota.model_release import ModelRelease
from ainit.ota.models import Asked
from ainit.ota.ports import Tell
from ainit.ota.release import File
from ainit.ota.worker import Worker
from tests.support.update_world import UpdateMachine, quiet

PLACE = "stable/model.speech/2.0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UpdateMachine:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing loses its power here
    made = UpdateMachine(tmp_path)
    put(made, "speech")
    return made


def put(machine: UpdateMachine, name: str) -> None:
    """A model is in the repository, which calls it speech."""
    files = {
        "record.json": json.dumps({"name": name}).encode(),
        "model.sig": b"signature",
        "a.onnx": b"weights",
        "b.onnx": b"more",
    }
    machine.shelf.content = {f"{PLACE}/{each}": data for each, data in files.items()}
    listed = {
        each: File(hashlib.sha256(data).hexdigest(), len(data)) for each, data in files.items()
    }
    machine.shelf.models["speech"] = ModelRelease("speech", "2.0", listed)


def kept(machine: UpdateMachine) -> list[str]:
    staging = Path(machine.records.staging)
    return sorted(str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file())


def test_the_store_gets_the_delivery_and_nothing_is_kept(machine: UpdateMachine) -> None:
    told: list[tuple[int, int]] = []
    release = models.add(
        machine.flow, Asked("speech", hold_s=30.0), lambda done, total: told.append((done, total))
    )
    assert release.version == "2.0"
    assert machine.did == ["repository", "admit model.speech 30.0"]
    assert machine.delivered == {
        path.rpartition("/")[2]: data for path, data in machine.shelf.content.items()
    }
    assert [done for done, _ in told] == [7, 11]
    assert kept(machine) == []


def test_what_the_store_refuses_is_not_kept_and_its_reason_is_told(machine: UpdateMachine) -> None:
    machine.faults["admit"] = RefusedError("unsigned")
    with pytest.raises(RefusedError, match="unsigned"):
        models.add(machine.flow, Asked("speech"), quiet)
    assert kept(machine) == []


@pytest.mark.parametrize("where", ["fetch", "admit"])
def test_what_came_is_gone_on_with(machine: UpdateMachine, where: str) -> None:
    fault = UnavailableError("no route to host")
    if where == "fetch":
        machine.shelf.broken[f"{PLACE}/b.onnx"] = fault
    else:
        machine.faults["admit"] = fault
    with pytest.raises(UnavailableError):
        models.add(machine.flow, Asked("speech"), quiet)
    assert "model.speech/2.0/a.onnx" in kept(machine)


def test_others_that_were_begun_make_room_and_images_stay(machine: UpdateMachine) -> None:
    for place in ("model.vision/1.0", "model.speech/1.0", "0.2.0"):
        folder = Path(machine.records.staging) / place
        folder.mkdir(parents=True)
        (folder / "part").write_text("x")
    machine.faults["admit"] = UnavailableError("busy")
    with pytest.raises(UnavailableError):
        models.add(machine.flow, Asked("speech"), quiet)
    assert {path.rpartition("/")[0] for path in kept(machine)} == {"0.2.0", "model.speech/2.0"}


def test_a_record_of_another_model_is_not_passed_on(machine: UpdateMachine) -> None:
    put(machine, "vision")
    with pytest.raises(RefusedError, match="is that of 'vision', not of speech"):
        models.add(machine.flow, Asked("speech"), quiet)
    assert "admit" not in " ".join(machine.did)


@pytest.mark.parametrize("asked", [Asked("vision"), Asked("speech", "3.0")])
def test_what_is_not_published(machine: UpdateMachine, asked: Asked) -> None:
    with pytest.raises(RefusedError, match=f"stable has no model {asked}"):
        models.add(machine.flow, asked, quiet)


def test_stale_metadata_is_refused(machine: UpdateMachine) -> None:
    machine.shelf.fault = RefusedError("expired")
    with pytest.raises(RefusedError, match="expired"):
        models.add(machine.flow, Asked("speech"), quiet)
    assert machine.delivered == {}


def test_a_release_on_trial_is_not_disturbed(machine: UpdateMachine) -> None:
    machine.publish("0.2.0")
    machine.flow.install(None, quiet)
    machine.boot()
    with pytest.raises(RefusedError, match=r"0\.2\.0 is on trial"):
        models.add(machine.flow, Asked("speech"), quiet)


@pytest.mark.parametrize(("name", "version"), [("../x", None), ("Speech", None), ("a", "new")])
def test_what_is_no_name_or_version(name: str, version: str | None) -> None:
    with pytest.raises(RefusedError, match="is no"):
        Asked(name, version)


@pytest.mark.parametrize("hold_s", [-1.0, 3601.0, float("nan")])
def test_what_is_no_time_of_a_trial(hold_s: float) -> None:
    with pytest.raises(RefusedError, match="no time of a trial"):
        Asked("speech", hold_s=hold_s)


def test_a_model_says_nothing_of_how_images_stand(machine: UpdateMachine) -> None:
    known = Checked(5.0, "0.2.0")
    machine.records.note_checked(known)
    worker = Worker(machine.flow, machine.said.append)
    machine.faults["admit"] = UnavailableError("busy")

    def work(tell: Tell) -> None:
        models.add(machine.flow, Asked("speech"), tell)

    worker.ask("add", work, looks=False)
    worker.step()
    assert worker.job is not None
    assert worker.job.reason == "busy"
    assert machine.records.checked() == known
