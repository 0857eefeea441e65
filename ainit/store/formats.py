"""Which files the store takes: models in formats that hold data only, checked by their structure,
and extensions, which are code and are measured as such.

A model of several files is of one format, and its files belong together (see ``composition``).
Beside files of the format it may hold two kinds:

* *Data that an ONNX file names* as the place of its weights: bytes without a form of their own, so
  what no ONNX file of the model names is not admitted as such.
* *JSON*: the index of safetensors shards, and what engines want beside weights (config.json,
  tokenizer.json). It holds values, and whatever an engine makes of them, it can open no file that
  is not of the model. Nothing else: no Python (which ``trust_remote_code`` would run), no template
  files, no vocabularies in formats that nobody checks here; they belong into the agent's bundle.

The check reads the skeleton (headers, lengths, tables of contents, JSON), never the weights: it
costs milliseconds whatever the size. It answers "is this the format that its name claims, complete,
and free of anything that loads code or other files"; the signature vouches for the weights. A
pickle or a zip archive is refused whatever it is called.

Leaves out: operators, shapes and types, which the inference engine checks when it loads the model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..errors import RefusedError
from ..wire.codec import loads
from . import composition, onnx

SAFETENSORS_HEADER_MAX = 64 << 20
JSON_BYTES_MAX = 64 << 20  # the largest tokenizer.json that we know of has half of it
GGUF_COUNT_MAX = 1 << 24
EROFS_SUPERBLOCK = 1024
EROFS_MAGIC = bytes.fromhex("e2e1f5e0")
FORMATS = (".onnx", ".safetensors", ".gguf", ".erofs")
JSON = ".json"

Files = Mapping[str, int]  # open descriptors, by name


def check(files: Files) -> None:
    """Raises RefusedError with the reason when these files are no admissible model."""
    for name, descriptor in files.items():
        with _about(name, files):
            _no_code(descriptor)
    formats = [suffix for suffix in FORMATS if any(_suffix(name) == suffix for name in files)]
    if len(formats) > 1:
        raise RefusedError(f"several formats in one model: {', '.join(formats)}")
    wanted = {*formats, JSON} if formats else set()
    others = {name: _size(files[name]) for name in files if _suffix(name) not in wanted}
    named = _together(files, others) if formats else set()
    for name in sorted(others.keys() - named):
        with _about(name, files):
            raise RefusedError(
                f"format {_suffix(name) or 'without a suffix'} refused because it is none of onnx,"
                " safetensors, gguf, erofs"
                + (", nor JSON, nor data that an ONNX file names" if len(files) > 1 else "")
            )


def _together(files: Files, others: Mapping[str, int]) -> set[str]:
    """Check each file, and that they belong together; returns which of ``others`` (with their
    sizes) are named by one.
    """
    named: set[str] = set()
    tensors: dict[str, set[str]] = {}
    indices: dict[str, object] = {}
    for name, descriptor in files.items():
        with _about(name, files):
            match _suffix(name):
                case ".onnx":
                    found = onnx.check(descriptor, _size(descriptor))
                    named |= composition.external(found, others)
                case ".safetensors":
                    tensors[name] = _safetensors(descriptor, _size(descriptor))
                case ".gguf":
                    _gguf(descriptor, _size(descriptor))
                case ".erofs":
                    _erofs(descriptor)
                case ".json":
                    document = _json(descriptor, _size(descriptor))
                    if name.endswith(composition.INDEX_SUFFIX):
                        indices[name] = document
    composition.sharded(indices, tensors)
    composition.split([name for name in files if _suffix(name) == ".gguf"])
    return named


@contextmanager
def _about(name: str, files: Files) -> Iterator[None]:
    """What is refused in here is refused because of this file: one of several is named."""
    try:
        yield
    except RefusedError as error:
        if len(files) == 1:
            raise
        raise RefusedError(f"{name}: {error}") from error


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _refusal(name: str, why: str) -> RefusedError:
    return RefusedError(f"format {name} refused because {why}")


def _no_code(descriptor: int) -> None:
    head = os.pread(descriptor, 4, 0)
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 1:
        raise _refusal("pickle", "loading it runs code from the file")
    if head == b"PK\x03\x04":
        raise _refusal("zip", "what it holds (a PyTorch file?) may run code")


def _json(descriptor: int, size: int) -> object:
    if size > JSON_BYTES_MAX:
        raise _refusal("json", f"it is longer than {JSON_BYTES_MAX >> 20} MiB")
    try:
        return loads(os.pread(descriptor, size, 0))
    except ValueError as error:
        raise _refusal("json", f"it is none ({error})") from error


def _erofs(descriptor: int) -> None:
    """fs/erofs/erofs_fs.h: the superblock, whose magic number comes first, at byte 1024."""
    if os.pread(descriptor, 4, EROFS_SUPERBLOCK) != EROFS_MAGIC:
        raise _refusal("erofs", "it has no superblock")


def _safetensors(descriptor: int, size: int) -> set[str]:
    """An 8-byte length, a JSON table, then the tensors without gaps or overlaps. Their names."""
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if size < 10 or length > min(size - 8, SAFETENSORS_HEADER_MAX):
        raise _refusal("safetensors", "its table is longer than the file or than the limit")
    try:
        table = loads(os.pread(descriptor, length, 8))
    except ValueError as error:
        raise _refusal("safetensors", f"its table is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise _refusal("safetensors", "its table is no object")
    spans: list[tuple[int, int]] = []
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        match offsets:
            case [int(start), int(end)] if 0 <= start <= end:
                spans.append((start, end))
            case _:
                raise _refusal("safetensors", f"tensor {name} has no valid place")
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise _refusal("safetensors", "its tensors overlap or leave gaps")
        at = end
    if 8 + length + at != size:
        raise _refusal("safetensors", "it is cut off or has data after the last tensor")
    return set(table) - {"__metadata__"}


def _gguf(descriptor: int, size: int) -> None:
    """Magic, version (2 or 3), number of tensors, number of metadata entries."""
    header = os.pread(descriptor, 24, 0)
    if len(header) < 24 or header[:4] != b"GGUF":
        raise _refusal("gguf", "it does not start as one")
    version = int.from_bytes(header[4:8], "little")
    if version not in (2, 3):
        raise _refusal("gguf", f"its version is {version}, not 2 or 3")
    tensors = int.from_bytes(header[8:16], "little")
    entries = int.from_bytes(header[16:24], "little")
    if max(tensors, entries) > GGUF_COUNT_MAX or 24 + 24 * tensors + 12 * entries > size:
        raise _refusal("gguf", "it is cut off: its header promises more than the file holds")
