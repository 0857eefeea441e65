"""A foreign initrd: what an attacker would hand to our signed UKI, to run code of their own.

It is as small as one can be and needs no compiler: a cpio archive with a console and a static
program that says it ran, then waits for ever. A kernel that takes an initrd runs it; ours must not.

    Path("foreign.img").write_bytes(build("it ran"))
"""

from __future__ import annotations

import stat
import struct

LOAD_ADDRESS = 0x400000
_HEADERS = 64 + 56
_CONSOLE = (5, 1)


def build(message: str) -> bytes:
    """An initrd whose /init prints a line."""
    return b"".join(
        (
            _entry("dev", stat.S_IFDIR | 0o755),
            _entry("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE),
            _entry("init", stat.S_IFREG | 0o755, program(f"{message}\n".encode())),
            _entry("TRAILER!!!", 0),
        )
    )


def program(text: bytes) -> bytes:
    """A static x86-64 program: write(1, text, …), then pause() for ever (System V ABI, ELF-64)."""
    # mov edi,1; lea rsi,[rip+21]; mov edx,length; mov eax,1; syscall; again: mov eax,34; syscall;
    # jmp again
    code = (
        b"\xbf\x01\x00\x00\x00\x48\x8d\x35\x15\x00\x00\x00\xba"
        + struct.pack("<I", len(text))
        + b"\xb8\x01\x00\x00\x00\x0f\x05\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
    )
    size = _HEADERS + len(code) + len(text)
    entry = LOAD_ADDRESS + _HEADERS
    header = struct.pack(
        *(
            "<16sHHIQQQIHHHHHH",
            b"\x7fELF\x02\x01\x01",
            2,
            62,
            1,
            entry,
            64,
            0,
            0,
            64,
            56,
            1,
            0,
            0,
            0,
        )
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 4096)
    return header + segment + code + text


def _entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One member of a "newc" cpio archive (Documentation/driver-api/early-userspace)."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
