"""The disk layout, in one place: what an update can never change.

A machine in the field keeps its partitions for ever: an update writes into the slot that is not in
use, and nothing moves. So every size, name and type here is a promise (docs/adr). The root file
system and its hash tree carry, as partition UUIDs, the two halves of the dm-verity root hash; the
kernel command line asks for those, and one UKI starts from either slot.

    {name: partition.size for name, partition in partitions(X86_64, SLOT).items()}
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lib.architecture import X86_64, Architecture

MIB = 1 << 20
SECTOR = 512
BLOCK = 4096

# Every fixed UUID descends from this one, so that two builds agree and two products do not.
NAMESPACE = uuid.UUID("5b9c1a0e-6b0f-4c55-9d0c-61696e6f7300")

# Discoverable Partitions Specification (UAPI.2), except "state": its own type for /var demands a
# UUID derived from a machine ID, which an image cannot have.
TYPE_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
TYPE_LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

FIRST_OFFSET = 1 * MIB
# What follows the last partition: the second copy of the partition table.
TAIL = 1 * MIB
# The file system in the state partition leaves out as much as a LUKS2 header takes, so that it fits
# into a sealed one as it is.
VOLUME_HEADER = 16 * MIB
# What a state partition of the usual size holds beside what the machine writes.
ROOM = 128 * MIB


def fixed_uuid(name: str) -> uuid.UUID:
    """Return the product's fixed UUID of that name."""
    return uuid.uuid5(NAMESPACE, name)


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: ``size`` in bytes, its type and its UUID unless the root hash decides that."""

    name: str
    size: int
    type: uuid.UUID
    uuid: uuid.UUID


@dataclass(frozen=True, slots=True)
class Slot:
    """The sizes of a slot's two partitions. A full root of 1 GiB has a hash tree of 8.1 MiB."""

    root_mib: int = 1024
    verity_mib: int = 16


SLOT = Slot()


# Partitions by name, in their order on the disk.
Layout = Mapping[str, Partition]


def partitions(architecture: Architecture, slot: Slot) -> Layout:
    """Return the partitions of a disk.

    Three UKIs, the loader and signatures fit the ESP. The image ships a small state partition at
    the end of the disk, where it can grow.
    """
    root, verity = architecture.root_type, architecture.verity_type
    table = (
        ("esp", 1024, TYPE_ESP),
        ("root_a", slot.root_mib, root),
        ("verity_a", slot.verity_mib, verity),
        ("root_b", slot.root_mib, root),
        ("verity_b", slot.verity_mib, verity),
        ("state", 512, TYPE_LINUX),
    )
    return {
        name: Partition(name, size * MIB, kind, fixed_uuid(f"partition {name}"))
        for name, size, kind in table
    }


def grown(layout: Layout, content: int) -> Layout:
    """Return the layout with a state partition, the last one, that holds ``content`` bytes.

    File system, hash trees and room for what the machine writes come on top.
    """
    needed = (content + content // 16) // MIB * MIB + layout["state"].size
    state = replace(layout["state"], size=needed)
    return {**layout, "state": state} if content > ROOM else layout


# The layout of the default image.
PARTITIONS = partitions(X86_64, SLOT)

DISK_UUID = fixed_uuid("disk")
EROFS_UUID = fixed_uuid("root erofs")
VERITY_UUID = fixed_uuid("root verity")
STATE_UUID = fixed_uuid("state ext4")
STATE_HASH_SEED = fixed_uuid("state directory hashes")
STATE_BYTES_PER_INODE = 32768
STATE_LABEL = "state"
ESP_LABEL = "AINOS"
ESP_SERIAL = fixed_uuid("esp").hex[:8]


def slot_uuids(root_hash: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the UUIDs of a slot's root and verity partitions: the halves of its root hash."""
    if len(root_hash) != 64:
        raise ValueError(f"not a SHA-256 root hash: {root_hash!r}")
    return uuid.UUID(hex=root_hash[:32]), uuid.UUID(hex=root_hash[32:])
