"""Do driver, CUDA libraries, ONNX Runtime and torch fit together? Asked when an image is built.

A driver runs every CUDA release up to its own; CUDA libraries and what is linked with them have to
be of one release. What cannot be told is an error, too: then the table wants a line.

    check("550.163.01")
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from lib.host import REPOSITORY, HostError

SCRIPTS = REPOSITORY / "scripts"
TABLE = SCRIPTS / "nvidia-versions.toml"
LOCKS = (SCRIPTS / "wheels-cuda.txt", SCRIPTS / "wheels-torch.txt")
LIBRARY = re.compile(r"nvidia-[a-z-]+-cu(\d+)")


class VersionError(HostError):
    """Parts of different releases, or one that the table does not know."""


def check(driver: str, table: Path = TABLE, locks: tuple[Path, ...] = LOCKS) -> str:
    """Return the CUDA release that all parts are of. Raises VersionError with file and line."""
    known = tomllib.loads(table.read_text())
    wanted = [
        (cuda, f"{lock}:{number}: {name} {version}")
        for lock in locks
        for number, name, version in _pins(lock)
        if (cuda := _cuda_of(name, version, known, f"{lock}:{number}", table))
    ]
    releases = sorted({cuda for cuda, _ in wanted})
    if len(releases) != 1:
        lines = "\n".join(f"  {where} is for CUDA {cuda}" for cuda, where in wanted)
        raise VersionError(f"not all of one CUDA release:\n{lines}")
    (cuda,) = releases
    oldest = known["minimum_driver"].get(cuda)
    if oldest is None:
        raise VersionError(f"{table}: no [minimum_driver] for CUDA {cuda}")
    if _number(driver) < _number(oldest):
        example = next(where for _, where in wanted)
        raise VersionError(
            f"{example} is for CUDA {cuda}, which needs driver {oldest} or newer ({table}); the "
            f"image's is {driver}: choose a newer one with NVIDIA_DRIVER, or older wheels"
        )
    return cuda


def _pins(lock: Path) -> list[tuple[int, str, str]]:
    found = []
    for number, line in enumerate(lock.read_text().splitlines(), 1):
        if match := re.match(r"([a-z0-9-]+)==(\S+)", line):
            found.append((number, match[1], match[2]))
    return found


def _cuda_of(name: str, version: str, known: dict[str, Any], where: str, table: Path) -> str:
    """Return the CUDA release that a package is for; "" for one that has nothing to do with it."""
    if library := LIBRARY.fullmatch(name):
        return library[1]
    if name not in known["cuda"]:
        return ""
    series = ".".join(version.split(".")[:2])
    if series not in known["cuda"][name]:
        raise VersionError(f"{where}: {table} does not say what CUDA {name} {series} is for")
    return str(known["cuda"][name][series])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
