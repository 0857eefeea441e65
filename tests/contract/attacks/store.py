"""Attacks on the model store: what is delivered, who signed it, and what lies on the disk.

fs-verity is a fake in memory here; the kernel's own is in tests/qemu.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ainit.policy import model_files
from ainit.policy.publishers import Publisher as Rights
from ainit.store import admission, formats, records, signature
from ainit.store.admission import Store
from ainit.store.contents import Contents
from ainit.store.records import Admitted, Record, State
from ainit.store.seal import statement
from tests.support.store import (
    INDEX,
    FakeCover,
    FakeSeal,
    Publisher,
    deliver,
    deliver_several,
    external,
    field,
    onnx,
    shards,
    store,
)

from .attack import Ground, Lack, stopped_by, without

ACME, STRANGER = Publisher("acme"), Publisher("stranger")
EVIL = onnx(b"evil weights")
RECORD = json.dumps({"name": "speech", "kind": "model", "file": "model.onnx"}).encode()
POLICY = RECORD.replace(b'"model"', b'"policy"')
POLICY_DIGEST = sha256(POLICY).hexdigest()
TODAY = datetime.date(2027, 1, 1)
VERIFY, MEASURE = signature.verify, FakeCover.measure


def stated(change: Callable[[signature.Statement], signature.Statement]) -> Lack:
    """A store that reads another statement out of a signature than stands there."""

    def lack(patch: pytest.MonkeyPatch) -> None:
        def verify(
            bundle: bytes, keys: dict[str, signature.PublisherKey], _: object
        ) -> signature.Statement:
            return change(VERIFY(bundle, {**keys, **STRANGER.keys}))

        patch.setattr(signature, "verify", verify)

    return lack


def of_evil(_: object = None) -> signature.Statement:
    """The statement that a publisher would have to sign for the forger's model."""
    files = {"record.json": RECORD, "model.onnx": EVIL}
    return signature.Statement(
        "speech", "acme", {name: sha256(data).hexdigest() for name, data in files.items()}
    )


class Bench:
    """A store in the forger's hands."""

    def __init__(self, ground: Ground) -> None:
        self.root = ground.directory / f"models{len(list(ground.directory.iterdir()))}"
        self.cover, self.seal = FakeCover(), FakeSeal()

    def boot(self, **more: object) -> bool:
        """Whether the machine would use the model that it has after this boot."""
        found = store(self.root, self.cover, ACME, self.seal, read_anyway=0, today=TODAY, **more)
        (verdict,) = found.run()
        return verdict.state is State.ADMITTED

    def note(self) -> Path:
        return self.root / "names/speech.json"

    def replace_object(self, change: Callable[[Admitted, str], Admitted]) -> None:
        """The disk in another computer: the forger's model under fs-verity, a note that fits."""
        path = self.root / "evil"
        path.write_bytes(EVIL)
        with path.open("rb") as file:
            self.cover.enable(file.fileno())
            digest = self.cover.measure(file.fileno()).hex()
        (self.root / "objects" / digest).mkdir()
        path.rename(self.root / "objects" / digest / "model.onnx")
        note = Admitted.parse(self.note().read_bytes())
        self.note().write_bytes(change(note, digest).to_bytes())


def delivered(ground: Ground, publisher: Publisher | None = ACME, **how: object) -> bool:
    bench = Bench(ground)
    deliver(bench.root, publisher, **how)  # type: ignore[arg-type]
    return bench.boot()


@stopped_by("a model is signed", without(signature, "verify", lambda *_: of_evil()))
def model_without_a_signature(ground: Ground) -> bool:
    """A model that nobody signed."""
    return delivered(ground, None, content=EVIL)


@stopped_by("the signer is trusted", stated(lambda found: found))
def model_by_a_stranger(ground: Ground) -> bool:
    """A model signed by a key that the machine does not know."""
    return delivered(ground, STRANGER, content=EVIL)


@stopped_by(
    "the file is the signed one",
    without(Store, "_verify", lambda self, _, record, note: self.signer(record, note)[0]),
)
def model_exchanged_after_signing(ground: Ground) -> bool:
    """A validly signed delivery whose model file is another."""
    bench = Bench(ground)
    (deliver(bench.root, ACME) / "model.onnx").write_bytes(EVIL)
    return bench.boot()


@stopped_by(
    "the record is the signed one",
    stated(lambda found: replace(found, files={**found.files, "record.json": POLICY_DIGEST})),
)
def model_called_a_policy(ground: Ground) -> bool:
    """A validly signed model whose record now makes it the policy that partitions GPUs."""
    bench = Bench(ground)
    (deliver(bench.root, ACME) / "record.json").write_bytes(POLICY)
    return bench.boot()


