"""What identifies a build: version, generation, and the one time stamp that it carries everywhere.

Version and generation are written in ``ainit/__init__.py`` and nowhere else. The time stamp
is a fixed date, not the time of the build or of a commit: equal inputs then give an equal root
hash, whoever builds them and whenever. SOURCE_DATE_EPOCH overrides it, as reproducible-builds.org
asks.
"""

from __future__ import annotations

import os
import re

from lib.host import REPOSITORY, HostError

PRODUCT = "ainos"
EPOCH_DEFAULT = 1_767_225_600  # 2026-01-01T00:00:00Z; FAT cannot express times before 1980


def version() -> str:
    """Return the version of the product. Raises HostError when the package does not say it."""
    source = REPOSITORY / "ainit" / "__init__.py"
    match = re.search(r'^__version__ = "([0-9][0-9A-Za-z.]*)"$', source.read_text(), re.MULTILINE)
    if not match:
        raise HostError(f'{source}: no line __version__ = "<digits and dots>"')
    return match[1]


def generation() -> int:
    """Return the generation of the product (docs/adr/0014-sealed-state.md). Raises HostError."""
    source = REPOSITORY / "ainit" / "__init__.py"
    match = re.search(r"^__generation__ = ([1-9][0-9]*)$", source.read_text(), re.MULTILINE)
    if not match:
        raise HostError(f"{source}: no line __generation__ = <number>")
    return int(match[1])


def epoch() -> int:
    """Return the time stamp of everything in the image, in seconds since 1970."""
    text = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH_DEFAULT))
    if not re.fullmatch(r"[0-9]+", text):
        raise HostError(f"SOURCE_DATE_EPOCH={text} is not a number of seconds")
    return int(text)
