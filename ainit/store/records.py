"""What the store writes down, and what it tells PID 1. PURE.

``Record`` comes with a model and is signed with it. ``Admitted`` is the store's own note that a
name stands for an object, which is one file or several; it carries record and signature, so one
file's replacement changes all of it at once. ``Verdict`` is what became of a name at this boot.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from ..errors import RefusedError
from ..policy.model_files import FILES_MAX, is_file
from ..wire.codec import dumps, loads

NAME_MAX = 32
RECORD_BYTES_MAX = 64 << 10
RECORD_FILE = "record.json"
SIGNATURE_FILE = "model.sig"
EXTENSION_SUFFIX = ".erofs"
SCHEMA = 2
_UNSEALED = 1  # the schema before machines signed what they admitted
_NAME_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "-")


class Kind(StrEnum):
    """What a file of the store is for; each is measured into PCR 13.

    An extension is no model but a file system with libraries, for agents that ask for it.
    """

    MODEL = "model"
    POLICY = "policy"
    EXTENSION = "extension"


class State(StrEnum):
    """Whether a name may be used at this boot."""

    ADMITTED = "admitted"
    REFUSED = "refused"


def is_name(text: str) -> bool:
    """Whether ``text`` may be a model's name: it becomes a file name and a variable's name."""
    return (
        0 < len(text) <= NAME_MAX
        and text[0] in string.ascii_lowercase
        and set(text) <= _NAME_CHARACTERS
    )


@dataclass(frozen=True)
class Record:
    """A model's own description, ``record.json``, which its signature covers.

    It has the key ``file``, or for a model of several files ``files``; no two are called the same.
    """

    name: str
    kind: Kind
    files: tuple[str, ...]

    @staticmethod
    def name_in(text: bytes) -> str:
        """The name that a record gives itself. Raises RefusedError when it is none."""
        name = _object(text, RECORD_FILE).get("name") if text else ""
        if not isinstance(name, str) or (text and not is_name(name)):
            raise RefusedError(f"{RECORD_FILE}: {name} is no name of a model")
        return name

    @classmethod
    def parse(cls, text: bytes, name: str) -> Record:
        """The record of the model ``name``. Raises RefusedError."""
        if not text:
            raise RefusedError(f"{RECORD_FILE} is missing")
        values = _object(text, RECORD_FILE)
        if set(values) not in ({"name", "kind", "file"}, {"name", "kind", "files"}):
            raise RefusedError(f"{RECORD_FILE} has other keys than name, kind and file or files")
        if values["name"] != name:
            raise RefusedError(f"{RECORD_FILE} is that of {values['name']}, not of {name}")
        if (kind := values["kind"]) not in list(Kind):
            raise RefusedError(f"{RECORD_FILE}: kind {kind} is none of {', '.join(Kind)}")
        files = _several(values["files"]) if "files" in values else [values["file"]]
        names = tuple(file for file in files if isinstance(file, str) and is_file(file))
        for file in files:
            if file not in names or file in (RECORD_FILE, SIGNATURE_FILE):
                raise RefusedError(f"{RECORD_FILE}: file {file} is no plain file name")
        if any((kind == Kind.EXTENSION) != name.endswith(EXTENSION_SUFFIX) for name in names):
            raise RefusedError(f"{RECORD_FILE}: an extension, and nothing else, is an .erofs file")
        if len(names) > 1 and kind != Kind.MODEL:
            raise RefusedError(f"{RECORD_FILE}: {kind} {name} is several files, not one")
        return cls(name, Kind(str(kind)), names)


def _several(files: object) -> list[object]:
    """What ``files`` lists. Raises RefusedError unless it is 2 to FILES_MAX entries, none twice."""
    if not isinstance(files, list) or len(files) < 2:
        raise RefusedError(f"{RECORD_FILE}: files are no list of two or more; one is called file")
    if len(files) > FILES_MAX:
        raise RefusedError(f"{RECORD_FILE} lists {len(files)} files, {FILES_MAX} at most")
    for place, file in enumerate(files):
        if file in files[:place]:
            raise RefusedError(f"{RECORD_FILE} lists {file} twice")
    return files


@dataclass(frozen=True)
class Admitted:
    """``names/<name>.json``: a name, the object it stands for, and the publisher's proof."""

    object: str  # its digest (see ``policy.model_files``), 64 hex digits
    record: str
    signature: str
    seal: str = ""  # the machine's own signature (see ``seal``), in hexadecimal

    def to_bytes(self) -> bytes:
        """The file's content."""
        return (dumps({"schema": SCHEMA, **asdict(self)}) + "\n").encode("ascii")

    @classmethod
    def parse(cls, text: bytes) -> Admitted:
        """What ``to_bytes`` wrote. Raises RefusedError, also for the schema of another version."""
        values = _object(text, "the store's note")
        schema = values.get("schema")
        if schema not in (SCHEMA, _UNSEALED):
            raise RefusedError(f"the store's note has schema {schema}, not {SCHEMA}")
        sealed = {"seal"} if schema == SCHEMA else set()
        if set(values) == {"schema", "object", "record", "signature"} | sealed:
            found = [values[key] for key in ("object", "record", "signature")]
            match [*found, values.get("seal", "")]:
                case [str(digest), str(record), str(signature), str(seal)] if len(
                    digest
                ) == 64 and set(digest) <= set("0123456789abcdef"):
                    return cls(digest, record, signature, seal)
        raise RefusedError("altered: the store's note is not what the store wrote")


@dataclass(frozen=True)
class Verdict:
    """What became of one name. ``digest`` is ``sha256:<hex>``, or empty if unknown. ``path`` is the
    model's file; that of several is their directory, and ``files`` are their names.
    """

    name: str
    state: State
    kind: Kind = Kind.MODEL
    path: str = ""
    digest: str = ""
    reason: str = ""
    signer: str = ""
    files: tuple[str, ...] = ()

    def to_record(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return {**asdict(self), "files": list(self.files)}


def _object(text: bytes, what: str) -> Mapping[str, object]:
    try:
        values = loads(text)
    except ValueError as error:
        raise RefusedError(f"altered: {what} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise RefusedError(f"altered: {what} is no object")
    return values
