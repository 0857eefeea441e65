"""Writes TCG firmware logs for tests; shares no code with the parser under test."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

NO_ACTION, SEPARATOR, EV_ACTION, IPL = 0x3, 0x4, 0x5, 0xD
DRIVER_CONFIG, APPLICATION, EFI_ACTION, GPT = 0x80000001, 0x80000003, 0x80000007, 0x80000006
AUTHORITY = 0x800000E0
GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
IMAGE_SECURITY = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")


@dataclass(frozen=True)
class Entry:
    """One event to write. ``digest`` None means the digest of the data."""

    pcr: int
    type: int
    data: bytes
    digest: bytes | None = None

    @property
    def extended(self) -> bytes:
        if self.type == NO_ACTION:
            return bytes(32)
        return self.digest or hashlib.sha256(self.data).digest()

    def write(self) -> bytes:
        head = struct.pack("<IIIH", self.pcr, self.type, 1, 0x000B)
        return head + self.extended + struct.pack("<I", len(self.data)) + self.data

    def relabelled(self, kind: int) -> Entry:
        """The same digest and data under another type."""
        return replace(self, type=kind, digest=self.extended)


def variable(vendor: bytes, name: str, data: bytes) -> bytes:
    head = vendor + struct.pack("<QQ", len(name), len(data))
    return head + name.encode("utf-16-le") + data


def header(algorithms: tuple[tuple[int, int], ...] = ((0x000B, 32),)) -> bytes:
    body = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(algorithms))
    body += b"".join(struct.pack("<HH", *algorithm) for algorithm in algorithms) + b"\0"
    return struct.pack("<II", 0, NO_ACTION) + bytes(20) + struct.pack("<I", len(body)) + body


def write(entries: list[Entry]) -> bytes:
    return header() + b"".join(entry.write() for entry in entries)


def fold(entries: list[Entry]) -> dict[int, bytes]:
    values = {pcr: bytes(32) for pcr in range(24)}
    for entry in entries:
        if entry.type != NO_ACTION:
            values[entry.pcr] = hashlib.sha256(values[entry.pcr] + entry.extended).digest()
    return values


def boot(*, secure: bool = True) -> list[Entry]:
    """The events of a boot like OVMF's with systemd-boot and a unified kernel image."""
    before = [
        Entry(0, 0x8, "EDK II".encode("utf-16-le")),
        Entry(0, 0x80000008, b"PEIFV at an address", b"\x01" * 32),
        Entry(1, 0x80000009, b"pointers to tables", b"\x02" * 32),
        Entry(7, DRIVER_CONFIG, variable(GLOBAL, "SecureBoot", bytes([secure]))),
        Entry(7, DRIVER_CONFIG, variable(GLOBAL, "PK", b"our PK")),
        Entry(7, DRIVER_CONFIG, variable(GLOBAL, "KEK", b"our KEK")),
        Entry(7, DRIVER_CONFIG, variable(IMAGE_SECURITY, "db", b"our db")),
        Entry(7, SEPARATOR, bytes(4)),
        Entry(4, EFI_ACTION, b"Calling EFI Application from Boot Option"),
        *(Entry(pcr, SEPARATOR, bytes(4)) for pcr in range(7)),
        Entry(5, GPT, b"partition table", b"\x03" * 32),
    ]
    loaded = [
        Entry(7, AUTHORITY, variable(IMAGE_SECURITY, "db", b"our certificate")),
        Entry(4, APPLICATION, b"path of the boot loader", b"\x04" * 32),
        Entry(4, APPLICATION, b"path of the kernel image", b"\x05" * 32),
        Entry(9, 0x6, b"load options", b"\x06" * 32),
        *(
            entry
            for number, name in enumerate((".linux", ".osrel", ".cmdline", ".uname"))
            for entry in (
                Entry(11, IPL, name.encode() + b"\0"),
                Entry(11, IPL, name.encode() + b"\0", bytes([0x10 + number]) * 32),
            )
        ),
        Entry(5, EFI_ACTION, b"Exit Boot Services Invocation"),
    ]
    return before + loaded


def command_line(text: str) -> Entry:
    """What systemd-stub measures of a command line that is not in the image."""
    return Entry(12, IPL, text.encode("utf-16-le") + b"\0\0")
