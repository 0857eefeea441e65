"""Models from a directory and from a server: judged first, gone on with, never half of one."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from ainit.child.source import open_source
from ainit.errors import RefusedError, UnavailableError
from ainit.store import fetch
from tests.support.store import Publisher, deliver, deliver_several, onnx, shards

PUBLISHER = Publisher()


class Handler(BaseHTTPRequestHandler):
    """A directory on a server, which may stop in the middle and may not know how to go on."""

    folder = Path()
    large = "model.onnx"
    cut = 0
    goes_on = True
    requests: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.folder / self.path.rpartition("/")[2]
        first = self.headers.get("Range", "")
        self.requests.append(f"{self.command} {path.name} {first}".strip())
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = int(first.removeprefix("bytes=").split("-")[0]) if first and self.goes_on else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            large = path.name == self.large
            self.wfile.write(data[start : self.cut] if large and self.cut else data[start:])
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed delivery somewhere else."""
    return deliver(tmp_path / "elsewhere", PUBLISHER, content=onnx(b"w" * 5000))


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Here", (Handler,), {"folder": folder, "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=partial(served.serve_forever, 0.01), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/speech", handler
        served.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models/incoming").mkdir(parents=True)
    return tmp_path / "models"


def bring(source: str, root: Path, judge: fetch.Judge = lambda *_: None) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    with open_source(source) as opened:
        name = fetch.fetch(opened, str(root), judge, lambda *now: told.append(now))
    assert name == "speech"
    return told


def check(root: Path, folder: Path) -> None:
    """The delivery is whole and nothing else is there."""
    assert [path.name for path in (root / "incoming").iterdir()] == ["speech"]
    for path in folder.iterdir():
        assert (root / "incoming/speech" / path.name).read_bytes() == path.read_bytes()


def test_from_a_directory(root: Path, folder: Path) -> None:
    told = bring(str(folder), root)
    check(root, folder)
    total = (folder / "model.onnx").stat().st_size
    assert (told[0], told[-1]) == ((0, total), (total, total))


def test_from_a_server(root: Path, folder: Path, server: tuple[str, type[Handler]]) -> None:
    bring(server[0], root)
    check(root, folder)


def test_what_was_interrupted_is_gone_on_with(
    root: Path, folder: Path, server: tuple[str, type[Handler]]
) -> None:
    address, handler = server
    handler.cut = 1000
    with pytest.raises(UnavailableError, match="stopped"):
        bring(address, root)
    assert not (root / "incoming/speech").exists()
    handler.cut = 0
    handler.requests.clear()
    told = bring(address, root)
    check(root, folder)
    assert told[0][0] == 1000
    total = (folder / "model.onnx").stat().st_size
    assert f"GET model.onnx bytes=1000-{total - 1}" in handler.requests


def test_another_version_begins_anew(root: Path, folder: Path, tmp_path: Path) -> None:
    part = root / "incoming/.speech.part"
    shutil.copytree(folder, part)
    (part / "model.sig").write_text("of another version")
    (part / "model.onnx").write_bytes(b"half of another version")
    told = bring(str(folder), root)
    check(root, folder)
    assert told[0][0] == 0


def test_a_part_that_is_longer_than_the_whole_begins_anew(root: Path, folder: Path) -> None:
    part = root / "incoming/.speech.part"
    shutil.copytree(folder, part)
    with open(part / "model.onnx", "ab") as file:
        file.write(b"more")
    bring(str(folder), root)
    check(root, folder)


def test_a_server_that_cannot_go_on_is_named(root: Path, server: tuple[str, type[Handler]]) -> None:
    address, handler = server
    handler.cut = 1000
    with pytest.raises(UnavailableError, match="stopped"):
        bring(address, root)
    handler.cut, handler.goes_on = 0, False
    with pytest.raises(RefusedError, match="cannot go on from byte 1000"):
        bring(address, root)


