"""Boot counting in file names, as systemd-boot does it (systemd.io, AUTOMATIC_BOOT_ASSESSMENT).

``ainos_1.0+3.efi`` has three tries left; each boot that nobody confirms takes one and notes it:
``ainos_1.0+2-1.efi``. AINOS re-arms the counter instead of removing it, so that a slot that rots
later still falls back. Pure.
"""

from __future__ import annotations

import re

from ..errors import RefusedError

TRIES = 3
_COUNTED = re.compile(r"(?P<stem>.+?)\+(?P<left>\d+)(?:-(?P<done>\d+))?\.efi\Z")


def rearmed(name: str) -> str:
    """The name of the running entry with its full number of tries again.

    >>> rearmed("ainos_0.1.0+2-1.efi")
    'ainos_0.1.0+3.efi'
    """
    return f"{_stem(name)}+{TRIES}.efi"


def condemned(name: str) -> str:
    """The name of the running entry without a try left: the loader takes another one.

    >>> condemned("ainos_0.1.0+2-1.efi")
    'ainos_0.1.0+0-3.efi'
    """
    return f"{_stem(name)}+0-{TRIES}.efi"


def _stem(name: str) -> str:
    found = _COUNTED.match(name)
    if found is None or "/" in name or "\\" in name:
        raise RefusedError(f"{name} is no boot-counted entry")
    return found["stem"]


def split(path: str) -> tuple[str, str]:
    """The directory below the ESP and the file name in a LoaderBootCountPath.

    >>> split("\\\\EFI\\\\Linux\\\\ainos_1+2-1.efi")
    ('EFI/Linux', 'ainos_1+2-1.efi')
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    if not parts or ".." in parts:
        raise RefusedError(f"{path!r} is no path on the ESP")
    return "/".join(parts[:-1]), parts[-1]
