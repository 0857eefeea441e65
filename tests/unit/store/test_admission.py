from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.policy.publishers import Publisher as Rights
from ainit.store.records import Admitted, Verdict
from ainit.store.seal import statement
from tests.support.store import FakeCover, FakeSeal, Publisher, deliver, onnx, store

PUBLISHER = Publisher()
OTHER = onnx(b"other weights")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def cover() -> Iterator[FakeCover]:
    cover = FakeCover()
    yield cover
    cover.close()


def run(root: Path, cover: FakeCover) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in store(root, cover, PUBLISHER).run()}


def admit(root: Path, cover: FakeCover, content: bytes | None = None) -> Verdict:
    deliver(root, PUBLISHER, content=content)
    verdict = run(root, cover)["speech"]
    assert verdict.state == "admitted", verdict.reason
    return verdict


def test_a_signed_model_is_admitted_under_its_digest(root: Path, cover: FakeCover) -> None:
    deliver(root, PUBLISHER, "speech")
    deliver(root, PUBLISHER, "placement", kind="policy", content=OTHER)
    verdicts = run(root, cover)
    assert [(v.name, v.kind, v.state, v.signer) for v in verdicts.values()] == [
        ("placement", "policy", "admitted", "acme"),
        ("speech", "model", "admitted", "acme"),
    ]
    speech = verdicts["speech"]
    assert Path(speech.path).read_bytes() == onnx()
    assert f"/objects/{speech.digest.removeprefix('sha256:')}/" in speech.path
    assert os.listdir(root / "incoming") == []


