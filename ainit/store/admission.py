"""Admission of models, and their re-verification at every boot.

    models/incoming/<name>/    as delivered: the model file, record.json, model.sig
    models/objects/<digest>/   the model file alone, under fs-verity, by its fs-verity digest
    models/names/<name>.json   which object a name stands for, with record and signature

Ordering rules. fs-verity is enabled before anything is verified, and everything is verified through
one descriptor: nobody can change the file in between. The object is durable before the name points
to it, and what was delivered goes only after that. So a power cut at any moment leaves the name at
the old model or at the new one, and the next boot finishes the work.

At every boot the publisher's signature is checked again, under the rights that he has today. A
small file is read completely, too, so that a page that changed shows as a refusal here and not as a
fault in an agent. A large one is read only where this machine did not sign that it is the one (see
``seal``): without a TPM, and once after an update. Else the digest that the kernel holds the file
to is enough, and a page that changed is refused to whoever reads it.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from ..errors import RefusedError
from ..linux import files
from ..policy.publishers import Publisher
from . import formats, signature
from .reading import opened, reason, small
from .records import (
    RECORD_BYTES_MAX,
    RECORD_FILE,
    SIGNATURE_FILE,
    Admitted,
    Record,
    State,
    Verdict,
    is_name,
)
from .seal import NoSeal, Seal, statement

if TYPE_CHECKING:
    from .cover import Cover
    from .signature import PublisherKey

NOTE_BYTES_MAX = 4 << 20
READ_ANYWAY = 32 << 20  # takes a tenth of a second
_CHUNK = 1 << 20


def _no_step(_: str) -> None:
    """Nothing happens between the steps, outside of the tests."""


@dataclass(frozen=True)
class Store:
    """The models of one machine.

    ``publishers`` has the rights of those who do not have all; files of ``read_anyway`` bytes at
    most are read at every boot. ``step`` is told each step; a test stops the store there.
    """

    root: str
    cover: Cover
    keys: Mapping[str, PublisherKey]
    seal: Seal = field(default_factory=NoSeal)
    publishers: Mapping[str, Publisher] = field(default_factory=dict)
    today: datetime.date = datetime.date.min
    read_anyway: int = READ_ANYWAY
    step: Callable[[str], None] = _no_step

    def run(self) -> list[Verdict]:
        """Admit what was delivered, re-verify what is here: one verdict for each name, in order.

        Raises OSError when the store itself cannot be used; a bad model is only a verdict.
        """
        for part in ("incoming", "objects", "names"):
            os.makedirs(f"{self.root}/{part}", mode=0o755, exist_ok=True)
        verdicts: dict[str, Verdict] = {}
        for name in self.names("incoming", ""):
            verdicts[name] = self.admit(name)
        for name in self.names("names", ".json"):
            delivered = verdicts.get(name)
            if delivered is None or delivered.state is State.REFUSED:
                verdicts[name] = _together(self.recheck(name), delivered)
        self.collect()
        return [verdicts[name] for name in sorted(verdicts)]

    def names(self, part: str = "names", suffix: str = ".json") -> list[str]:
        """The names in a part of the store, in order."""
        found = sorted(os.listdir(f"{self.root}/{part}"))
        stems = [entry.removesuffix(suffix) for entry in found if entry.endswith(suffix)]
        return [stem for stem in stems if is_name(stem)]

    # Admission

    def admit(self, name: str) -> Verdict:
        """Take in what was delivered under a name; a refusal leaves all as it is."""
        directory = f"{self.root}/incoming/{name}"
        verdict = Verdict(name, State.REFUSED)
        try:
            text = small(f"{directory}/{RECORD_FILE}", RECORD_BYTES_MAX)
            record = Record.parse(text, name)
            verdict = replace(verdict, kind=record.kind)
            bundle = small(f"{directory}/{SIGNATURE_FILE}", signature.BUNDLE_BYTES_MAX)
            with opened(f"{directory}/{record.file}") as descriptor:
                self.cover.enable(descriptor)
                self.step("covered")
                digest = self.cover.measure(descriptor).hex()
                verdict = replace(verdict, digest=f"sha256:{digest}")
                formats.check(descriptor, record.file)
                note = Admitted(digest, text.decode(), bundle.decode())
                signer = self._verify(descriptor, record, note)
                note = self._sealed(name, note)
                path = self._publish(descriptor, record, note)
        except (RefusedError, OSError, UnicodeError) as error:
            return replace(verdict, reason=reason(error))
        return replace(verdict, state=State.ADMITTED, path=path, signer=signer)

    def _publish(self, descriptor: int, record: Record, note: Admitted) -> str:
        """Make a verified file the one that its name stands for; returns its path."""
        source = f"{self.root}/incoming/{record.name}"
        target = f"{self.root}/objects/{note.object}"
        path = f"{target}/{record.file}"
        os.fsync(descriptor)
        os.makedirs(target, mode=0o755, exist_ok=True)
        # A link of its own, moved over what is there: that repairs an object that went bad.
        link = f"{target}/.{record.file}.new"
        _remove(link)
        os.link(f"{source}/{record.file}", link, follow_symlinks=False)
        if not os.path.samestat(os.lstat(link), os.fstat(descriptor)):
            raise RefusedError(f"{record.file} was exchanged while it was verified")
        os.rename(link, path)
        _remove(link)  # rename(2) leaves it when both are links to the same file already
        files.sync_directory(target)
        files.sync_directory(f"{self.root}/objects")
        self.step("object")
        files.replace(f"{self.root}/names/{record.name}.json", note.to_bytes())
        self.step("named")
        shutil.rmtree(source)
        files.sync_directory(f"{self.root}/incoming")
        self.step("taken")
        return path

    # Every boot

    def recheck(self, name: str, *, whole: bool = False) -> Verdict:
        """Whether what a name stands for may be used; ``whole`` reads the file in any case."""
        verdict = Verdict(name, State.REFUSED)
        try:
            note = Admitted.parse(small(f"{self.root}/names/{name}.json", NOTE_BYTES_MAX))
            record = Record.parse(note.record.encode(), name)
            path = f"{self.root}/objects/{note.object}/{record.file}"
            verdict = replace(verdict, kind=record.kind, digest=f"sha256:{note.object}")
            with opened(path) as descriptor:
                if self.cover.measure(descriptor).hex() != note.object:
                    raise RefusedError(f"altered: {record.file} is another file than was admitted")
                sealed = self.seal.holds(statement(name, note), note.seal)
                if sealed and not whole and os.fstat(descriptor).st_size > self.read_anyway:
                    signer = self.signer(record, note)[0]
                else:
                    signer = self._verify(descriptor, record, note)
                if not sealed:
                    self._seal_again(name, note)
        except (RefusedError, OSError, UnicodeError) as error:
            return replace(verdict, reason=reason(error))
        return replace(verdict, state=State.ADMITTED, path=path, signer=signer)

    def discard(self, name: str) -> None:
        """Remove what was delivered under a name, and was refused."""
        shutil.rmtree(f"{self.root}/incoming/{name}", ignore_errors=True)

    def remove(self, name: str) -> None:
        """Forget a name. Its object goes with ``collect``; whoever has it open keeps it.

        Raises FileNotFoundError when there is none.
        """
        os.unlink(f"{self.root}/names/{name}.json")
        files.sync_directory(f"{self.root}/names")

    def collect(self) -> tuple[int, int]:
        """Remove objects that no name stands for; how many, and their bytes.

        While a note cannot be read, nothing goes.
        """
        wanted: set[str] = set()
        try:
            for name in self.names():
                note = small(f"{self.root}/names/{name}.json", NOTE_BYTES_MAX)
                wanted.add(Admitted.parse(note).object)
        except (RefusedError, OSError):
            return 0, 0
        gone = [entry for entry in os.listdir(f"{self.root}/objects") if entry not in wanted]
        freed = 0
        for entry in gone:
            directory = f"{self.root}/objects/{entry}"
            freed += sum(file.stat(follow_symlinks=False).st_size for file in os.scandir(directory))
            shutil.rmtree(directory, ignore_errors=True)
        return len(gone), freed

    def _sealed(self, name: str, note: Admitted) -> Admitted:
        """The note with the machine's signature, once it was verified."""
        return replace(note, seal=self.seal.make(statement(name, note)))

    def _seal_again(self, name: str, note: Admitted) -> None:
        sealed = self._sealed(name, note)
        if sealed != note:
            files.replace(f"{self.root}/names/{name}.json", sealed.to_bytes())
            self.step("sealed")

    def _verify(self, descriptor: int, record: Record, note: Admitted) -> str:
        """The signer of the model that ``descriptor`` holds. Raises RefusedError or OSError."""
        signer, digest = self.signer(record, note)
        if self._hash(descriptor) != digest:
            raise RefusedError(f"altered: {record.file} is not what {signer} signed")
        return signer

    def signer(self, record: Record, note: Admitted) -> tuple[str, str]:
        """Who signed the record and a file of its name, and that file's SHA-256 (hex).

        Raises RefusedError, also for a signer who may not, or no longer.
        """
        signed = signature.verify(note.signature.encode(), self.keys)
        if signed.model != record.name:
            raise RefusedError(f"the signature is for {signed.model}, not for {record.name}")
        if set(signed.files) != {RECORD_FILE, record.file}:
            covered = ", ".join(sorted(signed.files)) or "nothing"
            wanted = f"{RECORD_FILE} and {record.file}"
            raise RefusedError(f"the signature covers {covered}, not {wanted}")
        if signed.files[RECORD_FILE] != sha256(note.record.encode()).hexdigest():
            raise RefusedError(f"altered: {RECORD_FILE} is not what {signed.signer} signed")
        publisher = self.publishers.get(signed.signer, Publisher(signed.signer))
        if why := publisher.objection(record.name, record.kind, self.today):
            raise RefusedError(why)
        return signed.signer, signed.files[record.file]

    def _hash(self, descriptor: int) -> str:
        state = sha256()
        os.lseek(descriptor, 0, os.SEEK_SET)
        while chunk := self.cover.read(descriptor, _CHUNK):
            state.update(chunk)
        return state.hexdigest()


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _together(current: Verdict, delivered: Verdict | None) -> Verdict:
    """The verdict on a name whose successor, if one was delivered, is refused."""
    if delivered is None:
        return current
    reason = f"its successor is refused: {delivered.reason}"
    return replace(current, reason=f"{current.reason}; {reason}" if current.reason else reason)
