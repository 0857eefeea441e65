"""The skeleton of an ONNX file: the fields of its protocol buffers, without the weights.

What it says about other files is told, not followed: weights may lie in files beside it
("external data"), and ``composition`` judges whether those are files of the same model.

>>> check(descriptor, size)                                          # doctest: +SKIP
[External('model.onnx.data', 4096)]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import RefusedError

IR_MAX = 64
_TEXT_BYTES_MAX = 4096


@dataclass(frozen=True)
class External:
    """Weights in another file: its name, and the byte where they end, as far as that is said."""

    file: str
    end: int


def check(descriptor: int, size: int) -> list[External]:
    """What the file keeps elsewhere. Raises RefusedError when it is no ONNX model.

    onnx.proto: ModelProto holds ir_version = 1, graph = 7, opset_import = 8, functions = 25.
    """
    try:
        return list(_model(_Message(descriptor, 0, size)))
    except RecursionError as error:
        raise _refusal("its graphs are nested too deeply") from error


def _model(model: _Message) -> Iterator[External]:
    version: int | _Message = 0
    graphs: list[_Message] = []
    imports = 0
    for number, value in model.fields():
        if number == 1:
            version = value
        elif number == 7 and isinstance(value, _Message):
            graphs.append(value)
        imports += number == 8
    if not isinstance(version, int) or not 1 <= version <= IR_MAX:
        raise _refusal("it names no ONNX version")
    if len(graphs) != 1 or not imports:
        raise _refusal("it holds no graph with its operator sets")
    yield from _graph(graphs[0])
    for function in model.children(25):
        for node in function.children(7):
            yield from _node(node)


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
                    raise _refusal(f"byte {at} starts no field")
            if number == 0 or at > self._end:
                raise _refusal("it is cut off or is no protocol buffer")
            yield number, value

    def children(self, number: int) -> Iterator[_Message]:
        """The nested messages in field ``number``."""
        for found, value in self.fields():
            if found == number and isinstance(value, _Message):
                yield value

    def text(self) -> str:
        """The bytes as text: of a string, not of a message."""
        length = self._end - self._start
        if length > _TEXT_BYTES_MAX:
            raise _refusal(f"it names another file with more than {_TEXT_BYTES_MAX} bytes")
        return os.pread(self._descriptor, length, self._start).decode("utf-8", "replace")

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for index, byte in enumerate(os.pread(self._descriptor, min(10, self._end - at), at)):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at + index + 1
        raise _refusal("it is cut off or is no protocol buffer")


def _refusal(why: str) -> RefusedError:
    return RefusedError(f"format onnx refused because {why}")


def _graph(graph: _Message) -> Iterator[External]:
    """GraphProto: node = 1, initializer = 5, sparse_initializer = 15."""
    for number, value in graph.fields():
        if isinstance(value, _Message):
            if number == 1:
                yield from _node(value)
            elif number == 5:
                yield from _tensor(value)
            elif number == 15:
                yield from _sparse(value)


def _node(node: _Message) -> Iterator[External]:
    """NodeProto: attribute = 5; AttributeProto: t = 5, g = 6, tensors = 10, graphs = 11,
    sparse_tensor = 22, sparse_tensors = 23.
    """
    for attribute in node.children(5):
        for number, value in attribute.fields():
            if isinstance(value, _Message):
                if number in (5, 10):
                    yield from _tensor(value)
                elif number in (6, 11):
                    yield from _graph(value)
                elif number in (22, 23):
                    yield from _sparse(value)


def _sparse(tensor: _Message) -> Iterator[External]:
    """SparseTensorProto: values = 1, indices = 2."""
    for part in (1, 2):
        for inner in tensor.children(part):
            yield from _tensor(inner)


def _tensor(tensor: _Message) -> Iterator[External]:
    """TensorProto: external_data = 13, data_location = 14 (1 is EXTERNAL). Of the former:
    StringStringEntryProto, key = 1, value = 2; the keys location, offset and length count.
    """
    said: dict[str, str] = {}
    is_external = False
    for number, value in tensor.fields():
        if number == 13 and isinstance(value, _Message):
            key, text = _string(value, 1), _string(value, 2)
            if key in said:
                raise _refusal(f"a tensor says twice what its {key} is")
            said[key] = text
        is_external = is_external or number == 13 or (number == 14 and value != 0)
    if is_external:
        end = sum(_number(said.get(key, "0"), key) for key in ("offset", "length"))
        yield External(said.get("location", ""), end)


def _string(entry: _Message, number: int) -> str:
    """A field that holds a string, and comes once."""
    found = list(entry.children(number))
    if len(found) > 1:
        raise _refusal("a tensor says twice where its weights are")
    return found[0].text() if found else ""


def _number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _refusal(f"the {key} of weights in another file is no number")
    return int(text)
