"""systemd's ``varlinkctl``, from the pinned Debian packages, run with its own C library."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from lib import debian_lock
from lib.architecture import X86_64
from lib.debian import Archive
from lib.host import CACHE, exclusive, published_tree
from lib.tree import unpack


@cache
def command() -> tuple[str, ...]:
    """The command line that starts it; the first call unpacks it."""
    entries = debian_lock.read(group="varlinkctl")
    key = hashlib.sha256("".join(entry.sha256 for entry in entries).encode()).hexdigest()[:16]
    tree = CACHE / "varlinkctl" / key
    with exclusive("varlinkctl"):
        if not tree.exists():
            with published_tree(tree) as temporary:
                unpack(Archive().download(entries), temporary)
    libraries = tree / X86_64.libraries
    path = f"{libraries}:{libraries / 'systemd'}"
    return str(tree / X86_64.loader), "--library-path", path, str(tree / "usr/bin/varlinkctl")


def varlinkctl(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*command(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )
