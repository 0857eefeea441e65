"""The tools that decide bits of the image, pinned: unpacked, run with their own C library.

The host's release of them then cannot change the image, and nothing of them is installed.

    run([*command("mkfs.erofs"), str(out), str(tree)])
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lib import debian_lock
from lib.architecture import Architecture
from lib.debian import Archive
from lib.debian_lock import Entry
from lib.host import CACHE, VENV, exclusive, published_tree
from lib.tree import program, unpack
from lib.variant import BOOT_GROUP

# What runs Python: the interpreter, its library, and what those are linked with.
PYTHON = re.compile(r"python3\.\d+.*|libpython3.*|libc6|libexpat1|zlib1g")


def _unpacked(entries: Sequence[Entry]) -> Path:
    """Return the tree of these packages, unpacked on first need and again when they change."""
    key = hashlib.sha256("".join(entry.sha256 for entry in entries).encode()).hexdigest()[:16]
    path = CACHE / "tools" / key
    with exclusive("tools"):
        if not path.exists():
            with published_tree(path) as temporary:
                unpack(Archive().download(entries), temporary)
    return path


@cache
def folder(group: str = "tools") -> Path:
    """Return the tree of tools, or of another list's programs for the build host."""
    return _unpacked(debian_lock.read(group=group))


@cache
def boot(architecture: Architecture) -> Path:
    """Return the tree with the boot loader and the UKI stub of an architecture."""
    return _unpacked(debian_lock.read(group=BOOT_GROUP, architecture=architecture))


@cache
def python_for(architecture: Architecture) -> Path | None:
    """Return a tree with the guest's Python that runs on this host; None when its own does.

    Bytecode depends on the version alone, so this host can compile it for another architecture.
    """
    if architecture.runs_here:
        return None
    entries = debian_lock.read(group="root")
    return _unpacked([entry for entry in entries if PYTHON.fullmatch(entry.package)])


def command(name: str, group: str = "tools") -> list[str]:
    """Return the command that starts a program of a list, such as ``mkfs.erofs`` of the tools."""
    tree = folder(group)
    found = next(p for p in ("usr/bin", "usr/sbin") if (tree / p / name).exists())
    return program(tree, f"{found}/{name}")


def ukify() -> list[str]:
    """Return the command that starts ukify; it is Python and needs pefile, which the venv has."""
    return [str(VENV / "bin/python"), str(folder() / "usr/bin/ukify")]


def as_root(arguments: list[str]) -> list[str]:
    """Let a tool see itself as root: for file owners and chroot, not for rights on this host."""
    return arguments if os.geteuid() == 0 else ["unshare", "--map-root-user", *arguments]
