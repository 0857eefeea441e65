"""The disk layout, in one place: what an update can never change.

A machine in the field keeps its partitions for ever: an update writes into the slot that is not in
use, and nothing moves. So every size, name and type here is a promise (docs/adr). The root file
system and its hash tree carry, as partition UUIDs, the two halves of the dm-verity root hash; the
kernel command line asks for those, and one UKI starts from either slot.

    {name: partition.size for name, partition in PARTITIONS.items()}
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

MIB = 1 << 20
SECTOR = 512
BLOCK = 4096

# Every fixed UUID descends from this one, so that two builds agree and two products do not.
NAMESPACE = uuid.UUID("5b9c1a0e-6b0f-4c55-9d0c-61696e6f7300")

# Discoverable Partitions Specification (UAPI.2), except "state": its own type for /var demands a
# UUID derived from a machine ID, which an image cannot have.
TYPE_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
TYPE_ROOT = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
TYPE_VERITY = uuid.UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
TYPE_LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

FIRST_OFFSET = 1 * MIB
# What follows the last partition: the second copy of the partition table.
TAIL = 1 * MIB


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


def _partition(name: str, size_mib: int, kind: uuid.UUID) -> Partition:
    return Partition(name, size_mib * MIB, kind, fixed_uuid(f"partition {name}"))


# Three UKIs, the loader and signatures fit the ESP; the hash tree of a full slot takes 8.1 MiB.
# The image ships a small state partition at the end of the disk, where it can grow.
PARTITIONS = {
    partition.name: partition
    for partition in (
        _partition("esp", 1024, TYPE_ESP),
        _partition("root_a", 1024, TYPE_ROOT),
        _partition("verity_a", 16, TYPE_VERITY),
        _partition("root_b", 1024, TYPE_ROOT),
        _partition("verity_b", 16, TYPE_VERITY),
        _partition("state", 512, TYPE_LINUX),
    )
}

DISK_UUID = fixed_uuid("disk")
EROFS_UUID = fixed_uuid("root erofs")
VERITY_UUID = fixed_uuid("root verity")
STATE_UUID = fixed_uuid("state ext4")
STATE_HASH_SEED = fixed_uuid("state directory hashes")
STATE_LABEL = "state"
ESP_LABEL = "AINOS"
ESP_SERIAL = fixed_uuid("esp").hex[:8]


def slot_uuids(root_hash: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the UUIDs of a slot's root and verity partitions: the halves of its root hash."""
    if len(root_hash) != 64:
        raise ValueError(f"not a SHA-256 root hash: {root_hash!r}")
    return uuid.UUID(hex=root_hash[:32]), uuid.UUID(hex=root_hash[32:])
