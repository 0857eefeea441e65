"""SMBIOS tables as firmware lays them out, for what reads them."""

from __future__ import annotations


def structure(kind: int, formatted: bytes, *strings: bytes) -> bytes:
    """One structure: header, formatted area, strings."""
    head = bytes([kind, 4 + len(formatted), 0, 0])
    return head + formatted + (b"".join(s + b"\0" for s in strings) or b"\0") + b"\0"


def table(*strings: bytes) -> bytes:
    """A table with these OEM strings between other structures."""
    return b"".join(
        (
            structure(0, bytes(20), b"SeaBIOS", b"io.systemd.credential:fake=firmware"),
            structure(32, bytes(7)),
            structure(11, bytes([len(strings)]), *strings),
            structure(127, b""),
        )
    )
