"""``/etc/ld.so.cache``: where the loader and Python's ``ctypes.util.find_library`` look.

The C library's own ldconfig writes it for the processor it runs on only, so it is written here.
Format: glibc, sysdeps/generic/dl-cache.h ("glibc-ld.so.cache1.1"), without optional extensions.

    (tree / "etc/ld.so.cache").write_bytes(cache(libraries(tree, folders), X86_64))
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from lib.architecture import Architecture
from lib.host import run

MAGIC = b"glibc-ld.so.cache1.1"
LITTLE_ENDIAN = 2
# Magic, number of libraries, bytes of strings, byte order, offset of extensions (none).
HEADER = struct.Struct("<20sIIB3xI12x")
# Kind of library, offsets of name and path, two fields that are no longer used.
ENTRY = struct.Struct("<iIIIQ")


def libraries(tree: Path, folders: Iterable[str]) -> dict[str, str]:
    """Return where each library of these directories lies on the machine, by its own name (soname).

    A library counts under the name that programs ask for: that of a file or link equal to it.
    """
    found: dict[str, str] = {}
    for folder in folders:
        files = [path for path in sorted((tree / folder).glob("*.so*")) if _is_elf(path)]
        for path, name in zip(files, _sonames(files), strict=True):
            if path.name == name:
                found.setdefault(name, f"/{folder}/{name}")
    return found


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _sonames(files: list[Path]) -> list[str]:
    if not files:
        return []
    printed = run(["readelf", "--wide", "--dynamic", *map(str, files)], env={"LC_ALL": "C"})
    # With one argument readelf prints no "File:" heading.
    blocks = re.split(r"^File: ", printed, flags=re.MULTILINE)[1:] or [printed]
    matches = (re.search(r"\(SONAME\).*\[(.*)\]", block) for block in blocks)
    return [match[1] if match else "" for match in matches]


def cache(places: Mapping[str, str], architecture: Architecture) -> bytes:
    """Return the cache's contents. The loader searches by halves, from the greatest name down."""
    names = sorted(places, key=order, reverse=True)
    first = HEADER.size + ENTRY.size * len(names)
    entries, strings = bytearray(), bytearray()
    for name in names:
        key = first + len(strings)
        strings += name.encode() + b"\0"
        value = first + len(strings)
        strings += places[name].encode() + b"\0"
        entries += ENTRY.pack(architecture.loader_flags, key, value, 0, 0)
    return HEADER.pack(MAGIC, len(names), len(strings), LITTLE_ENDIAN, 0) + entries + strings


def order(name: str) -> list[tuple[bool, int]]:
    """Return what orders names as the loader does (``_dl_cache_libcmp``).

    A run of digits counts as one number, which is greater than any other character.
    """
    parts = re.findall(r"[0-9]+|[^0-9]", name)
    return [(True, int(part)) if part.isdigit() else (False, ord(part)) for part in parts]
