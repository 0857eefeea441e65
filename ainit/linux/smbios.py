"""Credentials that a hypervisor leaves in the SMBIOS table (systemd.io/CREDENTIALS).

They are strings of a structure of type 11 (SMBIOS 3.7, sections 6.1 and 7.12): the name and the
value as text, or as base64. Of two with one name the first counts.

    # qemu -smbios type=11,value=io.systemd.credential:ainos.machine=…
    credential("ainos.machine", "/sys/firmware/dmi/tables/DMI")
"""

from __future__ import annotations

from binascii import Error, a2b_base64

from ..errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT, _BASE64 = b"io.systemd.credential:", b"io.systemd.credential.binary:"
_OEM_STRINGS, _END = 11, 127
_BYTES_MAX = 4 << 20


def credential(name: str, path: str) -> bytes | None:
    """The value of one in the table at ``path``; None without it. Raises RefusedError for base64
    that is none, or OSError.
    """
    try:
        with open(path, "rb") as file:  # sysfs gives a page at a time
            table = file.read(_BYTES_MAX)
    except FileNotFoundError:
        return None
    if name.encode() not in table:
        return None
    text, base64 = _TEXT + name.encode() + b"=", _BASE64 + name.encode() + b"="
    for string in strings(table):
        if string.startswith(text):
            return string[len(text) :]
        if string.startswith(base64):
            try:
                return a2b_base64(string[len(base64) :])
            except Error as error:
                raise RefusedError(f"SMBIOS: {base64.decode()} is no base64: {error}") from error
    return None


def strings(table: bytes) -> Iterator[bytes]:
    """Those of every structure of type 11; what is cut off or makes no sense ends the table."""
    at = 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        end = table.find(b"\0\0", at + length)
        if kind == _END or length < 4 or end < 0:
            return
        if kind == _OEM_STRINGS:
            yield from table[at + length : end].split(b"\0")
        at = end + 2
