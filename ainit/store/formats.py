"""Which files the store takes: models in formats that hold data only, checked by their structure,
and extensions, which are code and are measured as such.

The check reads the skeleton (headers, lengths, table of contents), never the weights: it costs
milliseconds whatever the size. It answers "is this the format that its name claims, complete, and
free of anything that loads code or other files"; the signature vouches for the weights.

Leaves out: operators, shapes and types, which the inference engine checks when it loads the model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..errors import RefusedError
from ..wire.codec import loads

ONNX_IR_MAX = 64
SAFETENSORS_HEADER_MAX = 64 << 20
GGUF_COUNT_MAX = 1 << 24
EROFS_SUPERBLOCK = 1024
EROFS_MAGIC = bytes.fromhex("e2e1f5e0")


def check(descriptor: int, file: str) -> None:
    """Raises RefusedError with the reason when ``file`` (its name) is no admissible model."""
    size = os.fstat(descriptor).st_size
    suffix = os.path.splitext(file)[1]
    head = os.pread(descriptor, 4, 0)
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 1:
        raise RefusedError("format pickle refused because loading it runs code from the file")
    if head == b"PK\x03\x04":
        raise RefusedError(
            "format zip refused because what it holds (a PyTorch file?) may run code"
        )
    match suffix:
        case ".onnx":
            try:
                _onnx(_Message(descriptor, 0, size))
            except RecursionError as error:
                raise _refusal("onnx", "its graphs are nested too deeply") from error
        case ".safetensors":
            _safetensors(descriptor, size)
        case ".gguf":
            _gguf(descriptor, size)
        case ".erofs":
            _erofs(descriptor)
        case _:
            raise RefusedError(
                f"format {suffix or 'without a suffix'} refused because it is none of"
                " onnx, safetensors, gguf, erofs"
            )


def _erofs(descriptor: int) -> None:
    """fs/erofs/erofs_fs.h: the superblock, whose magic number comes first, at byte 1024."""
    if os.pread(descriptor, 4, EROFS_SUPERBLOCK) != EROFS_MAGIC:
        raise _refusal("erofs", "it has no superblock")


class _Message:
    """One protocol-buffer message inside a file: its fields, without their contents."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._end = end

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """(number, value) of each field: an integer, or the bytes as a nested message."""
        at = self._start
        while at < self._end:
            tag, at = self._varint(at)
            number, wire_type = tag >> 3, tag & 7
            value: int | _Message = 0
            match wire_type:
                case 0:
                    value, at = self._varint(at)
                case 1:
                    at += 8
                case 2:
                    length, at = self._varint(at)
                    value = _Message(self._descriptor, at, at + length)
                    at += length
                case 5:
                    at += 4
                case _:
                    raise _refusal("onnx", f"byte {at} starts no field")
            if number == 0 or at > self._end:
                raise _refusal("onnx", "it is cut off or is no protocol buffer")
            yield number, value

    def children(self, number: int) -> Iterator[_Message]:
        """The nested messages in field ``number``."""
        for found, value in self.fields():
            if found == number and isinstance(value, _Message):
                yield value

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for index, byte in enumerate(os.pread(self._descriptor, min(10, self._end - at), at)):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at + index + 1
        raise _refusal("onnx", "it is cut off or is no protocol buffer")


def _refusal(name: str, why: str) -> RefusedError:
    return RefusedError(f"format {name} refused because {why}")


def _onnx(model: _Message) -> None:
    """onnx.proto: ModelProto holds ir_version = 1, graph = 7, opset_import = 8, functions = 25."""
    version: int | _Message = 0
    graphs: list[_Message] = []
    imports = 0
    for number, value in model.fields():
        if number == 1:
            version = value
        elif number == 7 and isinstance(value, _Message):
            graphs.append(value)
        imports += number == 8
    if not isinstance(version, int) or not 1 <= version <= ONNX_IR_MAX:
        raise _refusal("onnx", "it names no ONNX version")
    if len(graphs) != 1 or not imports:
        raise _refusal("onnx", "it holds no graph with its operator sets")
    _graph(graphs[0])
    for function in model.children(25):
        for node in function.children(7):
            _node(node)


def _graph(graph: _Message) -> None:
    """GraphProto: node = 1, initializer = 5, sparse_initializer = 15."""
    for number, value in graph.fields():
        if isinstance(value, _Message):
            if number == 1:
                _node(value)
            elif number == 5:
                _tensor(value)
            elif number == 15:
                _sparse(value)


def _node(node: _Message) -> None:
    """NodeProto: attribute = 5; AttributeProto: t = 5, g = 6, tensors = 10, graphs = 11,
    sparse_tensor = 22, sparse_tensors = 23.
    """
    for attribute in node.children(5):
        for number, value in attribute.fields():
            if isinstance(value, _Message):
                if number in (5, 10):
                    _tensor(value)
                elif number in (6, 11):
                    _graph(value)
                elif number in (22, 23):
                    _sparse(value)


def _sparse(tensor: _Message) -> None:
    """SparseTensorProto: values = 1, indices = 2."""
    for part in (1, 2):
        for inner in tensor.children(part):
            _tensor(inner)


def _tensor(tensor: _Message) -> None:
    """TensorProto: external_data = 13, data_location = 14 (1 is EXTERNAL)."""
    for number, value in tensor.fields():
        if number == 13 or (number == 14 and value != 0):
            raise _refusal("onnx", "it keeps weights in other files, which nobody measured")


def _safetensors(descriptor: int, size: int) -> None:
    """An 8-byte length, a JSON table, then the tensors without gaps or overlaps."""
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
