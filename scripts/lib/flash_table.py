"""The partition table of an image, and the same table for a larger disk and for one disk only.

The image's second copy lies where the image ends; on a disk it belongs at the disk's end, or
firmware reports a damaged table. All values by the UEFI specification, section 5.3.

    table = read(head)                    # the image from its start to its first partition
    placed = table.place(disk_size, keep={root, verity})
    placed.first, placed.second           # what goes to the disk's start and to its end
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ainit.errors import RefusedError
from ainit.linux import gpt, gpt_table
from lib.host import HostError
from lib.layout import MIB, SECTOR

HEAD_MAX = 4 * MIB  # what is read of an image to find its table


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: name, UUID in lower case, first byte and number of bytes."""

    name: str
    uuid: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Placed:
    """The table of one disk: ``first`` goes to its start, ``second`` to its end."""

    first: bytes
    second: bytes
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The table of an image. ``head`` is the image up to its first partition."""

    head: bytes
    table: gpt_table.Table

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions, by number."""
        return _partitions(self.table)

    @property
    def start(self) -> int:
        """The first byte of the first partition."""
        return min(each.start for each in self.partitions)

    @property
    def end(self) -> int:
        """The byte behind the last partition."""
        return max(each.start + each.size for each in self.partitions)

    @property
    def needed(self) -> int:
        """How many bytes a disk must have: what the partitions take, and the second copy."""
        return self.end + -(-len(self.table.entries) // SECTOR) * SECTOR + SECTOR

    def place(
        self, size: int, keep: Collection[str], new: Callable[[], uuid.UUID] = uuid.uuid4
    ) -> Placed:
        """Return the table for a disk of ``size`` bytes.

        The disk and every partition whose UUID is not in ``keep`` get a UUID from ``new``. Raises
        HostError when the disk is too small.
        """
        if size < self.needed:
            raise HostError(f"the image needs {self.needed} bytes, the disk has {size}")
        table = self.table.moved(size)
        for each in table.partitions():
            if each.uuid not in keep:
                table = table.named(each.number, new())
        table = replace(table, disk=new().bytes_le)
        head = bytearray(self.head)
        try:
            _patch(head, 0, gpt_table.protective(self.head[:SECTOR], table.last))
        except RefusedError as error:
            raise HostError(f"the image: {error}") from None
        for offset, data in table.first_copy():
            _patch(head, offset, data)
        (start, entries), (_, header) = table.second_copy()
        tail = bytearray((table.last + 1) * SECTOR - start)
        _patch(tail, 0, entries)
        _patch(tail, len(tail) - SECTOR, header)
        return Placed(bytes(head), bytes(tail), _partitions(table))


def read(head: bytes) -> Table:
    """Return the table at the start of an image. Raises HostError when there is none, or a bad one.

    ``head`` has to reach the first partition; what is behind that is left out.
    """
    # Only the copy at the start counts: the other one lies where the image ends.
    copy = gpt.read_copy(lambda at, length: head[at : at + length], 1, SECTOR)
    table = gpt_table.Table.of(copy, 0, SECTOR) if copy else None
    if table is None or not table.partitions():
        raise HostError("the image has no partitions, or no GPT with right checksums")
    begin = min(each.start for each in _partitions(table))
    if not table.entries_at * SECTOR + len(table.entries) <= begin <= len(head):
        raise HostError(f"the image's first partition begins at byte {begin}, where none can")
    return Table(head[:begin], table)


def _partitions(table: gpt_table.Table) -> tuple[Partition, ...]:
    return tuple(
        Partition(each.name, each.uuid, each.first * SECTOR, (each.last + 1 - each.first) * SECTOR)
        for each in table.partitions()
    )


def _patch(data: bytearray, offset: int, part: bytes | bytearray) -> None:
    data[offset : offset + len(part)] = part
