"""The tools that decide bits of the image, pinned: unpacked, run with their own C library.

The host's release of them then cannot change the image, and nothing of them is installed.

    run([*command("mkfs.erofs"), str(out), str(tree)])
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from lib.debian import Archive
from lib.host import CACHE, VENV, exclusive, published_tree
from lib.tree import program, unpack

STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
BOOT_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


@cache
def folder() -> Path:
    """Return the tree of tools, unpacked on first need and again when the lock changes."""
    entries = Archive.lock_read(group="tools")
    key = hashlib.sha256("".join(entry.sha256 for entry in entries).encode()).hexdigest()[:16]
    path = CACHE / "tools" / key
    with exclusive("tools"):
        if not path.exists():
            with published_tree(path) as temporary:
                unpack(Archive().download(entries), temporary)
    return path


def command(name: str) -> list[str]:
    """Return the command that starts a program of the tools, such as ``mkfs.erofs``."""
    tree = folder()
    found = next(p for p in ("usr/bin", "usr/sbin") if (tree / p / name).exists())
    return program(tree, f"{found}/{name}")


def ukify() -> list[str]:
    """Return the command that starts ukify; it is Python and needs pefile, which the venv has."""
    return [str(VENV / "bin/python"), str(folder() / "usr/bin/ukify")]


def as_root(arguments: list[str]) -> list[str]:
    """Let a tool see itself as root: for file owners and chroot, not for rights on this host."""
    return arguments if os.geteuid() == 0 else ["unshare", "--map-root-user", *arguments]
