"""Models of several files: one digest, one name, all of them or none."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ainit.linux import fsverity
from ainit.policy import model_files
from ainit.store.records import Verdict
from tests.support.store import (
    INDEX,
    FakeCover,
    FakeSeal,
    Publisher,
    deliver,
    deliver_several,
    external,
    onnx,
    safetensors,
    shards,
    store,
)

PUBLISHER = Publisher()
OLD, NEW = shards(b"old weights"), shards(b"new weights")
FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def cover() -> Iterator[FakeCover]:
    cover = FakeCover()
    yield cover
    cover.close()


def run(root: Path, cover: FakeCover, **more: object) -> dict[str, Verdict]:
    found = store(root, cover, PUBLISHER, **more)  # type: ignore[arg-type]
    return {verdict.name: verdict for verdict in found.run()}


def admit(root: Path, cover: FakeCover, contents: dict[str, bytes] = OLD) -> Verdict:
    deliver_several(root, PUBLISHER, contents)
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason) == ("admitted", "")
    return verdict


def content(verdict: Verdict) -> dict[str, bytes]:
    """What a unit would find."""
    return {name: Path(verdict.path, name).read_bytes() for name in verdict.files}


def test_all_files_are_admitted_under_one_digest(root: Path, cover: FakeCover) -> None:
    verdict = admit(root, cover)
    assert content(verdict) == OLD
    wanted = {}
    for name in OLD:
        path = Path(verdict.path, name)
        wanted[name] = len(OLD[name]), fsverity.text(fsverity.digest_file(str(path)))
    assert verdict.digest == model_files.digest(wanted)
    assert verdict.path == f"{root}/objects/{verdict.digest.removeprefix('sha256:')}"
    assert verdict.to_record()["files"] == sorted(OLD)
    assert os.listdir(root / "incoming") == []
    assert run(root, cover) == {"speech": verdict}


def test_an_onnx_model_with_its_data(root: Path, cover: FakeCover) -> None:
    files = {"model.onnx": external("model.onnx.data"), "model.onnx.data": b"weights"}
    assert content(admit(root, cover, files)) == files


def test_of_one_file_nothing_changes(root: Path, cover: FakeCover) -> None:
    deliver(root, PUBLISHER)
    (verdict,) = run(root, cover).values()
    assert verdict.files == ()
    assert verdict.digest == fsverity.text(fsverity.digest_file(verdict.path))


def unsigned_shard(folder: Path) -> None:
    (folder / FIRST).write_bytes(safetensors({"layer1": b"evil"}))


def exchanged_among_each_other(folder: Path) -> None:
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)


def one_more(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def one_fewer(folder: Path) -> None:
    (folder / SECOND).unlink()


def listed_after_signing(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["files"].append("tokenizer.json")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "record.json").write_text(json.dumps(record))


def unlisted_after_signing(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["files"].remove("config.json")
    (folder / "config.json").unlink()
    (folder / "record.json").write_text(json.dumps(record))


def linked(folder: Path) -> None:
    (folder / FIRST).rename(folder.parent / ".elsewhere")
    (folder / FIRST).symlink_to("../.elsewhere")


def a_folder(folder: Path) -> None:
    (folder / "more").mkdir()


def piped(folder: Path) -> None:
    (folder / FIRST).unlink()
    os.mkfifo(folder / FIRST)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (unsigned_shard, f"altered: {FIRST} is not what acme signed"),
        (exchanged_among_each_other, f"{INDEX} looks for layer1 in {FIRST}, which lacks it"),
        (one_more, "tokenizer.json is there, and record.json does not list it"),
        (a_folder, "more is there, and record.json does not list it"),
        (one_fewer, f"altered: {SECOND} is missing"),
        (listed_after_signing, "the signature does not cover tokenizer.json"),
        (
            unlisted_after_signing,
            "the signature covers config.json, which record.json does not list",
        ),
        (linked, f"{FIRST} cannot be used: Too many levels of symbolic links"),
        (piped, f"{FIRST} is no regular file"),
    ],
)
def test_what_is_wrong_with_one_refuses_all(
    root: Path, cover: FakeCover, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(deliver_several(root, PUBLISHER, OLD))
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason) == ("refused", reason)
    assert os.listdir(root / "names") == []


def test_an_exchange_that_the_formats_do_not_show_shows_in_the_signature(
    root: Path, cover: FakeCover
) -> None:
    parts = {f"m-{n:05}-of-00002.gguf": b"GGUF\3" + bytes(19) + bytes([n]) for n in (1, 2)}
    folder = deliver_several(root, PUBLISHER, parts)
    one, two = (folder / name for name in sorted(parts))
    one.write_bytes(parts[two.name])
    two.write_bytes(parts[one.name])
    assert run(root, cover)["speech"].reason == f"altered: {one.name} is not what acme signed"


def test_files_of_another_signed_model_are_refused(root: Path, cover: FakeCover) -> None:
    """Two genuine models of one publisher, with a shard of one in the other."""
    for name, contents in (("speech", OLD), ("vision", NEW)):
        deliver_several(root, PUBLISHER, contents, name)
    (root / "incoming/vision" / FIRST).replace(root / "incoming/speech" / FIRST)
    (root / "incoming/vision" / FIRST).write_bytes(NEW[FIRST])
    verdicts = run(root, cover)
    assert verdicts["speech"].reason == f"altered: {FIRST} is not what acme signed"
    assert verdicts["vision"].state == "admitted"


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (["a.onnx", "../b.onnx"], "record.json: file ../b.onnx is no plain file name"),
        (["a.onnx", "/etc/passwd"], "record.json: file /etc/passwd is no plain file name"),
        (["a.onnx", "sub/b.onnx"], "record.json: file sub/b.onnx is no plain file name"),
        (["a.onnx", ".hidden"], "record.json: file .hidden is no plain file name"),
        (["a.onnx", 7], "record.json: file 7 is no plain file name"),
        (["a.onnx", ["b"]], "record.json: file ['b'] is no plain file name"),
        (["a.onnx", "model.sig"], "record.json: file model.sig is no plain file name"),
        (["a.onnx", "a.onnx"], "record.json lists a.onnx twice"),
        (["a.onnx"], "record.json: files are no list of two or more; one is called file"),
        ([], "record.json: files are no list of two or more; one is called file"),
        ("ab", "record.json: files are no list of two or more; one is called file"),
        ([f"{n}.json" for n in range(201)], "record.json lists 201 files, 200 at most"),
        (["a.onnx", "b.erofs"], "record.json: an extension, and nothing else, is an .erofs file"),
    ],
)
def test_lists_that_are_none(root: Path, cover: FakeCover, listed: object, reason: str) -> None:
    deliver_several(root, PUBLISHER, {"a.onnx": onnx()}, listed=listed)
    assert run(root, cover)["speech"].reason == reason


@pytest.mark.parametrize("kind", ["policy", "extension"])
def test_only_a_model_is_several_files(root: Path, cover: FakeCover, kind: str) -> None:
    files = dict.fromkeys(("a.erofs", "b.erofs") if kind == "extension" else ("a.onnx", "b.onnx"))
    deliver_several(root, PUBLISHER, {name: onnx() for name in files}, kind=kind)
    assert (
        run(root, cover)["speech"].reason == f"record.json: {kind} speech is several files, not one"
    )


def test_without_fs_verity_the_file_is_named(root: Path, cover: FakeCover) -> None:
    cover.available = False
    deliver_several(root, PUBLISHER, OLD)
    assert run(root, cover)["speech"].reason.startswith("config.json: fs-verity is not available")


# Later.


def page(verdict: Verdict) -> None:
    with open(f"{verdict.path}/{SECOND}", "r+b") as file:
        file.seek(30)
        file.write(b"\xff")


def uncovered(verdict: Verdict) -> None:
    Path(verdict.path, SECOND).unlink()
    Path(verdict.path, SECOND).write_bytes(NEW[SECOND])


def swapped(verdict: Verdict) -> None:
    """Both stay covered, and are files of this very model."""
    first, second = Path(verdict.path, FIRST), Path(verdict.path, SECOND)
    first.rename(f"{verdict.path}/x")
    second.rename(first)
    Path(verdict.path, "x").rename(second)


def gone(verdict: Verdict) -> None:
    Path(verdict.path, SECOND).unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (page, f"altered: a page of {SECOND} does not match its fs-verity digest"),
        (uncovered, f"{SECOND}: not covered by fs-verity (No data available)"),
        (swapped, "altered: the files of speech are others than were admitted"),
        (gone, f"altered: {SECOND} is missing"),
    ],
)
def test_what_changed_since_is_refused_at_the_next_boot(
    root: Path, cover: FakeCover, spoil: Callable[[Verdict], None], reason: str
) -> None:
    spoil(admit(root, cover))
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason) == ("refused", reason)


def test_a_shard_of_another_model_of_this_machine_is_refused(root: Path, cover: FakeCover) -> None:
    speech = admit(root, cover)
    deliver_several(root, PUBLISHER, NEW, "vision")
    vision = run(root, cover)["vision"]
    os.unlink(f"{speech.path}/{FIRST}")
    os.link(f"{vision.path}/{FIRST}", f"{speech.path}/{FIRST}")
    reason = "altered: the files of speech are others than were admitted"
    assert run(root, cover)["speech"].reason == reason


def test_what_the_machine_signed_is_read_by_the_size_of_all(root: Path, cover: FakeCover) -> None:
    """A change behind fs-verity's back shows only to who reads: below the limit, the store does."""
    deliver_several(root, PUBLISHER, OLD)
    seal, total = FakeSeal(), sum(map(len, OLD.values()))
    page(run(root, cover, seal=seal)["speech"])
    assert run(root, cover, seal=seal, read_anyway=total - 1)["speech"].state == "admitted"
    assert run(root, cover, seal=seal, read_anyway=total)["speech"].state == "refused"