@stopped_by("the signature is for this name", stated(lambda found: replace(found, model="speech")))
def model_in_anothers_name(ground: Ground) -> bool:
    """A model that the publisher signed as another one takes a trusted name."""
    bench = Bench(ground)
    directory = deliver(bench.root, ACME)
    contents = {"record.json": RECORD, "model.onnx": onnx()}
    (directory / "model.sig").write_bytes(ACME.sign("toy", contents))
    return bench.boot()


@stopped_by("the signature covers record and file", stated(lambda _: of_evil()))
def signature_over_less(ground: Ground) -> bool:
    """A signature that covers the record alone."""
    bench = Bench(ground)
    directory = deliver(bench.root, ACME, content=EVIL)
    (directory / "model.sig").write_bytes(ACME.sign("speech", {"record.json": RECORD}))
    return bench.boot()


RIGHTS = stopped_by(
    "the publisher may sign this, today", without(Rights, "objection", lambda *_: "")
)


def by_one_with(ground: Ground, **rights: object) -> bool:
    bench = Bench(ground)
    deliver(bench.root, ACME)
    return bench.boot(publishers={"acme": Rights("acme", **rights)})  # type: ignore[arg-type]


@RIGHTS
def model_by_a_revoked_publisher(ground: Ground) -> bool:
    """A model signed with a key that was stolen and revoked."""
    return by_one_with(ground, revoked=True)


@RIGHTS
def model_by_an_expired_publisher(ground: Ground) -> bool:
    """A model signed with a key whose time is over."""
    return by_one_with(ground, not_after="2026-12-31")


@RIGHTS
def model_by_a_publisher_of_policies(ground: Ground) -> bool:
    """A model signed by somebody who may sign policies only."""
    return by_one_with(ground, kinds=["policy"])


@RIGHTS
def model_by_a_publisher_of_another(ground: Ground) -> bool:
    """A model signed by somebody who may sign another one only."""
    return by_one_with(ground, names=["vision-*"])


@RIGHTS
def model_admitted_before_the_revocation(ground: Ground) -> bool:
    """A model that the machine admitted and signed for, before the publisher's key was revoked."""
    bench = Bench(ground)
    deliver(bench.root, ACME)
    assert bench.boot()
    return bench.boot(publishers={"acme": Rights("acme", revoked=True)})


FORMAT = stopped_by("the file holds data only", without(formats, "check", lambda *_: None))


@FORMAT
def pickle_called_onnx(ground: Ground) -> bool:
    """A pickle, which runs code when it is loaded, named as a model is; the publisher signed it."""
    return delivered(ground, content=b"\x80\x04cos\nsystem\n.")


@FORMAT
def archive_called_onnx(ground: Ground) -> bool:
    """A zip archive of PyTorch's, with pickles in it."""
    return delivered(ground, content=b"PK\x03\x04" + bytes(100))


@FORMAT
def weights_in_another_file(ground: Ground) -> bool:
    """An ONNX model that loads its weights from a file which nobody measured."""
    tensor = field(8, b"w") + field(13, b"location") + field(14, 1)
    graph = field(2, b"graph") + field(5, tensor)
    return delivered(ground, content=field(1, 10) + field(7, graph) + field(8, field(2, 21)))


@FORMAT
def format_that_nobody_checks(ground: Ground) -> bool:
    """A signed file in a format that the store does not know."""
    return delivered(ground, file="model.bin")


@stopped_by("what is filed is what was verified", without(os.path, "samestat", lambda *_: True))
def model_exchanged_while_it_is_verified(ground: Ground) -> bool:
    """The file's name gets another file between the verification and the filing."""
    bench = Bench(ground)
    source = deliver(bench.root, ACME) / "model.onnx"

    def swap(step: str) -> None:
        if step == "covered":
            source.unlink()
            source.write_bytes(EVIL)

    return bench.boot(step=swap)


@stopped_by("the object has the digest that it is filed under", without(
    FakeCover, "measure", lambda self, descriptor: bytes.fromhex(
        os.readlink(f"/proc/self/fd/{descriptor}").rsplit("/", 2)[1]
    ) if "/objects/" in os.readlink(f"/proc/self/fd/{descriptor}") else MEASURE(self, descriptor)
))  # fmt: skip
def object_exchanged(ground: Ground) -> bool:
    """With the machine off, the forger's file, under fs-verity too, takes the object's place."""
    bench = Bench(ground)
    deliver(bench.root, ACME)
    assert bench.boot()
    (path,) = (bench.root / "objects").glob("*/model.onnx")
    path.unlink()
    path.write_bytes(EVIL)
    with path.open("rb") as file:
        bench.cover.enable(file.fileno())
    return bench.boot()


