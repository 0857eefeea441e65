"""Small ELF files: sections with any content, and the name by which a library is asked for.

path.write_bytes(elf({".fwversion": b"550.163.01\0"}))
path.write_bytes(elf({".rodata": b"550.163.01"}, soname="libcuda.so.1"))
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_HEADER, _PROGRAM, _SECTION = 64, 56, 64
_PROGBITS, _STRTAB, _DYNAMIC = 1, 3, 6
_ALLOC = 2
_DT_NULL, _DT_STRTAB, _DT_STRSZ, _DT_SONAME = 0, 5, 10, 14


def elf(sections: Mapping[str, bytes], soname: str = "") -> bytes:
    """An object for x86-64 with these sections; a shared library when it has a name."""
    contents = {name: (_PROGBITS, content) for name, content in sections.items()}
    programs = 2 if soname else 0
    if soname:
        strings = b"\0" + soname.encode() + b"\0"
        start = _HEADER + programs * _PROGRAM + sum(len(c) for _, c in contents.values())
        pairs = ((_DT_STRTAB, start), (_DT_STRSZ, len(strings)), (_DT_SONAME, 1), (_DT_NULL, 0))
        dynamic = b"".join(struct.pack("<QQ", *pair) for pair in pairs)
        contents[".dynstr"] = (_STRTAB, strings)
        contents[".dynamic"] = (_DYNAMIC, dynamic)
    contents[".shstrtab"] = (
        _STRTAB,
        b"\0" + b"".join(n.encode() + b"\0" for n in contents) + b".shstrtab\0",
    )
    names = contents[".shstrtab"][1]
    body, table = b"", [bytes(_SECTION)]
    offset = _HEADER + programs * _PROGRAM
    for name, (kind, content) in contents.items():
        place = offset + len(body)
        link = list(contents).index(".dynstr") + 1 if kind == _DYNAMIC else 0
        address = place if soname else 0
        size = 16 if kind == _DYNAMIC else 0
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        flags = _ALLOC if name != ".shstrtab" else 0
        table.append(
            struct.pack(
                "<IIQQQQIIQQ", at, kind, flags, address, place, len(content), link, 0, 1, size
            )
        )
        body += content
    end = offset + len(body)
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHI", 3 if soname else 1, 62, 1)
    header += struct.pack("<QQQ", 0, _HEADER if soname else 0, end)
    header += struct.pack(
        "<IHHHHHH", 0, _HEADER, _PROGRAM, programs, _SECTION, len(table), len(table) - 1
    )
    segments = b""
    if soname:
        size = len(contents[".dynamic"][1])
        place = end - len(names) - size
        segments = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, end, end, 4096)
        segments += struct.pack("<IIQQQQQQ", 2, 4, place, place, place, size, size, 8)
    return header + segments + body + b"".join(table)