def test_files_are_hashed_side_by_side(
    root: Path, cover: FakeCover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits until the second is being hashed, too."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=60)
    cover.meanwhile = both.wait
    deliver(root, PUBLISHER, "speech")
    deliver(root, PUBLISHER, "other", content=OTHER)
    assert {verdict.state for verdict in run(root, cover).values()} == {"admitted"}


def test_two_names_for_one_file_are_both_admitted(root: Path, cover: FakeCover) -> None:
    for name in ("a", "b", "c", "d"):
        deliver(root, PUBLISHER, name)
    verdicts = run(root, cover)
    assert {verdict.state for verdict in verdicts.values()} == {"admitted"}
    assert len({verdict.path for verdict in verdicts.values()}) == 1
    assert len(run(root, cover)) == 4


def test_an_extension_is_admitted_as_one(root: Path, cover: FakeCover) -> None:
    image = bytes(1024) + bytes.fromhex("e2e1f5e0") + bytes(100)
    deliver(root, PUBLISHER, "cuda", kind="extension", content=image, file="cuda.erofs")
    (verdict,) = run(root, cover).values()
    assert (verdict.kind, verdict.state) == ("extension", "admitted")


@pytest.mark.parametrize(
    ("kind", "file"), [("extension", "model.onnx"), ("model", "model.erofs"), ("tool", "t.erofs")]
)
def test_code_does_not_pass_for_data(root: Path, cover: FakeCover, kind: str, file: str) -> None:
    deliver(root, PUBLISHER, "cuda", kind=kind, file=file)
    (verdict,) = run(root, cover).values()
    assert verdict.state == "refused"
    assert "record.json: " in verdict.reason


def test_the_next_boot_says_the_same(root: Path, cover: FakeCover) -> None:
    assert run(root, cover) == {}
    verdict = admit(root, cover)
    assert run(root, cover) == {"speech": verdict}


def test_a_successor_takes_the_name_and_the_old_object_goes(root: Path, cover: FakeCover) -> None:
    old = admit(root, cover)
    new = admit(root, cover, OTHER)
    assert new.digest != old.digest
    assert os.listdir(root / "objects") == [new.digest.removeprefix("sha256:")]


def test_two_names_may_stand_for_the_same_bytes(root: Path, cover: FakeCover) -> None:
    deliver(root, PUBLISHER, "one")
    deliver(root, PUBLISHER, "two")
    one, two = run(root, cover).values()
    assert (one.state, two.state, one.digest) == ("admitted", "admitted", two.digest)


def unsigned(directory: Path) -> None:
    (directory / "model.sig").unlink()


def by_a_stranger(directory: Path) -> None:
    contents = {name: (directory / name).read_bytes() for name in ("record.json", "model.onnx")}
    (directory / "model.sig").write_bytes(Publisher("stranger").sign("speech", contents))


def changed(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(onnx(b"\x01\x02\x03\x05"))


def relabelled(directory: Path) -> None:
    record = {"name": "speech", "kind": "policy", "file": "model.onnx"}
    (directory / "record.json").write_text(json.dumps(record))


def signed_for_another_name(directory: Path) -> None:
    contents = {name: (directory / name).read_bytes() for name in ("record.json", "model.onnx")}
    (directory / "model.sig").write_bytes(PUBLISHER.sign("other", contents))


def signed_in_part(directory: Path) -> None:
    contents = {"model.onnx": (directory / "model.onnx").read_bytes()}
    (directory / "model.sig").write_bytes(PUBLISHER.sign("speech", contents))


def linked(directory: Path) -> None:
    (directory / "model.onnx").rename(directory / "elsewhere")
    (directory / "model.onnx").symlink_to("elsewhere")


def piped(directory: Path) -> None:
    (directory / "model.onnx").unlink()
    os.mkfifo(directory / "model.onnx")


def pickled(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(b"\x80\x04\x95rest")


def without_record(directory: Path) -> None:
    (directory / "record.json").unlink()


def with_a_path(directory: Path) -> None:
    record = {"name": "speech", "kind": "model", "file": "../../../etc/shadow"}
    (directory / "record.json").write_text(json.dumps(record))


def without_the_file(directory: Path) -> None:
    (directory / "model.onnx").unlink()


def with_a_huge_signature(directory: Path) -> None:
    (directory / "model.sig").write_bytes(b" " * (1 << 21))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (unsigned, "unsigned"),
        (by_a_stranger, "signed by an unknown key"),
        (changed, "altered: model.onnx is not what acme signed"),
        (relabelled, "altered: record.json is not what acme signed"),
        (signed_for_another_name, "the signature is for other, not for speech"),
        (signed_in_part, "the signature does not cover record.json"),
        (linked, "model.onnx cannot be used: Too many levels of symbolic links"),
        (piped, "model.onnx is no regular file"),
        (pickled, "format pickle refused because loading it runs code"),
        (without_record, "record.json is missing"),
        (with_a_path, "record.json: file ../../../etc/shadow is no plain file name"),
        (without_the_file, "altered: model.onnx is missing"),
        (with_a_huge_signature, "model.sig is longer than 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(
    root: Path, cover: FakeCover, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(deliver(root, PUBLISHER))
    deliver(root, PUBLISHER, "filetype", content=OTHER)
    verdicts = run(root, cover)
    assert verdicts["speech"].state == "refused"
    assert verdicts["speech"].reason.startswith(reason)
    assert verdicts["filetype"].state == "admitted"
    assert os.listdir(root / "names") == ["filetype.json"]


def test_without_fs_verity_nothing_is_admitted(root: Path, cover: FakeCover) -> None:
    cover.available = False
    deliver(root, PUBLISHER)
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.reason[:33]) == ("refused", "fs-verity is not available here (")


def test_a_bad_successor_leaves_the_old_model_in_use(root: Path, cover: FakeCover) -> None:
    old = admit(root, cover)
    changed(deliver(root, PUBLISHER))
    verdict = run(root, cover)["speech"]
    assert (verdict.state, verdict.path, verdict.digest) == ("admitted", old.path, old.digest)
    assert verdict.reason == (
        "its successor is refused: altered: model.onnx is not what acme signed"
    )


def page(verdict: Verdict, root: Path) -> None:
    with open(verdict.path, "r+b") as file:
        file.seek(8)
        file.write(b"\xff")


def exchanged(verdict: Verdict, root: Path) -> None:
    os.unlink(verdict.path)
    Path(verdict.path).write_bytes(OTHER)


def gone(verdict: Verdict, root: Path) -> None:
    os.unlink(verdict.path)


def note(key: str, value: object) -> Callable[[Verdict, Path], None]:
    def change(verdict: Verdict, root: Path) -> None:
        path = root / "names" / "speech.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (page, "altered: a page of model.onnx does not match its fs-verity digest"),
        (exchanged, "not covered by fs-verity"),
        (gone, "altered: model.onnx is missing"),
        (note("object", "0" * 64), "altered: model.onnx is missing"),
        (note("object", "../../etc"), "altered: the store's note is not what the store wrote"),
        (note("signature", ""), "unsigned"),
        (note("record", "{}"), "record.json has other keys"),
        (note("record", "\ud800"), "altered: text that is not UTF-8"),
        (note("schema", 3), "the store's note has schema 3, not 2"),
        (note("schema", 1), "altered: the store's note is not what the store wrote"),
        (note("seal", 1), "altered: the store's note is not what the store wrote"),
    ],
)
def test_what_changed_since_is_refused_at_the_next_boot(
    root: Path, cover: FakeCover, spoil: Callable[[Verdict, Path], None], reason: str
) -> None:
    spoil(admit(root, cover), root)
    verdict = run(root, cover)["speech"]
    assert verdict.state == "refused"
    assert verdict.reason.startswith(reason)


def test_an_object_of_another_model_is_refused(root: Path, cover: FakeCover) -> None:
    """Validly signed and covered, but not what the name was admitted for."""
    speech = admit(root, cover)
    deliver(root, PUBLISHER, "filetype", content=OTHER)
    filetype = run(root, cover)["filetype"]
    os.unlink(speech.path)
    os.link(filetype.path, speech.path)
    verdict = run(root, cover)["speech"]
    assert verdict.reason == "altered: model.onnx is another file than was admitted"


def test_a_key_that_is_no_longer_trusted_refuses_its_models(root: Path, cover: FakeCover) -> None:
    admit(root, cover)
    (verdict,) = store(root, cover, Publisher("new")).run()
    assert verdict.reason.startswith("signed by an unknown key")


def test_delivering_it_again_repairs_an_object_that_went_bad(root: Path, cover: FakeCover) -> None:
    page(admit(root, cover), root)
    verdict = admit(root, cover)
    assert Path(verdict.path).read_bytes() == onnx()
    assert run(root, cover)["speech"] == verdict


def test_a_note_that_cannot_be_read_keeps_every_object(root: Path, cover: FakeCover) -> None:
    verdict = admit(root, cover)
    (root / "names" / "speech.json").write_bytes(b"")
    run(root, cover)
    assert Path(verdict.path).exists()


class PowerCutError(BaseException):
    """Nothing catches it, like a power cut."""


def cut_at(step: str) -> Callable[[str], None]:
    def cut(reached: str) -> None:
        if reached == step:
            raise PowerCutError

    return cut


@pytest.mark.parametrize("step", ["covered", "linked", "object", "named", "gone", "taken"])
@pytest.mark.parametrize("has_old", [False, True])
def test_a_power_cut_leaves_the_old_or_the_new_model(
    root: Path, cover: FakeCover, step: str, has_old: bool
) -> None:
    old = admit(root, cover) if has_old else None
    deliver(root, PUBLISHER, content=OTHER)
    interrupted = replace(store(root, cover, PUBLISHER), step=cut_at(step))
    with pytest.raises(PowerCutError):
        interrupted.run()
    names = root / "names" / "speech.json"
    if names.exists():
        digest = json.loads(names.read_text())["object"]
        content = (root / "objects" / digest / "model.onnx").read_bytes()
        assert content == (OTHER if step in ("named", "gone", "taken") else onnx())
    else:
        assert old is None
    verdict = run(root, cover)["speech"]
    assert verdict.state == "admitted"
    assert Path(verdict.path).read_bytes() == OTHER
    assert os.listdir(root / "incoming") == []
    assert len(os.listdir(root / "objects")) == 1


# What the machine signed.


class CountingCover(FakeCover):
    """Counts how many bytes are read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def read(self, descriptor: int, size: int) -> bytes:
        data = super().read(descriptor, size)
        self.bytes += len(data)
        return data


@pytest.fixture
def counting() -> Iterator[CountingCover]:
    cover = CountingCover()
    yield cover
    cover.close()


def boot(
    root: Path, cover: FakeCover, seal: FakeSeal | None, **more: object
) -> tuple[Verdict, FakeSeal | None]:
    (verdict,) = store(root, cover, PUBLISHER, seal, **{"read_anyway": 0, **more}).run()
    return verdict, seal


def test_what_the_machine_signed_is_not_read_again(root: Path, counting: CountingCover) -> None:
    deliver(root, PUBLISHER)
    first, seal = boot(root, counting, FakeSeal())
    counting.bytes = 0
    assert boot(root, counting, seal)[0] == first
    assert counting.bytes == 0


@pytest.mark.parametrize("seal", [None, FakeSeal()], ids=["no key", "another key"])
def test_what_the_machine_did_not_sign_is_read(
    root: Path, counting: CountingCover, seal: FakeSeal | None
) -> None:
    """After an update the key is another one; from the boot after that nothing is read again."""
    deliver(root, PUBLISHER)
    first, _ = boot(root, counting, FakeSeal())
    counting.bytes = 0
    assert boot(root, counting, seal)[0] == first
    assert counting.bytes == len(onnx())
    if seal is not None:
        assert boot(root, counting, seal)[0] == first
        assert counting.bytes == len(onnx())


@pytest.mark.parametrize("read_anyway", [0, 1 << 20])
def test_a_signature_that_holds_is_kept(root: Path, cover: FakeCover, read_anyway: int) -> None:
    deliver(root, PUBLISHER)
    _, seal = boot(root, cover, FakeSeal())
    note = root / "names/speech.json"
    before = note.read_bytes()
    boot(root, cover, seal, read_anyway=read_anyway)
    assert note.read_bytes() == before


def test_a_small_file_is_read_at_every_boot(root: Path, counting: CountingCover) -> None:
    deliver(root, PUBLISHER)
    _, seal = boot(root, counting, FakeSeal())
    counting.bytes = 0
    boot(root, counting, seal, read_anyway=len(onnx()))
    assert counting.bytes == len(onnx())


def test_model_note_and_verity_replaced_together_are_refused(root: Path, cover: FakeCover) -> None:
    """The disk in another computer: everything on it is made to fit, but for two signatures."""
    deliver(root, PUBLISHER)
    first, seal = boot(root, cover, FakeSeal())
    evil = root / "objects" / "evil"
    evil.write_bytes(OTHER)
    with evil.open("rb") as file:
        cover.enable(file.fileno())
        digest = cover.measure(file.fileno()).hex()
    (root / "objects" / digest).mkdir()
    evil.rename(root / "objects" / digest / "model.onnx")
    path = root / "names" / "speech.json"
    admitted = Admitted.parse(path.read_bytes())
    forged = replace(admitted, object=digest)
    for mark in (admitted.seal, FakeSeal().make(statement("speech", forged)), ""):
        path.write_bytes(replace(forged, seal=mark).to_bytes())
        verdict, _ = boot(root, cover, seal)
        assert verdict.state == "refused"
        assert verdict.reason == "altered: model.onnx is not what acme signed"
    assert first.state == "admitted"


def test_a_note_under_another_name_is_refused(root: Path, cover: FakeCover) -> None:
    deliver(root, PUBLISHER)
    _, seal = boot(root, cover, FakeSeal())
    names = root / "names"
    (names / "speech.json").rename(names / "vision.json")
    verdict, _ = boot(root, cover, seal)
    assert verdict.reason == "record.json is that of speech, not of vision"


def test_a_note_of_a_store_that_signed_nothing_is_read_and_signed(
    root: Path, counting: CountingCover
) -> None:
    deliver(root, PUBLISHER)
    first, _ = boot(root, counting, None)
    path = root / "names" / "speech.json"
    values = json.loads(path.read_text())
    del values["seal"]
    path.write_text(json.dumps({**values, "schema": 1}))
    seal = FakeSeal()
    assert boot(root, counting, seal)[0] == first
    counting.bytes = 0
    assert boot(root, counting, seal)[0] == first
    assert counting.bytes == 0


def test_a_power_cut_while_signing_again_changes_nothing(root: Path, cover: FakeCover) -> None:
    deliver(root, PUBLISHER)
    first, _ = boot(root, cover, FakeSeal())

    def cut(step: str) -> None:
        if step == "sealed":
            raise KeyboardInterrupt

    seal = FakeSeal()
    with pytest.raises(KeyboardInterrupt):
        boot(root, cover, seal, step=cut)
    assert boot(root, cover, seal)[0] == first


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        (Rights("acme", revoked=True), "the key of acme was revoked"),
        (Rights("acme", not_after="2026-12-31"), "the key of acme expired after 2026-12-31"),
        (Rights("acme", kinds=["policy"]), "acme may not sign a model, only policy"),
        (Rights("acme", names=["vision"]), "acme may not sign speech, only vision"),
    ],
)
def test_a_publisher_who_may_not_or_no_longer_is_refused(
    root: Path, cover: FakeCover, rights: Rights, reason: str
) -> None:
    """At delivery, and at the boot after he lost the right, however the machine signed."""
    today = datetime.date(2027, 1, 1)
    deliver(root, PUBLISHER)
    restricted = {"publishers": {"acme": rights}, "today": today}
    refused, seal = boot(root, cover, FakeSeal(), **restricted)
    assert (refused.state, refused.reason) == ("refused", reason)
    admitted, _ = boot(root, cover, seal, today=today)
    assert admitted.state == "admitted"
    refused, _ = boot(root, cover, seal, **restricted)
    assert (refused.state, refused.reason) == ("refused", reason)
