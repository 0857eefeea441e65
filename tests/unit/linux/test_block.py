"""The one disk, on machines laid out in a directory as sysfs shows them, with GPTs by sgdisk."""

from __future__ import annotations

import subprocess
from binascii import crc32
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux import block

ROOT, VERITY, STATE, ESP = (f"{digit * 8}-1111-4222-8333-444444444444" for digit in "1234")
DISK_BYTES = 8 << 20
IMAGE = {"esp": ESP, "root_a": ROOT, "verity_a": VERITY, "state": STATE}


class Sysfs:
    """/sys of a machine."""

    def __init__(self, root: Path) -> None:
        self.path = str(root)
        self._root = root
        (root / "class/block").mkdir(parents=True)
        self.dev = root / "dev"
        self.dev.mkdir()

    def disk(self, disk: str, partitions: dict[str, str], separator: str = "") -> None:
        """A disk with partitions (label → UUID), numbered from 1."""
        device = self._root / f"devices/pci0/{disk}"
        device.mkdir(parents=True)
        (device / "uevent").write_text(f"DEVNAME={disk}\n")
        (self._root / f"class/block/{disk}").symlink_to(device)
        commands = ["sgdisk", "--clear", "--set-alignment=1"]
        for number, (label, uuid) in enumerate(partitions.items(), start=1):
            name = f"{disk}{separator}{number}"
            part = device / name
            part.mkdir()
            (part / "partition").write_text(f"{number}\n")
            (self._root / f"class/block/{name}").symlink_to(part)
            commands += [f"--new={number}:0:+64K", f"--change-name={number}:{label}"]
            commands += [f"--partition-guid={number}:{uuid}"]
        with (self.dev / disk).open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run([*commands, str(self.dev / disk)], check=True, capture_output=True)

    def verity(self, *members: str) -> None:
        """The verified root over these partitions."""
        slaves = self._root / "block/dm-0/slaves"
        slaves.mkdir(parents=True)
        for member in members:
            (slaves / member).mkdir()

    def system_disk(self, loader: str = ESP) -> str:
        """What the product makes of it."""
        return block.system_disk(self.partitions(), block.root_members(self.path), loader)

    def partitions(self) -> list[block.Partition]:
        """What the product sees."""
        return block.partitions(self.path, str(self.dev))


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


def test_one_disk(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    sysfs.verity("vda2", "vda3")
    assert sysfs.system_disk() == "vda"
    assert block.labelled(sysfs.partitions(), "vda", "state") == "/dev/vda4"
    assert block.labelled(sysfs.partitions(), "vda", "other") == ""


def test_the_names_of_nvme_partitions(sysfs: Sysfs) -> None:
    sysfs.disk("nvme0n1", {label: uuid.upper() for label, uuid in IMAGE.items()}, separator="p")
    sysfs.verity("nvme0n1p2", "nvme0n1p3")
    assert sysfs.system_disk() == "nvme0n1"
    assert block.labelled(sysfs.partitions(), "nvme0n1", "state") == "/dev/nvme0n1p4"


def test_a_foreign_disk_is_no_matter(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    sysfs.disk("vdb", {"data": "9999", "state": "8888", "unnamed": ""})
    sysfs.verity("vda2", "vda3")
    assert sysfs.system_disk() == "vda"
    assert block.labelled(sysfs.partitions(), "vda", "state") == "/dev/vda4"


@pytest.mark.parametrize("members", [("vda2", "vda3"), ("vdb2", "vdb3")])
def test_two_disks_with_the_same_image(sysfs: Sysfs, members: tuple[str, ...]) -> None:
    sysfs.disk("vda", IMAGE)
    sysfs.disk("vdb", IMAGE)
    sysfs.verity(*members)
    with pytest.raises(RefusedError, match=r"carry the same system image .* detach one of them"):
        sysfs.system_disk()


def test_one_shared_partition_is_enough(sysfs: Sysfs) -> None:
    """A copy of the root alone could have been chosen by the kernel just as well."""
    sysfs.disk("vda", IMAGE)
    sysfs.disk("sdb", {"other": "7777", "root_a": ROOT})
    sysfs.verity("vda2", "vda3")
    with pytest.raises(RefusedError, match=f"vda and sdb carry .*{ROOT}"):
        sysfs.system_disk()


def test_a_root_that_spans_disks(sysfs: Sysfs) -> None:
    sysfs.disk("vda", {"esp": ESP, "root_a": ROOT})
    sysfs.disk("vdb", {"verity_a": VERITY})
    sysfs.verity("vda2", "vdb1")
    with pytest.raises(RefusedError, match="lies on vda, vdb, not on one disk"):
        sysfs.system_disk()


def test_a_loader_from_another_disk(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    sysfs.disk("usb", {"esp": "5555"})
    sysfs.verity("vda2", "vda3")
    with pytest.raises(RefusedError, match="boot loader came from another disk than vda"):
        sysfs.system_disk(loader="5555")


def test_an_unknown_loader_is_no_reason(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    sysfs.verity("vda2", "vda3")
    assert sysfs.system_disk(loader="") == "vda"


def test_no_verified_root(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    with pytest.raises(RefusedError, match="not a verified partition"):
        sysfs.system_disk()


def test_a_damaged_primary_table_is_read_from_its_backup(sysfs: Sysfs) -> None:
    sysfs.disk("vda", IMAGE)
    before = [(part.name, part.label, part.uuid) for part in sysfs.partitions()]
    with (sysfs.dev / "vda").open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))
    assert [(part.name, part.label, part.uuid) for part in sysfs.partitions()] == before


@pytest.mark.parametrize("offset", [512 + 16, 512 + 40, 1024 + 16, 1024 + 56])
def test_an_altered_table_is_not_believed(sysfs: Sysfs, offset: int) -> None:
    sysfs.disk("vda", IMAGE)
    before = [(part.label, part.uuid) for part in sysfs.partitions()]
    with (sysfs.dev / "vda").open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes((byte[0] ^ 1,)))
    assert [(part.label, part.uuid) for part in sysfs.partitions()] == before
    with (sysfs.dev / "vda").open("r+b") as file:
        file.seek(DISK_BYTES - 512)
        file.write(bytes(512))
    assert all(not part.uuid for part in sysfs.partitions())


@pytest.mark.parametrize("start", [1 << 40, 1 << 54, (1 << 55) - 1, 1 << 63, (1 << 64) - 1])
def test_entries_that_no_disk_can_have_leave_the_second_table(tmp_path: Path, start: int) -> None:
    """Checksums are no signatures: any stick can say that."""
    sysfs = Sysfs(tmp_path)
    sysfs.disk("vda", IMAGE)
    before = sysfs.partitions()
    with (sysfs.dev / "vda").open("r+b") as file:
        file.seek(512)
        header = bytearray(file.read(92))
        header[72:80] = start.to_bytes(8, "little")
        header[16:20] = bytes(4)
        header[16:20] = crc32(header).to_bytes(4, "little")
        file.seek(512)
        file.write(header)
    assert [vars_of(each) for each in sysfs.partitions()] == [vars_of(each) for each in before]


def vars_of(partition: block.Partition) -> tuple[str, str, str, str]:
    return partition.name, partition.disk, partition.label, partition.uuid