@stopped_by("the machine itself signed the statement", without(FakeSeal, "holds", lambda *_: True))
def model_note_and_verity_replaced(ground: Ground) -> bool:
    """With the machine off, model, verity metadata and note are replaced together; the statement
    is signed with a key of the forger's.
    """
    bench = Bench(ground)
    deliver(bench.root, ACME)
    assert bench.boot()

    def change(note: Admitted, digest: str) -> Admitted:
        forged = replace(note, object=digest)
        return replace(forged, seal=FakeSeal().make(statement("speech", forged)))

    bench.replace_object(change)
    return bench.boot()


@stopped_by("the statement names the object", without(admission, "statement", lambda *_: b"x"))
def statement_of_another_object(ground: Ground) -> bool:
    """The same, with the statement that the machine signed for the honest model."""
    bench = Bench(ground)
    deliver(bench.root, ACME)
    assert bench.boot()
    bench.replace_object(lambda note, digest: replace(note, object=digest))
    return bench.boot()


@stopped_by("a name is one plain word", without(
    Record, "name_in", staticmethod(lambda text: json.loads(text)["name"])
))  # fmt: skip
def path_out_of_the_store(ground: Ground) -> bool:
    """A delivery whose record names a path: what is fetched would land where the forger likes."""
    from ainit.child.source import open_source
    from ainit.store import fetch

    bench = Bench(ground)
    (bench.root / "incoming").mkdir(parents=True)
    source = deliver(ground.directory / f"source{len(list(ground.directory.iterdir()))}", ACME)
    record = {"name": "../escaped", "kind": "model", "file": "model.onnx"}
    (source / "record.json").write_text(json.dumps(record))
    (bench.root / "incoming/...").mkdir()
    try:
        with open_source(str(source)) as found:
            fetch.fetch(found, str(bench.root), lambda *_: None, lambda *_: None)
    except Exception:  # noqa: BLE001 (whatever stops it)
        return False
    return (bench.root / "escaped").exists()


# Models of several files.

PARTS = {f"m-{n:05}-of-00002.gguf": b"GGUF\3" + bytes(19) + bytes([n]) for n in (1, 2)}
FIRST, SECOND = sorted(PARTS)


def of_delivery(directory: Path) -> signature.Statement:
    """The statement that a publisher would have to sign for what lies here now."""
    files = {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name != "model.sig"
    }
    return signature.Statement("speech", "acme", files)


def any_delivery(patch: pytest.MonkeyPatch) -> None:
    """A store that takes each delivery for the signed one."""

    def verify(self: Store, contents: Contents, record: Record, note: Admitted) -> str:
        directory = Path(os.readlink(f"/proc/self/fd/{next(iter(contents.files.values()))}")).parent
        patch.setattr(signature, "verify", lambda *_: of_delivery(directory))
        return VERIFY_MODEL(self, contents, record, note)

    patch.setattr(Store, "_verify", verify)


VERIFY_MODEL = Store._verify
SIGNED_AS_A_WHOLE = stopped_by("the signature covers record and file", any_delivery)


def listing(directory: Path, files: list[str]) -> None:
    """Rewrite the record, so that it lists these."""
    record = {"name": "speech", "kind": "model", "files": files}
    (directory / "record.json").write_text(json.dumps(record))


@stopped_by("the file is the signed one", without(
    Store, "_verify", lambda self, _, record, note: self.signer(record, note)[0]
))  # fmt: skip
def one_file_of_several_exchanged(ground: Ground) -> bool:
    """A validly signed model of several files, one of which is another."""
    bench = Bench(ground)
    (deliver_several(bench.root, ACME, PARTS) / SECOND).write_bytes(PARTS[FIRST] + b"evil")
    return bench.boot()


@SIGNED_AS_A_WHOLE
def one_file_more_than_signed(ground: Ground) -> bool:
    """A forger's configuration is laid beside a signed model, and entered into its record."""
    bench = Bench(ground)
    directory = deliver_several(bench.root, ACME, PARTS)
    (directory / "config.json").write_text('{"safe": false}')
    listing(directory, [*PARTS, "config.json"])
    return bench.boot()


