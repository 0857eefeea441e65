"""What the store writes down, and what it tells PID 1. PURE.

``Record`` comes with a model and is signed with it. ``Admitted`` is the store's own note that a
name stands for an object; it carries record and signature, so one file's replacement changes
all of it at once. ``Verdict`` is what became of a name at this boot.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from ..errors import RefusedError
from ..wire.codec import dumps, loads

NAME_MAX = 32
FILE_MAX = 255
RECORD_BYTES_MAX = 64 << 10
RECORD_FILE = "record.json"
SIGNATURE_FILE = "model.sig"
EXTENSION_SUFFIX = ".erofs"
SCHEMA = 2
_UNSEALED = 1  # the schema before machines signed what they admitted
_NAME_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "-")
_FILE_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_+.")


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


def is_file(text: str) -> bool:
    """Whether ``text`` may be a model file's name: one plain component, not hidden."""
    return 0 < len(text) <= FILE_MAX and text[0] not in ".-" and set(text) <= _FILE_CHARACTERS


@dataclass(frozen=True)
class Record:
    """A model's own description, ``record.json``, which its signature covers."""

    name: str
    kind: Kind
    file: str

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
        if set(values) != {"name", "kind", "file"}:
            raise RefusedError(f"{RECORD_FILE} has other keys than name, kind and file")
        kind, file = values["kind"], values["file"]
        if values["name"] != name:
            raise RefusedError(f"{RECORD_FILE} is that of {values['name']}, not of {name}")
        if kind not in list(Kind):
            raise RefusedError(f"{RECORD_FILE}: kind {kind} is none of {', '.join(Kind)}")
        if not isinstance(file, str) or not is_file(file) or file in (RECORD_FILE, SIGNATURE_FILE):
            raise RefusedError(f"{RECORD_FILE}: file {file} is no plain file name")
        if (kind == Kind.EXTENSION) != file.endswith(EXTENSION_SUFFIX):
            raise RefusedError(f"{RECORD_FILE}: an extension, and nothing else, is an .erofs file")
        return cls(name, Kind(str(kind)), file)


@dataclass(frozen=True)
class Admitted:
    """``names/<name>.json``: a name, the object it stands for, and the publisher's proof."""

    object: str  # fs-verity digest, 64 hex digits
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
    """What became of one name. ``digest`` is ``sha256:<fs-verity hex>``, or empty if unknown."""

    name: str
    state: State
    kind: Kind = Kind.MODEL
    path: str = ""
    digest: str = ""
    reason: str = ""
    signer: str = ""

    def to_record(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return asdict(self)


def _object(text: bytes, what: str) -> Mapping[str, object]:
    try:
        values = loads(text)
    except ValueError as error:
        raise RefusedError(f"altered: {what} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise RefusedError(f"altered: {what} is no object")
    return values
