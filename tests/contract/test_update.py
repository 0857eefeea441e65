"""The update service as PID 1 starts it, with a directory for a repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ainit.child.client import Client, VarlinkError
from ainit.ota import history
from ainit.ota.history import Records, State
from tests.contract.test_store_service import has_verity
from tests.contract.test_store_service import start as store_service
from tests.support.control import ControlServer
from tests.support.release import Publisher
from tests.support.service import Service
from tests.support.store import Publisher as Signer
from tests.support.store import deliver
from tests.support.wait import wait_for

INTERFACE = "org.ainos.Update"
STATUS: dict[str, object] = {
    "machine": {
        "hostname": "ainos", "version": "0.1.0", "health": "healthy", "findings": [],
        "secure_boot": "on", "tpm": "absent", "enforcement": "on", "root": "", "state": "",
        "configuration": "", "uptime": 1.0, "peak_bytes": 1, "faults": 0, "last_fault": None,
    },
    "phases": [],
    "units": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    found = Publisher(tmp_path_factory.mktemp("publisher"))
    found.begin()
    found.publish("9.0.0")
    return found


class Stand:
    """The service in a folder, and who answers it there."""

    def __init__(self, folder: Path, publisher: Publisher) -> None:
        self.folder, self.publisher = folder, publisher
        self.records = Records(str(folder / "state/update"))
        self.running = folder
        self.configure(automatic="off")
        (folder / "root.json").write_bytes(publisher.root())

    def configure(self, **settings: object) -> None:
        table = {"repository": str(self.publisher.directory), **settings}
        (self.folder / "machine.json").write_text(json.dumps({"update": table}))

    def start(self) -> Service:
        before = (
            "import sys, ainit.constants as constants\n"
            "sys.argv[1:] = ['serve']\n"
            f"constants.UPDATE = {self.records.directory!r}\n"
            f"constants.UPDATE_ROOT = {str(self.folder / 'root.json')!r}\n"
            f"constants.MACHINE_JSON = {str(self.folder / 'machine.json')!r}\n"
            f"constants.CONTROL = {str(self.folder / 'control')!r}\n"
            f"constants.RUNTIME = {str(self.folder)!r}\n"
        )
        self.running = self.folder / f"run{len(list(self.folder.glob('run*')))}"
        self.running.mkdir()
        return Service("ainit.ota", self.running, before=before)


@pytest.fixture
def stand(tmp_path: Path, publisher: Publisher) -> Iterator[Stand]:
    answers = {"org.ainos.Control.Status": STATUS}
    with ControlServer(tmp_path / "control", answers):
        yield Stand(tmp_path, publisher)


def finished(service: Service, stand: Stand, method: str, **parameters: object) -> dict[str, Any]:
    """Start a job, and follow it to its end."""
    job: Any = service.call(f"{INTERFACE}.{method}", **parameters)["job"]
    with Client(str(stand.running / "service"), timeout=30) as client:
        for answer in client.more(f"{INTERFACE}.Job"):
            found: Any = answer["job"]
            assert found["id"] == job["id"], found
            if found["finished"]:
                return dict(found)
    raise AssertionError("the stream ended")


def test_it_looks_and_says_what_there_is(stand: Stand) -> None:
    with stand.start() as service:
        before = service.call(f"{INTERFACE}.Status")
        job = finished(service, stand, "Check")
        after = service.call(f"{INTERFACE}.Status")
    assert (before["state"], before["offered"], before["job"]) == ("idle", "", None)
    assert (job["what"], job["reason"]) == ("check", "")
    assert (after["state"], after["offered"], after["hindrance"]) == ("offered", "9.0.0", "")
    assert after["repository"] == str(stand.publisher.directory)


def test_it_polls_by_itself_and_the_next_process_knows(stand: Stand) -> None:
    stand.configure(automatic="check", jitter_s=0)
    with stand.start():
        wait_for(lambda: stand.records.checked().offered == "9.0.0", "it to look by itself")
    with_next = Records(stand.records.directory).checked()
    assert with_next.problem == ""
    with stand.start() as service:
        assert service.call(f"{INTERFACE}.Status")["offered"] == "9.0.0"


def test_an_installation_that_cannot_be_leaves_nothing_behind(stand: Stand) -> None:
    """There is no other slot here; and the images of the test are none."""
    with stand.start() as service:
        job = finished(service, stand, "Install")
        status = service.call(f"{INTERFACE}.Status")
        entries: Any = service.call(f"{INTERFACE}.History")["entries"]
        with pytest.raises(VarlinkError, match="nothing is under way"):
            service.call(f"{INTERFACE}.Cancel")
    assert job["reason"]
    assert (status["state"], status["pending"]) == ("trouble", "")
    assert [entry["outcome"] for entry in entries] == ["failed"]
    assert stand.records.state() is None


def test_a_repository_that_is_gone(stand: Stand) -> None:
    stand.configure(repository=str(stand.folder / "nowhere"), automatic="off")
    with stand.start() as service:
        job = finished(service, stand, "Check")
        status = service.call(f"{INTERFACE}.Status")
    assert job["reason"]
    assert (status["state"], status["reason"]) == ("trouble", job["reason"])
    assert status["next"]


def test_metadata_of_somebody_else_is_refused(stand: Stand, tmp_path: Path) -> None:
    other = Publisher(tmp_path / "other")
    other.place.mkdir()
    other.begin()
    other.publish("10.0.0")
    copy = shutil.copytree(other.directory, tmp_path / "copy")
    stand.configure(repository=str(copy), automatic="off")
    with stand.start() as service:
        assert finished(service, stand, "Check")["reason"]
        assert service.call(f"{INTERFACE}.Status")["offered"] == ""


@pytest.mark.parametrize("version", ["", "latest", "1..0", 5])
def test_what_is_no_version(stand: Stand, version: object) -> None:
    with stand.start() as service, pytest.raises(VarlinkError, match=r"Failed|InvalidParameter"):
        service.call(f"{INTERFACE}.Install", version=version)


def test_what_fell_back_while_nobody_looked_is_told(stand: Stand) -> None:
    state = State(history.PENDING, "9.0.0", "0.1.0", boot="another", boots=2, reason="no GPU")
    stand.records.write(state)
    with stand.start() as service:
        wait_for(lambda: stand.records.state() is None, "the service to draw its conclusion")
        entries: Any = service.call(f"{INTERFACE}.History")["entries"]
        finished(service, stand, "Check")
        status = service.call(f"{INTERFACE}.Status")
    assert [(entry["outcome"], entry["reason"]) for entry in entries] == [("fell-back", "no GPU")]
    assert str(status["hindrance"]).startswith("9.0.0 did not stay here before: no GPU")


def test_a_model_goes_from_the_repository_to_the_store(
    tmp_path: Path, publisher: Publisher
) -> None:
    """Both services are real; the store answers where the update service finds PID 1."""
    signer, place = Signer(), tmp_path / "store"
    (place / "keys").mkdir(parents=True)
    signer.write(place / "keys")
    publisher.publish_model("2.0", deliver(tmp_path / "made", signer, "speech"))
    publisher.publish_model("1.0", publisher.deliver("vision"))
    stand = Stand(tmp_path, publisher)
    with store_service(place) as store:
        (tmp_path / "control").symlink_to(place / "service")
        with stand.start() as service:
            added = finished(service, stand, "AddModel", name="speech", version="2.0", hold_s=1.0)
            unsigned = finished(service, stand, "AddModel", name="vision")
            missing = finished(service, stand, "AddModel", name="speech", version="3.0")
            with pytest.raises(VarlinkError, match="is no name of a model"):
                service.call(f"{INTERFACE}.AddModel", name="../speech")
            for wrong in ({}, {"name": "speech", "hold_s": True}, {"name": "a", "version": 2}):
                with pytest.raises(VarlinkError, match="InvalidParameter"):
                    service.call(f"{INTERFACE}.AddModel", **wrong)
            status = service.call(f"{INTERFACE}.Status")
        models: Any = store.call("org.ainos.Store.Models")["models"]
    if has_verity(place):
        assert added["reason"] == ""
        assert [(each["name"], each["signer"]) for each in models] == [("speech", "acme")]
    else:
        assert added["reason"].startswith("fs-verity is not available here")
    assert added["what"] == "add model speech@2.0"
    assert "the signature file is not JSON" in unsigned["reason"]
    assert missing["reason"] == "stable has no model speech@3.0"
    assert status["state"] == "idle"  # of images nothing was asked
    assert [path for path in Path(stand.records.staging).rglob("*") if path.is_file()] == []