def test_delivering_it_again_repairs_one_that_went_bad(root: Path, cover: FakeCover) -> None:
    page(admit(root, cover))
    verdict = admit(root, cover)
    assert content(verdict) == OLD


def test_gc_counts_all_files(root: Path, cover: FakeCover) -> None:
    admit(root, cover)
    found = store(root, cover, PUBLISHER)
    found.remove("speech")
    assert found.collect() == (1, sum(map(len, OLD.values())))
    assert os.listdir(root / "objects") == []


class PowerCutError(BaseException):
    """Nothing catches it, like a power cut."""


def cut_after(count: int) -> Callable[..., None]:
    """What is called at each step, and stops the store at one."""
    steps = itertools.count(1)

    def step(*_: object) -> None:
        if next(steps) == count:
            raise PowerCutError

    return step


STEPS = ("covered", *["linked"] * len(NEW), "object", "named", "gone", "taken")


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1), ids=lambda n: f"{n}-{STEPS[n - 1]}")
@pytest.mark.parametrize("has_old", [False, True])
def test_a_power_cut_leaves_all_old_or_all_new_files(
    root: Path, cover: FakeCover, count: int, has_old: bool
) -> None:
    if has_old:
        admit(root, cover)
    deliver_several(root, PUBLISHER, NEW)
    with pytest.raises(PowerCutError):
        run(root, cover, step=cut_after(count))
    note = root / "names/speech.json"
    if note.exists():
        folder = root / "objects" / json.loads(note.read_text())["object"]
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found == (NEW if STEPS[count - 1] in ("named", "gone", "taken") else OLD)
    else:
        assert not has_old
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason, content(verdict)) == ("admitted", "", NEW)
    assert os.listdir(root / "incoming") == []
    assert len(os.listdir(root / "objects")) == 1


