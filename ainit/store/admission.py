"""Admission of models, and their re-verification at every boot.

    models/incoming/<name>/    as delivered: the model's file or files, record.json, model.sig
    models/objects/<digest>/   the files alone, under fs-verity, by their one digest
    models/names/<name>.json   which object a name stands for, with record and signature

Ordering rules. fs-verity is enabled before anything is verified, and everything is verified through
one descriptor a file: nobody can change one in between. The object is whole and durable before the
name points to it, and what was delivered goes only after that. So a power cut at any moment leaves
the name at the old model or at the new one, never at files of both, and the next boot finishes the
work.

At every boot the publisher's signature is checked again, under the rights that he has today. A
small model is read completely, too, so that a page that changed shows as a refusal here and not as
a fault in an agent. A large one is read only where this machine did not sign that it is the one
(see ``seal``): without a TPM, and once after an update. Else the digest that the kernel holds the
files to is enough, and a page that changed is refused to whoever reads it.

Models are hashed side by side, one a processor; what is written, and the TPM, come one at a time.
"""

from __future__ import annotations

import datetime
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from ..child.given import small
from ..errors import RefusedError
from ..linux import files
from ..policy.publishers import Publisher
from . import formats, signature
from .contents import Contents, link_over, opened_all
from .parallel import side_by_side
from .reading import reason
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
    from .signature import Certified, PublisherKey

NOTE_BYTES_MAX = 4 << 20
READ_ANYWAY = 32 << 20  # takes a tenth of a second
_GONE = ".gone"  # no name of a model ends so


def _no_step(_: str) -> None:
    """Nothing happens between the steps, outside of the tests."""


