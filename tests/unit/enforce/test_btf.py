"""The kernel's types, on a blob made by hand."""

from __future__ import annotations

import struct

import pytest

from ainit.enforce import btf
from ainit.errors import UnavailableError


class Blob:
    """BTF in the making; types count from 1."""

    def __init__(self) -> None:
        self.texts = b"\0"
        self.types = b""

    def text(self, name: str) -> int:
        if not name:
            return 0
        at = len(self.texts)
        self.texts += name.encode() + b"\0"
        return at

    def add(self, kind: int, name: str, third: int = 0, behind: bytes = b"", info: int = 0) -> None:
        self.types += struct.pack("<III", self.text(name), kind << 24 | info, third) + behind

    def structure(
        self, name: str, *fields: tuple[str, int, int], kind: int = btf.STRUCT, bits: bool = False
    ) -> None:
        members = b"".join(struct.pack("<III", self.text(f), t, at) for f, t, at in fields)
        self.add(kind, name, 64, members, len(fields) | bits << 31)

    def bytes(self) -> bytes:
        size = len(self.types)
        head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, size, size, len(self.texts))
        return head + self.types + self.texts


def example() -> bytes:
    blob = Blob()
    blob.add(btf.INT, "long", 8, struct.pack("<I", 64))  # 1
    blob.structure("", ("inner", 1, 64), kind=btf.UNION)  # 2
    blob.structure("file", ("first", 1, 0), ("", 2, 128), ("last", 1, 256))  # 3
    blob.add(7, "file", 0)  # 4, a forward declaration of the same name
    blob.add(13, "", 0, struct.pack("<II", 0, 1), 1)  # 5, a prototype with one parameter
    blob.add(btf.FUNC, "open", 5)  # 6
    blob.structure("flags", ("a", 1, 3 << 24 | 5), ("b", 1, 64), bits=True)  # 7
    blob.add(btf.FUNC, "open_more", 5)  # 8
    return blob.bytes()


def test_functions_are_found_by_their_whole_name() -> None:
    types = btf.Types(example())
    assert types.find("open", btf.FUNC) == 6
    assert types.find("open_more", btf.FUNC) == 8
    for name in ("ope", "pen", "more", ""):
        with pytest.raises(UnavailableError, match="the kernel has no"):
            types.find(name, btf.FUNC)


def test_a_name_is_looked_for_among_its_kind() -> None:
    assert btf.Types(example()).find("file", btf.STRUCT) == 3


@pytest.mark.parametrize(("field", "offset"), [("first", 0), ("inner", 24), ("last", 32)])
def test_fields_are_found_in_nameless_parts_as_well(field: str, offset: int) -> None:
    assert btf.Types(example()).offset("file", field) == offset


def test_beside_bit_fields_a_place_has_another_form() -> None:
    types = btf.Types(example())
    assert types.offset("flags", "b") == 8
    with pytest.raises(UnavailableError, match="flags has no a"):  # not at a whole byte
        types.offset("flags", "a")
    with pytest.raises(UnavailableError, match="file has no gone"):
        types.offset("file", "gone")


@pytest.mark.parametrize("blob", [b"", b"\0" * 64, example()[:40], example()[:24] + b"\xff" * 99])
def test_what_is_no_btf_is_unavailable(blob: bytes) -> None:
    with pytest.raises(UnavailableError):
        btf.Types(blob).find("open", btf.FUNC)


def test_types_that_we_make_can_be_read() -> None:
    blob = btf.integers(4, 100)
    types = btf.Types(blob)
    assert types.find("value4", btf.INT) == 1
    assert blob[24 + 16 + 12 :][:12] == struct.pack("<III", 1, 1, 25)  # an array of 25 of the first
