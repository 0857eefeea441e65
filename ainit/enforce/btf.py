"""The kernel's description of its own types: ids of functions, places of fields in structures.

PURE: bytes in, numbers out. Reads BTF (kernel documentation, bpf/btf.rst) far enough to find
functions by name and fields by path, so that one program fits any kernel. Leaves out everything
else that BTF can say.

>>> types = Types(integers(4, 8))
>>> types.find("value8", INT)
2
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from ..errors import UnavailableError

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")

INT, _PTR, _ARRAY, STRUCT, UNION, _ENUM, _FORWARD, _TYPEDEF = range(1, 9)
_VOLATILE, _CONST, _RESTRICT, FUNC, _PROTO, _VAR, _SECTION, _FLOAT, _DECL, _TAG, _ENUM64 = range(
    9, 20
)

# Bytes behind the twelve of every type: so many, and so many for each of its ``vlen`` parts.
_BEHIND: dict[int, tuple[int, int]] = {
    INT: (4, 0), _PTR: (0, 0), _ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), _ENUM: (0, 8),
    _FORWARD: (0, 0), _TYPEDEF: (0, 0), _VOLATILE: (0, 0), _CONST: (0, 0), _RESTRICT: (0, 0),
    FUNC: (0, 0), _PROTO: (0, 8), _VAR: (4, 0), _SECTION: (0, 12), _FLOAT: (0, 0), _DECL: (4, 0),
    _TAG: (0, 0), _ENUM64: (0, 12),
}  # fmt: skip
_ALIASES = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TAG)


class Types:
    """What a BTF blob says. Raises UnavailableError when it is none, here and in every method."""

    def __init__(self, blob: bytes) -> None:
        try:
            header = _HEADER.unpack_from(blob)
            magic, _, _, size, types, types_size, texts, texts_size = header
            if magic != _MAGIC:
                raise UnavailableError("the kernel's types are in an unknown form")
            self._texts = blob[size + texts : size + texts + texts_size]
            self._blob = blob[size + types : size + types + types_size]
            self._places, self._names = array("Q", [0]), array("I", [0])  # types count from 1
            self._walk()
        except struct.error as error:
            raise UnavailableError("the kernel's types end early") from error

    def _walk(self) -> None:
        """Where each type begins, and where its name; types have no size of their own."""
        at, blob = 0, self._blob
        unpack, behind, end = _TYPE.unpack_from, _BEHIND, len(self._blob)
        while at < end:
            name, info, _ = unpack(blob, at)
            self._places.append(at)
            self._names.append(name)
            sizes = behind.get(info >> 24 & 0x1F)
            if sizes is None:
                raise UnavailableError("the kernel's types are of unknown kinds")
            at += 12 + sizes[0] + sizes[1] * (info & 0xFFFF)

    def find(self, name: str, kind: int) -> int:
        """The id of the type of this name and kind."""
        text = b"\0" + name.encode() + b"\0"
        at = self._texts.find(text)
        while at >= 0:
            for number in self._named(at + 1):
                if self._blob[self._places[number] + 7] & 0x1F == kind:
                    return number
            at = self._texts.find(text, at + 1)
        raise UnavailableError(f"the kernel has no {name}")

    def _named(self, text: int) -> Iterator[int]:
        """The types whose name is at this place."""
        number = 0
        try:
            while True:
                number = self._names.index(text, number + 1)
                yield number
        except ValueError:
            return

    def offset(self, structure: str, field: str) -> int:
        """Where a field begins, in bytes; it may lie in a nameless part of the structure."""
        bits = self._field(self.find(structure, STRUCT), field)
        if bits is None or bits % 8:
            raise UnavailableError(f"the kernel's {structure} has no {field}")
        return bits // 8

    def _field(self, number: int, field: str) -> int | None:
        """Where a field begins, in bits."""
        place = self._places[number]
        info: int
        target: int
        _, info, target = _TYPE.unpack_from(self._blob, place)
        kind = info >> 24 & 0x1F
        if kind in _ALIASES:
            return self._field(target, field)
        if kind not in (STRUCT, UNION):
            return None
        for part in range(info & 0xFFFF):
            named: int
            inner: int
            bits: int
            named, inner, bits = _MEMBER.unpack_from(self._blob, place + 12 + 12 * part)
            if info >> 31:  # with bit fields: the size of this one lies in the upper byte
                bits &= 0xFFFFFF
            text = self._text(named)
            if text == field:
                return bits
            if not text and (found := self._field(inner, field)) is not None:
                return bits + found
        return None

    def _text(self, at: int) -> str:
        return self._texts[at : self._texts.index(b"\0", at)].decode()


def integers(*sizes: int) -> bytes:
    """BTF of unsigned integers and, for sizes that no integer has, arrays of the first of them."""
    texts, types = b"\0", b""
    for size in sizes:
        name = len(texts)
        if size in (1, 2, 4, 8):
            texts += f"value{size}\0".encode()
            types += _TYPE.pack(name, INT << 24, size) + struct.pack("<I", size * 8)
        else:
            types += _TYPE.pack(0, _ARRAY << 24, 0) + struct.pack("<III", 1, 1, size // sizes[0])
    header = _HEADER.pack(_MAGIC, 1, 0, 24, 0, len(types), len(types), len(texts))
    return header + types + texts
