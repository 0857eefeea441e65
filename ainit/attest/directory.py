"""Evidence in a directory, and beside it ``credential.json``: the verifier's own record of asking.

The record keeps nonce, secret and answer, so that whoever asked can verify the directory again
later. To anybody else it proves nothing, because whoever holds the directory can write it.
"""

from __future__ import annotations

import hashlib
import os

from ..errors import ConfigError, Finding
from ..linux import files
from ..wire import codec
from .enrol import Enrolment
from .evidence import FILE_BYTES, FILES, Evidence, from_files
from .verify import Activation

RECORD = "credential.json"
_FIELDS = ("ak_name", "answer", "ek_pub", "nonce", "secret")


Directory = str | os.PathLike[str]


def load(directory: Directory) -> Evidence:
    """The evidence in a directory. Missing files are the verifier's business; else ConfigError."""
    found: dict[str, bytes] = {}
    for name in FILES.values():
        path = os.path.join(directory, name)
        try:
            with open(path, "rb") as file:
                found[name] = file.read(FILE_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError([Finding(path, 0, error.strerror or str(error))]) from error
        if len(found[name]) > FILE_BYTES:
            raise ConfigError([Finding(path, 0, f"longer than {FILE_BYTES} bytes")])
    return from_files(found)


def save(directory: Directory, enrolment: Enrolment) -> None:
    """Write the evidence of a conversation and the record of it."""
    save_evidence(directory, enrolment.evidence)
    save_record(directory, enrolment)


def save_evidence(directory: Directory, evidence: Evidence) -> None:
    """Write every file. The directory is made when it is missing; OSError when it cannot be."""
    os.makedirs(directory, exist_ok=True)
    for field, name in FILES.items():
        files.replace(os.path.abspath(os.path.join(directory, name)), getattr(evidence, field))


def save_record(directory: Directory, enrolment: Enrolment) -> None:
    """Write ``credential.json``: canonical JSON with a digest over its own fields."""
    activation = enrolment.activation
    record: dict[str, object] = {
        "ak_name": activation.ak_name.hex(),
        "answer": activation.answer.hex(),
        "ek_pub": activation.ek_pub.hex(),
        "nonce": enrolment.nonce.hex(),
        "secret": activation.secret.hex(),
    }
    record["sha256"] = hashlib.sha256(codec.canonical(record)).hexdigest()
    path = os.path.abspath(os.path.join(directory, RECORD))
    files.replace(path, codec.canonical(record) + b"\n")


def load_record(directory: Directory) -> tuple[bytes, Activation] | None:
    """The nonce and the challenge kept in a directory; None without one. Raises ConfigError."""
    path = os.path.join(directory, RECORD)
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 16)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([Finding(path, 0, error.strerror or str(error))]) from error
    try:
        record = codec.loads(data)
        if not isinstance(record, dict) or codec.canonical(record) + b"\n" != data:
            raise ValueError("not written as ainitctl writes it")
        digest = record.pop("sha256", None)
        if digest != hashlib.sha256(codec.canonical(record)).hexdigest():
            raise ValueError("altered: its fields do not match its digest")
        ak_name, answer, ek_pub, nonce, secret = (bytes.fromhex(record[name]) for name in _FIELDS)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError([Finding(path, 1, str(error))]) from error
    return nonce, Activation(ak_name, ek_pub, secret, answer)
