"""``scripts/debian.lock``, and the package lists that it is resolved from.

The lock names files by their place in the pool and by SHA-256, never by host. Leaves out: fetching
and resolving, see `lib.debian`.

    entries = debian_lock.read(group="root")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lib.architecture import X86_64, Architecture
from lib.host import REPOSITORY, HostError, published

LOCK = REPOSITORY / "scripts" / "debian.lock"
LISTS = REPOSITORY / "scripts" / "packages"
# What Debian calls a package that is the same on every architecture.
ANY = "all"


class LockError(HostError):
    """The lock file or a package list is malformed; the message names file and line."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of the archive. ``group`` says which part of the product asked for it."""

    group: str
    package: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: str

    @property
    def basename(self) -> str:
        """The file's own name, such as ``libc6_2.41-12_amd64.deb``."""
        return self.filename.rsplit("/", 1)[1]

    @property
    def component(self) -> str:
        """The part of the archive that holds it, such as ``main``; its licence decides that."""
        return self.filename.removeprefix("pool/").removeprefix("updates/").split("/", 1)[0]


def parse_lock(text: str, name: str) -> list[Entry]:
    """Return the entries of a lock file, one JSON object a line. Raises LockError."""
    kinds = {field.name: int if field.name == "size" else str for field in fields(Entry)}
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise LockError(f"{name}:{number}: not JSON: {error}") from error
        if not isinstance(record, dict) or record.keys() != kinds.keys():
            raise LockError(f"{name}:{number}: expected exactly the keys {', '.join(kinds)}")
        for key, kind in kinds.items():
            if type(record[key]) is not kind:
                raise LockError(f"{name}:{number}: {key} is not {kind.__name__}")
        entry = Entry(**record)
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
            raise LockError(f"{name}:{number}: sha256 is not 64 hexadecimal digits")
        if not re.fullmatch(r"pool/[^/]\S*", entry.filename) or "/../" in entry.filename:
            raise LockError(f"{name}:{number}: filename is not a path below pool/")
        entries.append(entry)
    return entries


def read(
    path: Path = LOCK, group: str | None = None, architecture: Architecture = X86_64
) -> list[Entry]:
    """Return the locked entries: all, or those of one group for one architecture.

    Raises LockError.
    """
    if not path.exists():
        raise LockError(f"{path} is missing; `make relock` writes it")
    entries = parse_lock(path.read_text(), str(path))
    if group is None:
        return entries
    fitting = (architecture.debian, ANY)
    return [entry for entry in entries if entry.group == group and entry.architecture in fitting]


def write(entries: Iterable[Entry], path: Path = LOCK) -> None:
    """Write the lock file, sorted, so that a change of the archive reads as a small diff."""
    lines = [json.dumps(asdict(entry)) for entry in sorted(set(entries))]
    with published(path) as file:
        file.write_text("".join(line + "\n" for line in lines))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package list: single packages, packages with what they depend on, and exclusions."""

    single: tuple[str, ...]
    closure: tuple[str, ...]
    excluded: frozenset[str]


def parse_list(text: str, name: str, architecture: Architecture = X86_64) -> Wanted:
    """Read a package list: ``name``, ``+name`` (with its dependencies), ``-name`` (left out).

    A line that ends in ``[arm64]`` is for that architecture of Debian's only.
    """
    found: dict[str, list[str]] = {"": [], "+": [], "-": []}
    for number, line in enumerate(text.splitlines(), 1):
        word = line.split("#", 1)[0].strip()
        if not word:
            continue
        match = re.fullmatch(r"([+-]?)([a-z0-9][a-z0-9+.-]+)(?: +\[([a-z0-9]+)\])?", word)
        if not match:
            raise LockError(f"{name}:{number}: {word!r} is not [+-]<package name> [<architecture>]")
        if match[3] in (None, architecture.debian):
            found[match[1]].append(match[2])
    return Wanted(tuple(found[""]), tuple(found["+"]), frozenset(found["-"]))