@pytest.mark.parametrize("count", range(1, len(NEW) + 1))
def test_a_power_cut_while_files_are_covered(root: Path, cover: FakeCover, count: int) -> None:
    old = admit(root, cover)
    deliver_several(root, PUBLISHER, NEW)
    cover.meanwhile = cut_after(count)
    with pytest.raises(PowerCutError):
        run(root, cover)
    assert content(old) == OLD
    cover.meanwhile = lambda: None
    assert content(run(root, cover)["speech"]) == NEW


def test_a_power_cut_while_a_delivery_is_deleted(
    root: Path, cover: FakeCover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it is no delivery any more, and goes at the next boot."""

    def begin(path: str, **_: object) -> None:
        if os.path.isdir(path):
            os.unlink(f"{path}/record.json")
            raise PowerCutError

    deliver_several(root, PUBLISHER, NEW)
    monkeypatch.setattr(shutil, "rmtree", begin)
    with pytest.raises(PowerCutError):
        run(root, cover)
    monkeypatch.undo()
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason, content(verdict)) == ("admitted", "", NEW)
    assert os.listdir(root / "incoming") == []


def test_there_are_no_other_steps(root: Path, cover: FakeCover) -> None:
    steps: list[str] = []
    deliver_several(root, PUBLISHER, NEW)
    run(root, cover, step=steps.append)
    assert tuple(steps) == STEPS


@pytest.mark.parametrize("file", [FIRST, "config.json"])
def test_a_file_exchanged_while_it_is_verified(root: Path, cover: FakeCover, file: str) -> None:
    folder = deliver_several(root, PUBLISHER, OLD)

    def swap(step: str) -> None:
        if step == "covered":
            (folder / file).unlink()
            (folder / file).write_bytes(NEW[file])

    verdict = run(root, cover, step=swap)["speech"]
    assert verdict.reason == f"{file} was exchanged while it was verified"
    assert os.listdir(root / "objects") == []
