"""Ten update clients with one fault of order each: what the judged points must catch.

A mutant is text of the package that other text takes the place of, on a copy. The text is there
once, or the mutant is none: `check` says so, and a unit test asks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.host import REPOSITORY, HostError

Patch = tuple[str, str, str]
_INSTALL, _BOOT = "ainit/ota/install.py", "ainit/ota/boot.py"
_PREPARE = "    name = boot.prepare(ground.part, staged.version, staged.uki, staged.approval)\n"
_SWITCH = "    pending()\n    switch(ground.part, name)\n"
_SECOND = "        write_second(disk, new)\n"
_RENAME = """        import os
        from ..linux import files
        with part.mounted() as root:
            os.rename(f"{root}/{folder}/{name}", f"{root}/{folder}/{new}")
            files.sync_directory(f"{root}/{folder}")
"""
_FILES, _GPT = "ainit/ota/esp_files.py", "ainit/linux/gpt_disk.py"
UPDATE, COMMIT = "update", "commit"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A client by what is wrong with it, and the operation that shows it."""

    name: str
    patches: tuple[Patch, ...]
    operation: str = UPDATE


MUTANTS = (
    Mutant(
        "image not synced",
        (
            (_FILES, "    os.fsync(descriptor)\n", "    pass\n"),
            (_FILES, "    files.sync_directory(path)\n", "    pass\n"),
            (
                _FILES,
                "        with self.opened() as disk:\n            disk.flush()\n",
                "        pass\n",
            ),
        ),
    ),
    Mutant(
        "slot not flushed",
        (
            (_INSTALL, "    flush_slot(ground.slots.other)\n", ""),
            (
                _GPT,
                _SECOND + "    disk.flush()\n",
                _SECOND,
            ),
        ),
    ),
    Mutant(
        "image before data",
        (
            (
                _INSTALL,
                _PREPARE,
                "",
            ),
            (_INSTALL, _SWITCH, ""),
            (
                _INSTALL,
                '    tell("the other slot is written")\n',
                _PREPARE + _SWITCH,
            ),
        ),
    ),
    Mutant(
        "UUIDs before data",
        (
            (
                _INSTALL,
                '    tell("the other slot is written")\n',
                "    name_slot(ground, uki.halves(staged.root_hash))\n",
            ),
        ),
    ),
    Mutant(
        "both tables at once",
        (
            (
                _GPT,
                _SECOND + "    disk.flush()\n",
                _SECOND,
            ),
        ),
    ),
    Mutant(
        "old image removed first",
        ((_BOOT, "        if each not in kept:\n", "        if each:\n"),),
    ),
    Mutant(
        "loader in place",
        (
            (
                _BOOT,
                "    old = one(part, LOADERS, name)\n    put(part, LOADERS, hidden, path)\n",
                "    put(part, LOADERS, name, path)\n    return True\n",
            ),
        ),
    ),
    Mutant(
        "record before data",
        ((_INSTALL, '    tell("the other slot is retired")\n', "    pending()\n"),),
    ),
    Mutant(
        "counter before copy",
        (
            (
                _BOOT,
                "    put(part, IMAGES, slots.hidden(name), uki)\n    return name\n",
                "    put(part, IMAGES, name, uki)\n    return name\n",
            ),
            (_INSTALL, "    show(part, IMAGES, slots.hidden(name), name)\n", "    pass\n"),
        ),
    ),
    Mutant(
        "tries by rename",
        (
            (
                _BOOT,
                "        part.rename(folder, held[0], new)\n",
                _RENAME,
            ),
        ),
        COMMIT,
    ),
)


def check(mutant: Mutant, package: Path = REPOSITORY) -> None:
    """Raises HostError when the text that a mutant replaces is not there, once."""
    for path, old, _ in mutant.patches:
        found = (package / path).read_text().count(old)
        if found != 1:
            raise HostError(f"mutant {mutant.name}: {path} has its text {found} times, not once")