@dataclass(frozen=True)
class Store:
    """The models of one machine.

    ``publishers`` has the rights of those who do not have all; models of ``read_anyway`` bytes
    at most are read at every boot. ``step`` is told each step; a test stops the store there.
    """

    root: str
    cover: Cover
    keys: Mapping[str, PublisherKey]
    seal: Seal = field(default_factory=NoSeal)
    publishers: Mapping[str, Publisher] = field(default_factory=dict)
    today: datetime.date = datetime.date.min
    certified: Certified = field(default_factory=signature.NobodyCertified)
    read_anyway: int = READ_ANYWAY
    step: Callable[[str], None] = _no_step
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def run(self) -> list[Verdict]:
        """Admit what was delivered, re-verify what is here: one verdict for each name, in order.

        Raises OSError when the store itself cannot be used; a bad model is only a verdict.
        """
        for part in ("incoming", "objects", "names"):
            os.makedirs(f"{self.root}/{part}", mode=0o755, exist_ok=True)
        delivered = side_by_side(self.admit, self.names("incoming", ""))
        verdicts = {verdict.name: verdict for verdict in delivered}
        kept = [
            name
            for name in self.names("names", ".json")
            if name not in verdicts or verdicts[name].state is State.REFUSED
        ]
        for current in side_by_side(self.recheck, kept):
            verdicts[current.name] = _together(current, verdicts.get(current.name))
        self.collect()
        return [verdicts[name] for name in sorted(verdicts)]

    def names(self, part: str = "names", suffix: str = ".json") -> list[str]:
        """The names in a part of the store, in order."""
        found = sorted(os.listdir(f"{self.root}/{part}"))
        stems = [entry.removesuffix(suffix) for entry in found if entry.endswith(suffix)]
        return [stem for stem in stems if is_name(stem)]

    # Admission

    def admit(self, name: str, trial: Callable[[Verdict], None] | None = None) -> Verdict:
        """Take in what was delivered under a name; a refusal leaves all as it is.

        ``trial`` is given what the name is about to stand for, when that is whole and durable and
        the delivery is gone; it raises RefusedError when that is not to be.
        """
        directory = f"{self.root}/incoming/{name}"
        verdict = Verdict(name, State.REFUSED)
        try:
            text = small(f"{directory}/{RECORD_FILE}", RECORD_BYTES_MAX)
            record = Record.parse(text, name)
            verdict = replace(verdict, kind=record.kind)
            bundle = small(f"{directory}/{SIGNATURE_FILE}", signature.BUNDLE_BYTES_MAX)
            with opened_all(directory, record.files, self.cover) as contents:
                _no_more(directory, record)
                contents.enable()
                self.step("covered")
                digest = contents.digest()
                verdict = replace(verdict, digest=f"sha256:{digest}")
                formats.check(contents.files)
                note = Admitted(digest, text.decode(), bundle.decode())
                signer = self._verify(contents, record, note)
                with self._writing:
                    note = self._sealed(name, note)
                    self._file(contents, record, note)
                    if trial:
                        self.discard(name)
                        trial(self._admitted(verdict, record, note, signer))
                    self._name(name, note)
        except (RefusedError, OSError, UnicodeError) as error:
            return replace(verdict, reason=reason(error))
        return self._admitted(verdict, record, note, signer)

    def _file(self, contents: Contents, record: Record, note: Admitted) -> None:
        """Make verified files an object."""
        source = f"{self.root}/incoming/{record.name}"
        target = f"{self.root}/objects/{note.object}"
        os.makedirs(target, mode=0o755, exist_ok=True)
        for file, descriptor in contents.files.items():
            link_over(file, descriptor, source, target)
            self.step("linked")
        files.sync_directory(target)
        files.sync_directory(f"{self.root}/objects")
        self.step("object")

    def _name(self, name: str, note: Admitted) -> None:
        """Have a name stand for an object, and let go of what was delivered."""
        files.replace(f"{self.root}/names/{name}.json", note.to_bytes())
        self.step("named")
        self.discard(name)
        self.step("taken")

    def _admitted(self, verdict: Verdict, record: Record, note: Admitted, signer: str) -> Verdict:
        path = f"{self.root}/objects/{note.object}"
        several = len(record.files) > 1
        return replace(
            verdict,
            state=State.ADMITTED,
            path=path if several else f"{path}/{record.files[0]}",
            files=record.files if several else (),
            signer=signer,
        )

    # Every boot

    def recheck(self, name: str, *, whole: bool = False) -> Verdict:
        """Whether what a name stands for may be used; ``whole`` reads it in any case."""
        verdict = Verdict(name, State.REFUSED)
        try:
            note = Admitted.parse(small(f"{self.root}/names/{name}.json", NOTE_BYTES_MAX))
            record = Record.parse(note.record.encode(), name)
            verdict = replace(verdict, kind=record.kind, digest=f"sha256:{note.object}")
            directory = f"{self.root}/objects/{note.object}"
            with opened_all(directory, record.files, self.cover) as contents:
                if contents.digest() != note.object:
                    raise RefusedError(_exchanged(record))
                sealed = self.seal.holds(statement(name, note), note.seal)
                if sealed and not whole and contents.size() > self.read_anyway:
                    signer = self.signer(record, note)[0]
                else:
                    signer = self._verify(contents, record, note)
                if not sealed:
                    self._seal_again(name, note)
        except (RefusedError, OSError, UnicodeError) as error:
            return replace(verdict, reason=reason(error))
        return self._admitted(verdict, record, note, signer)

    def discard(self, name: str) -> None:
        """Remove what was delivered under a name, if anything: all of it at once, whatever comes
        between.
        """
        gone = f"{self.root}/incoming/.{name}{_GONE}"
        shutil.rmtree(gone, ignore_errors=True)
        try:
            os.rename(f"{self.root}/incoming/{name}", gone)
        except FileNotFoundError:
            return
        files.sync_directory(f"{self.root}/incoming")
        self.step("gone")
        shutil.rmtree(gone)

    def remove(self, name: str) -> None:
        """Forget a name. Its object goes with ``collect``; whoever has it open keeps it.

        Raises FileNotFoundError when there is none.
        """
        os.unlink(f"{self.root}/names/{name}.json")
        files.sync_directory(f"{self.root}/names")

    def collect(self) -> tuple[int, int]:
        """Remove objects that no name stands for; how many, and their bytes.

        While a note cannot be read, no object goes.
        """
        for entry in os.listdir(f"{self.root}/incoming"):
            if entry.endswith(_GONE):
                shutil.rmtree(f"{self.root}/incoming/{entry}", ignore_errors=True)
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
        with self._writing:
            sealed = self._sealed(name, note)
            if sealed != note:
                files.replace(f"{self.root}/names/{name}.json", sealed.to_bytes())
                self.step("sealed")

    def _verify(self, contents: Contents, record: Record, note: Admitted) -> str:
        """The signer of the model that is open here. Raises RefusedError or OSError."""
        signer, signed = self.signer(record, note)
        if file := contents.altered(signed):
            raise RefusedError(f"altered: {file} is not what {signer} signed")
        return signer

    def signer(self, record: Record, note: Admitted) -> tuple[str, Mapping[str, str]]:
        """Who signed the record and files of its names, and the SHA-256 (hex) of each of these.

        Raises RefusedError, also for a signer who may not, or no longer.
        """
        signed = signature.verify(note.signature.encode(), self.keys, self.certified)
        if signed.model != record.name:
            raise RefusedError(f"the signature is for {signed.model}, not for {record.name}")
        wanted = {RECORD_FILE, *record.files}
        for file in sorted(wanted - signed.files.keys()):
            raise RefusedError(f"the signature does not cover {file}")
        for file in sorted(signed.files.keys() - wanted):
            raise RefusedError(f"the signature covers {file}, which {RECORD_FILE} does not list")
        if signed.files[RECORD_FILE] != sha256(note.record.encode()).hexdigest():
            raise RefusedError(f"altered: {RECORD_FILE} is not what {signed.signer} signed")
        publisher = self.publishers.get(signed.signer, Publisher(signed.signer))
        if why := publisher.objection(record.name, record.kind, self.today):
            raise RefusedError(why)
        return signed.signer, signed.files


def _no_more(directory: str, record: Record) -> None:
    """Raises RefusedError when a delivery holds what its record does not list."""
    for file in sorted({*os.listdir(directory)} - {RECORD_FILE, SIGNATURE_FILE, *record.files}):
        raise RefusedError(f"{file} is there, and {RECORD_FILE} does not list it")


def _exchanged(record: Record) -> str:
    if len(record.files) == 1:
        return f"altered: {record.files[0]} is another file than was admitted"
    return f"altered: the files of {record.name} are others than were admitted"


def _together(current: Verdict, delivered: Verdict | None) -> Verdict:
    """The verdict on a name whose successor, if one was delivered, is refused."""
    if delivered is None:
        return current
    reason = f"its successor is refused: {delivered.reason}"
    return replace(current, reason=f"{current.reason}; {reason}" if current.reason else reason)
