"""The store at run time: jobs, one at a time, and what PID 1 is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.child.source import Directory
from ainit.store.service import Library
from tests.support.store import FakeCover, Publisher, deliver, deliver_several, onnx, shards, store
from tests.support.wait import wait_for

PUBLISHER = Publisher()


class Bench:
    """A library over a store in a directory; ``published`` is what PID 1 was told last."""

    def __init__(self, folder: Path, cover: FakeCover) -> None:
        self.root = folder / "models"
        self.elsewhere = folder / "elsewhere"
        self.published: Mapping[str, Any] = {}
        self.cover = cover
        self.start()

    def start(self) -> None:
        """The service starts, as after a boot."""
        found = store(self.root, self.cover, PUBLISHER)
        library = Library(found, found.run(), self._publish)
        self.methods: dict[str, Callable[..., Mapping[str, Any]]] = dict(library.methods())

    def _publish(self, models: Mapping[str, object]) -> None:
        self.published = models

    def call(self, method: str, **parameters: object) -> Any:
        return self.methods[method](parameters)

    def job(self) -> dict[str, Any]:
        """The job, once it is finished."""
        return wait_for(
            lambda: (job := self.call("Job")["job"]) and job["finished"] and job, "the job"
        )

    def add(self, publisher: Publisher | None = PUBLISHER, **more: Any) -> dict[str, Any]:
        path = deliver(self.elsewhere / str(len(list(self.elsewhere.glob("*")))), publisher, **more)
        self.call("Add", source=str(path))
        return self.job()

    def names(self) -> list[str]:
        return [model["name"] for model in self.published["models"]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    cover = FakeCover()
    (tmp_path / "elsewhere").mkdir()
    yield Bench(tmp_path, cover)
    cover.close()


def test_a_model_is_added_and_pid_1_is_told(bench: Bench) -> None:
    job = bench.add()
    assert (job["name"], job["reason"]) == ("speech", "")
    assert job["done"] == job["total"] == len(onnx())
    (model,) = bench.published["models"]
    assert (model["state"], model["signer"]) == ("admitted", "acme")
    assert Path(model["path"]).read_bytes() == onnx()
    assert bench.call("Models") == bench.published


def test_it_is_there_after_a_restart(bench: Bench) -> None:
    bench.add()
    before = bench.call("Models")
    bench.start()
    assert bench.call("Models") == before


def test_what_is_refused_leaves_nothing(bench: Bench) -> None:
    bench.add()
    before = bench.call("Models")
    assert bench.add(Publisher("stranger"))["reason"].startswith("signed by an unknown key")
    assert bench.add(None)["reason"] == "unsigned"
    job = bench.add(content=b"\x80\x04pickle")
    assert job["reason"].startswith("format pickle refused")
    assert bench.call("Models") == before
    assert list((bench.root / "incoming").iterdir()) == []


def test_a_successor_takes_the_name_and_the_old_object_goes(bench: Bench) -> None:
    bench.add()
    bench.add(content=onnx(b"other weights"))
    (model,) = bench.published["models"]
    assert Path(model["path"]).read_bytes() == onnx(b"other weights")
    assert len(list((bench.root / "objects").iterdir())) == 1


def test_a_source_that_is_none(bench: Bench) -> None:
    bench.call("Add", source="speech")
    assert "is neither a directory" in bench.job()["reason"]


def test_an_altered_model_shows_when_it_is_verified(bench: Bench) -> None:
    bench.add()
    bench.call("Verify", name="speech")
    assert bench.job()["reason"] == ""
    with open(bench.published["models"][0]["path"], "r+b") as file:
        file.write(b"\xff")
    bench.call("Verify", name="speech")
    assert bench.job()["reason"].startswith("altered: a page of model.onnx")
    assert bench.published["models"][0]["state"] == "refused"


def test_a_removed_model_is_gone_and_its_room_with_gc(bench: Bench) -> None:
    bench.add()
    assert bench.call("Remove", name="speech") == {}
    assert bench.names() == []
    assert bench.call("Collect") == {"objects": 1, "bytes": len(onnx())}
    assert bench.call("Collect") == {"objects": 0, "bytes": 0}
    bench.start()
    assert bench.call("Models") == {"models": []}


@pytest.mark.parametrize("method", ["Remove", "Verify"])
@pytest.mark.parametrize("name", ["vision", "../speech", ""])
def test_a_name_that_stands_for_nothing(bench: Bench, method: str, name: str) -> None:
    with pytest.raises(VarlinkError) as caught:
        bench.call(method, name=name)
    assert caught.value.name == "org.ainos.Store.NoModel"


@pytest.mark.parametrize("method", ["Add", "Remove", "Verify"])
def test_a_parameter_that_is_missing(bench: Bench, method: str) -> None:
    with pytest.raises(VarlinkError) as caught:
        bench.call(method)
    assert caught.value.name == "org.varlink.service.InvalidParameter"


def test_one_thing_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add()
    go_on = threading.Event()
    real = Directory.size

    def slow(self: Directory, name: str) -> int:
        assert go_on.wait(60)
        return real(self, name)

    monkeypatch.setattr(Directory, "size", slow)
    path = deliver(bench.elsewhere / "slow", PUBLISHER, content=onnx(b"other weights"))
    first = bench.call("Add", source=str(path))["job"]
    assert not first["finished"]
    for method, parameters in (
        ("Add", {"source": "/x"}), ("Verify", {"name": "speech"}), ("Remove", {"name": "speech"}),
        ("Collect", {}),
    ):  # fmt: skip
        with pytest.raises(VarlinkError) as caught:
            bench.call(method, **parameters)
        assert caught.value.parameters == {"what": f"add {path}"}
    assert bench.call("Models")["models"][0]["state"] == "admitted"
    go_on.set()
    assert bench.job()["reason"] == ""
    assert bench.call("Verify", name="speech")["job"]["id"] == first["id"] + 1


def test_a_fault_ends_the_job_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> int:
        raise ZeroDivisionError("never")

    monkeypatch.setattr(Directory, "size", fault)
    assert bench.add()["reason"] == "fault: ZeroDivisionError('never')"
    monkeypatch.undo()
    assert bench.add()["reason"] == ""


def test_a_model_of_several_files_is_added_verified_and_removed(bench: Bench) -> None:
    files = shards()
    path = deliver_several(bench.elsewhere / "several", PUBLISHER, files)
    bench.call("Add", source=str(path))
    assert bench.job()["reason"] == ""
    (model,) = bench.published["models"]
    assert model["files"] == sorted(files)
    assert all(Path(model["path"], name).read_bytes() == files[name] for name in files)
    bench.call("Verify", name="speech")
    assert bench.job()["reason"] == ""
    with open(f"{model['path']}/config.json", "r+b") as file:
        file.write(b"[")
    bench.call("Verify", name="speech")
    assert bench.job()["reason"].startswith("altered: a page of config.json")
    bench.call("Remove", name="speech")
    assert bench.call("Collect") == {"objects": 1, "bytes": sum(map(len, files.values()))}
