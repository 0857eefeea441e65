"""dm-verity: the hash tree of the root, and the kernel command line that trusts it.

The salt follows from the version and the UUID is fixed, so equal roots give equal trees. There is
no initramfs: the kernel itself builds the mapping from ``dm-mod.create=`` on the signed command
line (kernel documentation, admin-guide/device-mapper/dm-init.rst and verity.rst).

    tree = build(root, out, version()); command_line(tree, X86_64)
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lib.architecture import Architecture
from lib.host import HostError, published, run
from lib.layout import BLOCK, SECTOR, VERITY_UUID, slot_uuids

# The superblock takes the first block of the hash partition; the tree begins behind it.
HASH_START = 1
# How long the kernel waits for a disk that comes late, such as one on USB, before it reboots.
ROOT_WAIT_S = 30
LSM = ("lockdown", "landlock", "yama", "bpf", "ipe", "ima")


@dataclass(frozen=True, slots=True)
class HashTree:
    """What must be known to check a root: all of it goes onto the signed command line."""

    root_hash: str
    salt: str
    data_blocks: int


def salt_of(release: str) -> str:
    """Return the salt of a version, 32 bytes in hexadecimal."""
    return hashlib.sha256(f"ainos root {release}".encode()).hexdigest()


def build(data: Path, out: Path, release: str) -> HashTree:
    """Write the hash tree of a file whose size is a multiple of 4096 bytes."""
    size = data.stat().st_size
    if size % BLOCK:
        raise HostError(f"{data} is not made of whole {BLOCK}-byte blocks")
    salt = salt_of(release)
    with published(out) as temporary:
        command = ["veritysetup", "format", "--hash=sha256", f"--uuid={VERITY_UUID}"]
        command += [f"--data-block-size={BLOCK}", f"--hash-block-size={BLOCK}", f"--salt={salt}"]
        printed = run([*command, str(data), str(temporary)])
    match = re.search(r"^Root hash:\s+([0-9a-f]{64})$", printed, re.MULTILINE)
    if not match:
        raise HostError(f"veritysetup printed no root hash:\n{printed}")
    return HashTree(match[1], salt, size // BLOCK)


def command_line(tree: HashTree, architecture: Architecture) -> str:
    """Return the kernel command line that starts the root with this hash tree and no other.

    Both partitions are named by the halves of the root hash, so it serves either slot. ``gpt``
    makes the kernel use the backup partition table when the first is damaged; a panic reboots at
    once, and the boot counter falls back.
    """
    data, hashes = (f"PARTUUID={identity}" for identity in slot_uuids(tree.root_hash))
    table = (
        f"0 {tree.data_blocks * (BLOCK // SECTOR)} verity 1 {data} {hashes} {BLOCK} {BLOCK} "
        f"{tree.data_blocks} {HASH_START} sha256 {tree.root_hash} {tree.salt} 1 panic_on_corruption"
    )
    words = [
        f'dm-mod.create="root,,,ro,{table}"',
        f"dm-mod.waitfor={data},{hashes}",
        *("root=/dev/dm-0", "rootfstype=erofs", "ro", f"rootwait={ROOT_WAIT_S}", "gpt"),
        *("init=/usr/sbin/init", "panic=-1", "lockdown=integrity", f"lsm={','.join(LSM)}"),
        # The last one is /dev/console.
        *("console=tty0", f"console={architecture.serial},115200"),
        "quiet",
    ]
    return " ".join(words)
