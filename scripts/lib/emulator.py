"""Build the NVML emulator: compile the boards' geometry to C, and the C to ``libnvidia-ml.so.1``.

The geometry is data (``ainit/sched/boards.json``); no table is written by hand in C. The library is
rebuilt only when something it is made of has changed.

    library = emulator.build()          # build/emulator/libnvidia-ml.so.1
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .architecture import X86_64, Architecture
from .host import BUILD, REPOSITORY, HostError, exclusive, published, run

SOURCES = REPOSITORY / "ainit" / "sched" / "emulator"
BOARDS = REPOSITORY / "ainit" / "sched" / "boards.json"
OUTPUT = BUILD / "emulator"
SONAME = "libnvidia-ml.so.1"
FLAGS = [
    *("-std=gnu17", "-O2", "-g0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
    *("-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wvla"),
]
HARDENING = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
LINK = ["-shared", f"-Wl,-soname,{SONAME}", "-Wl,--build-id=none", "-Wl,-z,relro,-z,now"]
ARCHITECTURES = {"ampere": 7, "hopper": 9, "blackwell": 10}  # NVML_DEVICE_ARCH_*
NUMBERS = ("memory_mib", "sms", "copy", "decoder", "encoder", "jpeg", "ofa")
SLICES_MAX = 8  # the occupancy of a GPU is one 8-bit mask

Record = Mapping[str, Any]


def build(architecture: Architecture = X86_64, *, sanitize: bool = False) -> Path:
    """Return the library, made from the sources as they are now; ``sanitize`` adds run-time checks.

    Raises HostError when the geometry is not sound or the compiler refuses.
    """
    library = place(architecture, sanitize=sanitize)
    stamp = library.with_name("inputs.sha256")
    flags = [*FLAGS, *(SANITIZE if sanitize else HARDENING)]
    files = [BOARDS, *sorted(SOURCES.glob("*.[ch]"))]
    inputs = _digest(files, [*flags, *LINK])
    with exclusive("emulator"):
        if library.exists() and stamp.exists() and stamp.read_text() == inputs:
            return library
        compile_library(library, f"{architecture.compiler}gcc", flags)
        with published(stamp) as temporary:
            temporary.write_text(inputs)
    return library


def compile_library(library: Path, compiler: str, flags: Sequence[str] = FLAGS) -> None:
    """Compile the library with a compiler of the caller's. Raises HostError as `build` does."""
    geometry = library.with_name("boards.c")
    with published(geometry) as temporary:
        temporary.write_text(geometry_source(json.loads(BOARDS.read_text())))
    with published(library) as temporary:
        sources = [*sorted(SOURCES.glob("*.c")), geometry]
        files = [os.path.relpath(path, REPOSITORY) for path in sources]
        include = os.path.relpath(SOURCES, REPOSITORY)
        command = [compiler, *flags, f"-I{include}", *LINK, "-o", str(temporary), *files]
        run(command, cwd=REPOSITORY, timeout=300)
        temporary.chmod(0o755)


def place(architecture: Architecture, *, sanitize: bool = False) -> Path:
    """Return where the library for an architecture is made."""
    directory = OUTPUT if architecture is X86_64 else OUTPUT / architecture.name
    return (directory / "sanitized" if sanitize else directory) / SONAME


def geometry_source(document: Record) -> str:
    """Return C that defines every board of ``boards.json``. Raises HostError for unsound data."""
    boards: Mapping[str, Record] = document["boards"]
    for name, board in boards.items():
        _check(name, board)
    text = json.dumps(boards, sort_keys=True)
    body = ",\n".join(_board(name, board) for name, board in boards.items())
    return (
        "/* Made from boards.json; do not edit. */\n"
        '#include "emulator.h"\n\n'
        f"const uint32_t GEOMETRY = {zlib.crc32(text.encode()):#010x};\n"
        f"const unsigned BOARD_COUNT = {len(boards)};\n"
        f"const struct board BOARDS[] = {{\n{body}\n}};\n"
    )


def _check(name: str, board: Record) -> None:
    """Refuse what the C code relies on never to see."""
    if not 1 <= board["memory_slices"] <= SLICES_MAX:
        raise HostError(f"{BOARDS}: {name}: memory_slices is from 1 to {SLICES_MAX}")
    if board["profiles"][0]["enum"] != 0:
        raise HostError(f"{BOARDS}: {name}: the first profile must be one plain slice")
    for profile in board["profiles"]:
        end = max(profile["starts"]) + profile["memory"]
        if end > board["memory_slices"]:
            raise HostError(f"{BOARDS}: {name}: {profile['name']} ends beyond slice {end - 1}")
        if profile["ci"][-1]["compute"] != profile["compute"]:
            raise HostError(f"{BOARDS}: {name}: {profile['name']}: the last ci is the full width")


def _board(name: str, board: Record) -> str:
    profiles = ",\n".join(_profile(profile) for profile in board["profiles"])
    return (
        f'{{"{name}", "{board["product"]}", {board["pci_device_id"]}u, '
        f"{ARCHITECTURES[board['architecture']]}, {board['memory_mib']}, {board['power_w']}, "
        f"{board['memory_slices']}, {'true' if board['architecture'] == 'ampere' else 'false'}, "
        f"{len(board['profiles'])}, {{\n{profiles}}}}}"
    )


def _profile(profile: Record) -> str:
    numbers = _row(profile[key] for key in NUMBERS)
    parts = ", ".join(
        f"{{{part['id']}, {part['compute']}, {part['limit']}, {len(part['starts'])}, "
        f"{{{_row(part['starts'])}}}}}"
        for part in profile["ci"]
    )
    return (
        f'  {{"{profile["name"]}", {profile["enum"]}, {profile["id"]}, {profile["compute"]}, '
        f"{profile['memory']}, {profile['limit']}, {len(profile['starts'])}, "
        f"{{{_row(profile['starts'])}}}, {numbers}, {len(profile['ci'])}, {{{parts}}}}}"
    )


def _row(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in values)


def _digest(files: Sequence[Path], words: Sequence[str]) -> str:
    digest = hashlib.sha256(" ".join(words).encode())
    for file in files:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
