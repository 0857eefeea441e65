"""PE images as firmware and systemd-stub read them: the Authenticode hash and the sections. Pure.

Source: Microsoft, "Windows Authenticode Portable Executable Signature Format" (2008), "Calculating
the PE Image Hash"; EDK II hashes the same way before it looks a binary up in db and measures it.
Only PE32+ (64-bit) images are read: an x86-64 machine boots nothing else.

    image = Image(path.read_bytes()); image.authenticode(); image.sections[".cmdline"]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..digest import sha256
from ..errors import RefusedError

PE32_PLUS = 0x20B
CHECKSUM_OFFSET = 64  # in the optional header
DIRECTORIES_OFFSET = 112
SECURITY_DIRECTORY = 4
SECTION_BYTES = 40


class ImageError(RefusedError):
    """Not a PE32+ image, or one that points outside itself."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    virtual_size: int
    raw_offset: int
    raw_size: int


class Image:
    """A PE32+ image in memory. Raises ImageError when it is malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            self._parse()
        except struct.error as error:
            raise ImageError("the PE image ends within its headers") from error

    def _parse(self) -> None:
        if self._data[:2] != b"MZ":
            raise ImageError("not a PE image: no MZ at its start")
        (start,) = struct.unpack_from("<I", self._data, 0x3C)
        if self._data[start : start + 4] != b"PE\0\0":
            raise ImageError("not a PE image: no PE signature")
        (count,) = struct.unpack_from("<H", self._data, start + 6)
        (optional_size,) = struct.unpack_from("<H", self._data, start + 20)
        optional = start + 24
        (magic,) = struct.unpack_from("<H", self._data, optional)
        if magic != PE32_PLUS:
            raise ImageError(f"not a PE32+ image: magic {magic:#x}")
        self._checksum = optional + CHECKSUM_OFFSET
        self._security = optional + DIRECTORIES_OFFSET + 8 * SECURITY_DIRECTORY
        (self._headers_size,) = struct.unpack_from("<I", self._data, optional + 60)
        # The security directory is the only one that holds a file offset, not a virtual address.
        table: tuple[int, int] = struct.unpack_from("<II", self._data, self._security)
        self._certificates_at, self._certificates_size = table
        first = optional + optional_size
        self._sections = [self._section(first + SECTION_BYTES * n) for n in range(count)]

    def _section(self, offset: int) -> _Section:
        name, virtual_size, _, raw_size, raw_offset = struct.unpack_from(
            "<8s4I", self._data, offset
        )
        section = _Section(name.rstrip(b"\0").decode("latin-1"), virtual_size, raw_offset, raw_size)
        if raw_offset + raw_size > len(self._data):
            raise ImageError(f"section {section.name} lies outside the image")
        return section

    @property
    def is_signed(self) -> bool:
        """Whether a certificate table is attached (not whether it verifies)."""
        return self._certificates_size > 0

    @property
    def certificates(self) -> bytes:
        """The attribute certificate table: WIN_CERTIFICATE records, or nothing."""
        return self._data[self._certificates_at : self._certificates_at + self._certificates_size]

    @property
    def sections(self) -> dict[str, bytes]:
        """What each section holds once loaded: ``virtual_size`` bytes, short ones zero-filled."""
        return {
            section.name: self._raw(section)[: section.virtual_size].ljust(
                section.virtual_size, b"\0"
            )
            for section in self._sections
        }

    def _raw(self, section: _Section) -> bytes:
        return self._data[section.raw_offset : section.raw_offset + section.raw_size]

    def authenticode(self) -> bytes:
        """SHA-256 over the image without its checksum, its security directory and signatures."""
        data = self._data
        parts = [data[: self._checksum], data[self._checksum + 4 : self._security]]
        parts.append(data[self._security + 8 : self._headers_size])
        hashed = self._headers_size
        for section in sorted(self._sections, key=lambda section: section.raw_offset):
            parts.append(self._raw(section))
            hashed += section.raw_size
        # What lies behind the sections counts too; the certificate table closes the file.
        parts.append(data[hashed : max(hashed, len(data) - self._certificates_size)])
        return sha256(b"".join(parts))