def test_what_is_refused_is_not_fetched(root: Path, server: tuple[str, type[Handler]]) -> None:
    def refuse(*_: object) -> None:
        raise RefusedError("signed by an unknown key")

    with pytest.raises(RefusedError, match="unknown key"):
        bring(server[0], root, refuse)
    assert not any("model.onnx" in request for request in server[1].requests)
    assert list((root / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": "../../etc", "kind": "model", "file": "model.onnx"}, "is no name of a model"),
        ({"name": "a/b", "kind": "model", "file": "model.onnx"}, "is no name of a model"),
        ({"name": ".", "kind": "model", "file": "model.onnx"}, "is no name of a model"),
        ({"name": 1, "kind": "model", "file": "model.onnx"}, "is no name of a model"),
        ({"name": "speech", "kind": "model", "file": "../model.onnx"}, "is no plain file name"),
        ({"name": "speech", "kind": "model", "file": "/etc/passwd"}, "is no plain file name"),
        ({"name": "speech", "kind": "model", "file": "model.sig"}, "is no plain file name"),
    ],
)
def test_a_path_out_of_the_store_is_refused(
    root: Path, folder: Path, record: object, reason: str
) -> None:
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(RefusedError, match=reason):
        bring(str(folder), root)
    assert list((root / "incoming").iterdir()) == []


def test_a_link_in_a_directory_is_not_followed(root: Path, folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        bring(str(folder), root)


def test_no_room_is_said_before_anything_is_fetched(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SPARE_BYTES", 1 << 60)
    with pytest.raises(RefusedError, match="no room: 0 MiB to fetch"):
        bring(str(folder), root)


@pytest.mark.parametrize("source", ["speech", "ftp://x/y", "file:///etc", ""])
def test_another_kind_of_source_is_refused(source: str) -> None:
    with pytest.raises(RefusedError, match="is neither a directory"), open_source(source):
        pass


def test_an_address_without_a_model_is_said(root: Path, server: tuple[str, type[Handler]]) -> None:
    server[1].folder = server[1].folder / "missing"
    with pytest.raises(RefusedError, match=r"record\.json is missing"):
        bring(server[0], root)


def test_a_server_that_is_not_there(root: Path) -> None:
    with pytest.raises(UnavailableError, match="refused"):
        bring("http://127.0.0.1:9/speech", root)


# Models of several files.

SECOND = "model-00002-of-00003.safetensors"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    return deliver_several(tmp_path / "several", PUBLISHER, shards(b"w" * 5000))


def test_several_files_come_with_one_progress(root: Path, several: Path) -> None:
    told = bring(str(several), root)
    check(root, several)
    files = [path for path in several.iterdir() if path.name not in ("record.json", "model.sig")]
    total = sum(path.stat().st_size for path in files)
    assert (told[0], told[-1]) == ((0, total), (total, total))
    assert sorted(told) == told


def test_several_files_from_a_server_are_gone_on_with(
    root: Path, several: Path, server: tuple[str, type[Handler]]
) -> None:
    """The first is there, half of the second, nothing of the third."""
    address, handler = server
    handler.folder, handler.large, handler.cut = several, SECOND, 1000
    with pytest.raises(UnavailableError, match="stopped"):
        bring(address, root)
    handler.cut = 0
    handler.requests.clear()
    told = bring(address, root)
    check(root, several)
    assert told[0][0] > 6000
    got = [request for request in handler.requests if request.startswith("GET model-")]
    sizes = {path.name: path.stat().st_size for path in several.iterdir()}
    third = "model-00003-of-00003.safetensors"
    assert got == [
        f"GET {SECOND} bytes=1000-{sizes[SECOND] - 1}",
        f"GET {third} bytes=0-{sizes[third] - 1}",
    ]


def test_what_the_record_does_not_list_is_not_fetched(root: Path, several: Path) -> None:
    (several / "more.py").write_text("import os")
    bring(str(several), root)
    assert not (root / "incoming/speech/more.py").exists()


def test_a_file_that_the_source_lacks_is_named(
    root: Path, several: Path, server: tuple[str, type[Handler]]
) -> None:
    (several / SECOND).unlink()
    server[1].folder = several
    for source in (str(several), server[0]):
        with pytest.raises(FileNotFoundError) as caught:
            bring(source, root)
        assert str(caught.value.filename).endswith(SECOND)
    assert not (root / "incoming/speech").exists()


def test_room_is_needed_for_all_of_them(
    root: Path, several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SPARE_BYTES", 0)
    status = os.statvfs(root)
    one = (several / SECOND).stat().st_size
    values = list(status)
    values[4] = -(-one // status.f_frsize)  # blocks that are free: enough for one shard
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    with pytest.raises(RefusedError, match="no room"):
        bring(str(several), root)