@SIGNED_AS_A_WHOLE
def one_file_fewer_than_signed(ground: Ground) -> bool:
    """The configuration is taken out of a signed model, and out of its record."""
    bench = Bench(ground)
    directory = deliver_several(bench.root, ACME, {**PARTS, "config.json": b"{}"})
    (directory / "config.json").unlink()
    listing(directory, list(PARTS))
    return bench.boot()


@stopped_by("a delivery is what its record lists", without(admission, "_no_more", lambda *_: None))
def file_that_no_record_lists(ground: Ground) -> bool:
    """A file that nobody signed lies with a signed model, and is not in its record."""
    bench = Bench(ground)
    (deliver_several(bench.root, ACME, PARTS) / "modeling.py").write_text("import os")
    return bench.boot()


@stopped_by("the one digest covers the names", without(
    model_files, "digest", lambda files: "sha256:" + sha256(
        "".join(sorted(digest for _, digest in files.values())).encode()
    ).hexdigest()
))  # fmt: skip
def files_that_changed_places(ground: Ground) -> bool:
    """With the machine off, two files of an admitted model change names; each stays covered."""
    bench = Bench(ground)
    deliver_several(bench.root, ACME, PARTS)
    assert bench.boot()
    (folder,) = (bench.root / "objects").iterdir()
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)
    return bench.boot()


DIGEST = Contents.digest


def filed_under(self: Contents) -> str:
    """The digest that the directory's name says, of what is in the store already."""
    path = Path(os.readlink(f"/proc/self/fd/{next(iter(self.files.values()))}")).parent
    return path.name if path.parent.name == "objects" else DIGEST(self)


@stopped_by("the object has the digest that it is filed under", without(
    Contents, "digest", filed_under
))  # fmt: skip
def file_of_another_model(ground: Ground) -> bool:
    """With the machine off, a file of one admitted model takes the place of another's."""
    bench = Bench(ground)
    deliver_several(bench.root, ACME, PARTS)
    assert bench.boot()
    (folder,) = (bench.root / "objects").iterdir()
    others = {name: data + b"other" for name, data in PARTS.items()}
    other = deliver_several(bench.root, ACME, others, "vision") / SECOND
    with other.open("rb") as file:
        bench.cover.enable(file.fileno())
    (folder / SECOND).unlink()
    os.link(other, folder / SECOND)
    shutil.rmtree(other.parent)
    return bench.boot()


@FORMAT
def pickle_among_shards(ground: Ground) -> bool:
    """A pickle beside safetensors, which engines load in their place; the publisher signed all."""
    return several(ground, {**shards(), "pytorch_model.bin": b"\x80\x04cos\nsystem\n."})


@FORMAT
def code_among_shards(ground: Ground) -> bool:
    """Python beside safetensors, for `trust_remote_code`; the publisher signed all."""
    return several(ground, {**shards(), "modeling.py": b"import os"})


@FORMAT
def index_that_leads_elsewhere(ground: Ground) -> bool:
    """An index that looks for a tensor in a file outside of the model; the publisher signed it."""
    files = shards()
    return several(ground, {**files, INDEX: files[INDEX].replace(b"model-00001", b"../../evil")})


@FORMAT
def data_that_lies_elsewhere(ground: Ground) -> bool:
    """An ONNX model with one data file beside it, and a tensor in another, outside of the model."""
    files = {"model.onnx": external("model.onnx.data", "../other"), "model.onnx.data": b"weights"}
    return several(ground, files)


def several(ground: Ground, contents: dict[str, bytes]) -> bool:
    bench = Bench(ground)
    deliver_several(bench.root, ACME, contents)
    return bench.boot()


@stopped_by("a file is one plain word", without(records, "is_file", lambda _: True))
def file_out_of_the_model(ground: Ground) -> bool:
    """A record that lists a path: what is fetched would land beside the model."""
    from ainit.child.source import Directory
    from ainit.store import fetch

    class Obliging(Directory):
        """A source that has whatever it is asked for."""

        def _place(self, name: str) -> str:
            return f"{source}/{name.replace('%2F', '/')}"

    bench = Bench(ground)
    (bench.root / "incoming").mkdir(parents=True)
    source = deliver_several(bench.root / "source", ACME, PARTS)
    (source.parent / "escaped.json").write_text("{}")
    listing(source, [*PARTS, "../escaped.json"])
    try:
        fetch.fetch(Obliging(str(source)), str(bench.root), lambda *_: None, lambda *_: None)
    except Exception:  # noqa: BLE001 (whatever stops it)
        return False
    return (bench.root / "incoming/escaped.json").exists()
