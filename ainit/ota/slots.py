"""Boot counting in file names, as systemd-boot does it (systemd.io, AUTOMATIC_BOOT_ASSESSMENT).

``ainos_1.0+3-0.efi`` has three tries left; each boot that nobody confirms takes one and notes it:
``ainos_1.0+2-1.efi``. AINOS re-arms the counter instead of removing it, so that a slot that rots
later still falls back. All names of an entry are equally long, so that one becomes another in
place, character by character, and each mixture of two of them is a counted name as well; but not
the name of one that was started ten times and never confirmed, which has two digits there. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import RefusedError

TRIES = 3
SUFFIX = ".efi"
HIDDEN = ".efj"  # what no loader takes, one character away
APPROVAL = ".seal.json"  # of the file beside an entry
_COUNTED = re.compile(r"(?P<stem>.+?)\+(?P<left>\d)(?:-(?P<done>\d{1,9}))?\.efi\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """A counted entry. ``left`` are its tries, ``done`` those that are gone, None where the name
    does not say.
    """

    stem: str
    left: int
    done: int | None = 0

    @property
    def name(self) -> str:
        """The file."""
        done = "" if self.done is None else f"-{self.done}"
        return f"{self.stem}+{self.left}{done}{SUFFIX}"


def stem(version: str) -> str:
    """What the files of a version begin with.

    >>> stem("0.1.0")
    'ainos_0.1.0'
    """
    return f"ainos_{version}"


def entry(name: str) -> Entry | None:
    """The counted entry of this name, or None.

    >>> entry("ainos_0.1.0+2-1.efi")
    Entry(stem='ainos_0.1.0', left=2, done=1)
    """
    found = _COUNTED.match(name)
    if found is None or "/" in name or "\\" in name:
        return None
    done = found["done"]
    return Entry(found["stem"], int(found["left"]), None if done is None else int(done))


def rearmed(name: str) -> str:
    """The name of the running entry with its full number of tries again.

    >>> rearmed("ainos_0.1.0+2-1.efi")
    'ainos_0.1.0+3-0.efi'
    """
    return _counted(name, TRIES, 0)


def condemned(name: str) -> str:
    """The name of the running entry without a try left: the loader takes another one.

    >>> condemned("ainos_0.1.0+2-1.efi")
    'ainos_0.1.0+0-3.efi'
    """
    return _counted(name, 0, TRIES)


def hidden(name: str) -> str:
    """The name of an entry that the loader does not see.

    >>> hidden("ainos_0.1.0+3-0.efi")
    'ainos_0.1.0+3-0.efj'
    """
    return name.removesuffix(SUFFIX) + HIDDEN


def _counted(name: str, left: int, done: int) -> str:
    found = entry(name)
    if found is None:
        raise RefusedError(f"{name} is no boot-counted entry")
    return Entry(found.stem, left, None if found.done is None else done).name


def split(path: str) -> tuple[str, str]:
    """The directory below the ESP and the file name in a LoaderBootCountPath.

    >>> split("\\\\EFI\\\\Linux\\\\ainos_1+2-1.efi")
    ('EFI/Linux', 'ainos_1+2-1.efi')
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    if not parts or ".." in parts:
        raise RefusedError(f"{path!r} is no path on the ESP")
    return "/".join(parts[:-1]), parts[-1]
