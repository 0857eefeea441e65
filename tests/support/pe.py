"""A PE32+ builder: the smallest EFI application with the sections that a test wants."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ALIGNMENT = 512
_PAGE = 4096


def build(sections: Mapping[str, bytes], tail: bytes = b"") -> bytes:
    """An x86-64 EFI application. ``tail`` lies behind the last section, part of none."""
    header_size = _aligned(64 + 24 + 240 + 40 * len(sections), ALIGNMENT)
    table, body, address = b"", b"", _PAGE
    for name, data in sections.items():
        raw = data.ljust(_aligned(len(data), ALIGNMENT), b"\0")
        table += struct.pack(
            "<8sIIIIIIHHI",
            *(name.encode(), len(data), address, len(raw), header_size + len(body)),
            *(0, 0, 0, 0, 0x40000040),
        )
        body += raw
        address += _aligned(len(data), _PAGE)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, 0, 0, 240, 0x206)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, 0, 0, _PAGE, _PAGE)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0x400000, _PAGE, ALIGNMENT, *[0] * 6, 0, address,
                            header_size, 0, 10, 0)  # fmt: skip
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(16 * 8)
    return (dos + coff + optional + table).ljust(header_size, b"\0") + body + tail


def attach(image: bytes, certificates: bytes) -> bytes:
    """The image with an attribute certificate table at its end, as signing tools attach one."""
    (start,) = struct.unpack_from("<I", image, 60)
    entry = start + 24 + 112 + 8 * 4
    where = struct.pack("<II", len(image), len(certificates))
    return image[:entry] + where + image[entry + 8 :] + certificates


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
