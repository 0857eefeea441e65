"""What is judged of power cuts, without a machine: the client's own table on a logged disk, and
clients with a fault of order, which the same judgement catches.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from lib import cut_mutants, cut_operations, cut_stand, cut_trial
from lib.cut_stand import Stand
from lib.cut_trial import Found, Trial
from lib.layout import slot_uuids

from ainit.linux import gpt_disk
from ainit.linux.gpt_table import Table
from tests.support.block_log import LoggedDisk

Write = Callable[[gpt_disk.Disk, Table], None]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return cut_stand.make(tmp_path_factory.mktemp("stand"))


def named(disk: LoggedDisk, root: uuid.UUID, tree: uuid.UUID) -> Table:
    """The table with other UUIDs of slot B."""
    table = gpt_disk.read(disk)
    for name, identity in (("root_b", root), ("verity_b", tree)):
        table = table.named(table.labelled(name).number, identity)
    return table


def fill(disk: LoggedDisk, stand: Stand) -> None:
    """Write the new release into slot B."""
    table = gpt_disk.read(disk)
    for name, data in (("root_b", stand.new.root), ("verity_b", stand.new.verity)):
        at = table.labelled(name).first * disk.sector
        padded = data.ljust(-(-len(data) // disk.sector) * disk.sector, b"\0")
        for start in range(0, len(padded), 1 << 16):
            disk.write(at + start, padded[start : start + (1 << 16)])


def judged(stand: Stand, disk: LoggedDisk, folder: Path) -> Found:
    world = cut_operations.of_update(stand, done=False)
    return cut_trial.judge(Trial("test", disk.save(folder / "log"), stand.base, world), None)


def install(stand: Stand, write: Write, *, flushed: bool = True, late: bool = False) -> LoggedDisk:
    """The part of an update that concerns table and slot."""
    disk = LoggedDisk(stand.base)
    identities = slot_uuids(stand.new.known.root_hash)
    write(disk, named(disk, uuid.UUID(int=1), uuid.UUID(int=2)))
    if late:
        write(disk, named(disk, *identities))
    fill(disk, stand)
    if flushed:
        disk.flush()
    write(disk, named(disk, *identities))
    return disk


def at_once(disk: gpt_disk.Disk, table: Table) -> None:
    """Both copies of a table in one flush."""
    gpt_disk.write_second(disk, table)
    gpt_disk.write_first(disk, table)
    disk.flush()


def first_copy_only(disk: gpt_disk.Disk, table: Table) -> None:
    """The first copy without a flush of what it tells of."""
    gpt_disk.write_first(disk, table)
    disk.flush()


def test_the_clients_table_is_fine_at_every_point(stand: Stand, tmp_path: Path) -> None:
    found = judged(stand, install(stand, gpt_disk.write), tmp_path)
    assert not found.faults, found.shown
    assert found.points > 100
    assert set(found.versions) == {stand.old.known.version}


def test_both_copies_of_a_table_at_once_are_caught(stand: Stand, tmp_path: Path) -> None:
    assert judged(stand, install(stand, at_once), tmp_path).faults["unbootable"]


def test_a_slot_that_is_not_flushed_is_caught(stand: Stand, tmp_path: Path) -> None:
    found = judged(stand, install(stand, first_copy_only, flushed=False), tmp_path)
    assert found.faults["mixed slots"]


def test_a_slot_that_is_named_before_it_is_written_is_caught(stand: Stand, tmp_path: Path) -> None:
    assert judged(stand, install(stand, gpt_disk.write, late=True), tmp_path).faults["mixed slots"]


@pytest.mark.parametrize("mutant", cut_mutants.MUTANTS, ids=lambda each: each.name)
def test_what_a_mutant_replaces_is_there(mutant: cut_mutants.Mutant) -> None:
    cut_mutants.check(mutant)
