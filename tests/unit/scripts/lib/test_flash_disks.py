"""Disks of machines that are laid out in a directory, as sysfs and /proc show them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from lib import flash_words
from lib.flash_disks import (
    Disk,
    Machine,
    Twins,
    candidates,
    contents,
    describe,
    find,
    find_number,
    format_size,
    twins,
)
from lib.flash_table import Placed, read
from lib.flash_use import refusals
from lib.host import HostError

from tests.support import disk_image
from tests.support.disk_image import ROOT

GB = 10**9
TAKE_DOWN = "take that down first (cryptsetup close, vgchange -an, mdadm --stop)"
PCI = "devices/pci0000:00/0000:00:14.0"


class Tree:
    """A machine in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machine = Machine(root / "sys", root / "dev", root / "proc")
        for folder in ("sys/block", "sys/class/block", "sys/dev/block", "dev", "proc/self"):
            (root / folder).mkdir(parents=True)
        self.mounts("")
        (root / "proc/swaps").write_text("Filename Type Size Used Priority\n")

    def node(self, path: str, number: str, files: dict[str, str]) -> Path:
        """A block device of sysfs at ``path`` below it."""
        folder = self.root / "sys" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "holders").mkdir()
        for name, text in {"dev": number, **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{text}\n")
        (self.root / "sys/class/block" / folder.name).symlink_to(folder)
        (self.root / "sys/dev/block" / number).symlink_to(folder)
        (self.root / "dev" / folder.name).write_bytes(bytes(4096))
        return folder

    def disk(self, path: str, number: str, size: int, **files: str) -> Path:
        """A whole disk. Double underscores in the names of files are slashes."""
        sectors = {"size": str(size // 512), "ro": "0", "removable": "0"}
        given = {name.replace("__", "/"): text for name, text in files.items()}
        folder = self.node(path, number, {"queue/logical_block_size": "512", **sectors, **given})
        (self.root / "sys/block" / folder.name).symlink_to(folder)
        return folder

    def partition(self, disk: Path, name: str, number: str) -> Path:
        path = str((disk / name).relative_to(self.root / "sys"))
        return self.node(path, number, {"partition": re.sub(r".*\D", "", name)})

    def mounts(self, text: str) -> None:
        (self.root / "proc/self/mountinfo").write_text(text)

    def hold(self, below: Path, above: Path) -> None:
        (below / "holders" / above.name).symlink_to(above)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def sata(tree: Tree, name: str = "sda", number: str = "8:0", size: int = 480 * GB) -> Path:
    path = f"{PCI}/ata1/host0/target0:0:0/0:0:0:0/block/{name}"
    folder = tree.disk(path, number, size, device__vendor="ATA     ", device__model="Samsung  SSD")
    (folder / "device/vpd_pg80").write_bytes(b"\0\x80\0\x06S123  ")
    return folder


def usb(tree: Tree) -> Path:
    hub = tree.root / "sys" / PCI / "usb2/2-1"
    hub.mkdir(parents=True)
    (hub / "idVendor").write_text("0781\n")
    (hub / "serial").write_text("4C5300\n")
    path = f"{PCI}/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb"
    names = {"device__vendor": "SanDisk", "device__model": "Ultra"}
    return tree.disk(path, "8:16", 62 * GB, removable="1", **names)


def nvme(tree: Tree, **files: str) -> Path:
    path = "devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1"
    names = {"device__model": "KIOXIA CM7", "device__serial": "X1"}
    return tree.disk(path, "259:0", 3840 * GB, queue__discard_max_bytes="2199", **names, **files)


def test_what_disks_are(tree: Tree) -> None:
    sata(tree)
    usb(tree)
    nvme(tree)
    virtio = "devices/pci0000:00/0000:00:03.0/virtio1/block/vda"
    tree.disk(virtio, "254:0", 8 * GB, serial="abc", device__vendor="0x1af4")
    assert candidates(tree.machine) == [
        Disk("nvme0n1", 3840 * GB, 512, "KIOXIA CM7", "X1", "NVMe", False, False, True),
        Disk("sda", 480 * GB, 512, "Samsung SSD", "S123", "SATA", False, False, False),
        Disk("sdb", 62 * GB, 512, "SanDisk Ultra", "4C5300", "USB", True, False, False),
        Disk("vda", 8 * GB, 512, "", "abc", "virtio", False, False, False),
    ]


def test_what_is_no_disk(tree: Tree) -> None:
    tree.disk("devices/virtual/block/loop0", "7:0", 8 * GB)
    tree.disk("devices/virtual/block/zram0", "253:0", 8 * GB)
    tree.disk("devices/pci/ata2/block/sr0", "11:0", 8 * GB, device__type="5")
    tree.disk("devices/pci/usb1/block/sdc", "8:32", 0, device__model="Card reader, empty")
    tree.disk("devices/pci/nvme/nvme0/nvme0c0n1", "259:1", GB, device__model="path", hidden="1")
    assert candidates(tree.machine) == []


def test_a_disk_that_nobody_uses(tree: Tree) -> None:
    disk = sata(tree)
    tree.partition(disk, "sda1", "8:1")
    tree.mounts("22 1 0:21 / /proc rw - proc proc rw\n23 1 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n")
    assert refusals(tree.machine, describe(tree.machine, "sda"), 480 * GB) == []


def reasons(tree: Tree, name: str = "sda", needed: int = 4 * GB) -> list[str]:
    return refusals(tree.machine, describe(tree.machine, name), needed)


def test_the_running_system(tree: Tree) -> None:
    tree.partition(sata(tree), "sda2", "8:2")
    tree.mounts("22 1 8:2 / / rw - ext4 /dev/root rw\n")
    assert reasons(tree) == ["sda2 holds the running system: choose another disk"]


def test_a_mount_point_with_a_space(tree: Tree) -> None:
    tree.partition(sata(tree), "sda2", "8:2")
    tree.mounts("22 1 8:2 / /media/my\\040stick rw shared:1 - vfat /dev/sda2 rw\n")
    assert reasons(tree) == ["sda2 is mounted on /media/my stick: umount '/media/my stick'"]


def test_a_mounted_disk_without_partitions(tree: Tree) -> None:
    sata(tree)
    tree.mounts("22 1 8:0 / /data rw - ext4 /dev/sda rw\n")
    assert reasons(tree) == ["sda is mounted on /data: umount /data"]


def test_btrfs_whose_mounts_have_numbers_of_their_own(tree: Tree) -> None:
    tree.partition(sata(tree), "sda1", "8:1")
    (tree.root / "dev/disk").mkdir()
    (tree.root / "dev/disk/pool").symlink_to("../sda1")
    tree.mounts("22 1 0:44 / /data rw - btrfs /dev/disk/pool rw\n")
    assert reasons(tree) == ["sda1 is mounted on /data: umount /data"]


def test_swap(tree: Tree) -> None:
    tree.partition(sata(tree), "sda3", "8:3")
    (tree.root / "proc/swaps").write_text("Filename\tType\n/dev/sda3  partition 1 0 -2\n")
    assert reasons(tree) == ["sda3 is swap space: swapoff /dev/sda3"]


def test_what_is_built_on_it(tree: Tree) -> None:
    """A RAID of partitions, an encrypted volume on that, the running system in it."""
    part = tree.partition(sata(tree), "sda2", "8:2")
    raid = tree.node("devices/virtual/block/md0", "9:0", {})
    crypt = tree.node("devices/virtual/block/dm-0", "253:0", {"dm/name": "vg-root"})
    tree.hold(part, raid)
    tree.hold(raid, crypt)
    tree.mounts("22 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n")
    assert reasons(tree) == [
        f"sda2 is in use by md0: {TAKE_DOWN}",
        "dm-0, which is on md0, holds the running system: choose another disk",
        f"md0 is in use by dm-0 (vg-root): {TAKE_DOWN}",
    ]


def test_a_disk_with_a_write_switch(tree: Tree) -> None:
    nvme(tree, ro="1")
    assert reasons(tree, "nvme0n1") == [
        "nvme0n1 is read-only: look for a switch on it (blockdev --getro)"
    ]


def test_a_small_disk_with_other_sectors(tree: Tree) -> None:
    nvme(tree, queue__logical_block_size="4096")
    small, sectors = reasons(tree, "nvme0n1", 4000 * GB)
    assert small == "nvme0n1 has 3.8 TB, and the image needs 4.0 TB: take a larger disk"
    assert "sectors of 4096 bytes, and the image's tables are for 512" in sectors


def test_a_disk_that_is_too_small_by_one_byte(tree: Tree) -> None:
    sata(tree)
    assert reasons(tree, needed=480 * GB) == []
    assert len(reasons(tree, needed=480 * GB + 1)) == 1


def test_what_is_no_whole_disk(tree: Tree, tmp_path: Path) -> None:
    tree.partition(sata(tree), "sda2", "8:2")
    tree.node("devices/virtual/block/dm-0", "253:0", {})
    with pytest.raises(HostError, match=r"sda2 is a partition of sda; .* whole disk: /dev/sda"):
        find_number(tree.machine, "8:2")
    with pytest.raises(HostError, match="dm-0 is no disk of the machine's hardware"):
        find_number(tree.machine, "253:0")
    assert find_number(tree.machine, "8:0").name == "sda"
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"no block device; .* say --file"):
        find(tree.machine, tmp_path / "file")
    with pytest.raises(HostError, match=r"none: No such file .* --list"):
        find(tree.machine, tmp_path / "none")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk_image.make(tmp_path_factory.mktemp("image")) / "ainos.img"


def test_what_is_on_disks(tree: Tree, image: Path) -> None:
    first, second = sata(tree), nvme(tree)
    assert contents(tree.machine, describe(tree.machine, "sda")) == "no partition table"
    tree.partition(first, "sda1", "8:1")
    assert contents(tree.machine, describe(tree.machine, "sda")) == "1 partitions"
    (tree.root / "dev" / second.name).write_bytes(image.read_bytes())
    assert contents(tree.machine, describe(tree.machine, "nvme0n1")) == "AINOS"
    (tree.root / "dev/sda").unlink()
    assert contents(tree.machine, describe(tree.machine, "sda")) == "not readable"
    assert twins(tree.machine, "nvme0n1", ()) == Twins({}, ["sda"])


def placed(image: Path) -> Placed:
    return read(image.read_bytes()).place(1 << 30, {ROOT})


def test_the_same_image_on_another_disk(
    tree: Tree, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, disk in enumerate((sata(tree), usb(tree))):
        tree.partition(disk, f"{disk.name}2", f"8:{number * 16 + 2}")
        (tree.root / "dev" / disk.name).write_bytes(image.read_bytes())
    table = placed(image)
    assert twins(tree.machine, "sda", {ROOT}) == Twins({"sdb": ["root_a"]}, [])
    with pytest.raises(HostError, match=r"on another disk, too: sdb \(root_a\).*--same-disk-ids"):
        flash_words.check_twins(tree.machine, "sda", table, allowed=False)
    flash_words.check_twins(tree.machine, "sda", table, allowed=True)
    assert "warning: this image is on another disk, too: sdb (root_a)" in capsys.readouterr().err
    (tree.root / "dev/sdb").write_bytes(bytes(4096))
    flash_words.check_twins(tree.machine, "sda", table, allowed=False)
    assert capsys.readouterr().err == ""
    (tree.root / "dev/sdb").unlink()
    flash_words.check_twins(tree.machine, "sda", table, allowed=False)
    assert "warning: not readable, so not compared: sdb" in capsys.readouterr().err


STICK = Disk("sdb", 62 * GB, 512, "SanDisk Ultra", "4C", "USB", True, False, False)
PLAIN = Disk("vda", 8 * GB, 512, "", "", "virtio", False, False, False)


@pytest.mark.parametrize(
    ("disk", "typed"), [(STICK, "SanDisk Ultra"), (STICK, " SanDisk  Ultra "), (PLAIN, "8.0 GB")]
)
def test_the_right_word_confirms(disk: Disk, typed: str) -> None:
    flash_words.confirm(typed, disk, "", None)
    flash_words.confirm(None, disk, "", lambda _: typed)


@pytest.mark.parametrize(
    "typed", ["", "y", "yes", "SanDisk", "sandisk ultra", "/dev/sdb", "62.0 GB"]
)
def test_no_other_word_does(typed: str) -> None:
    for given, ask in ((typed, None), (None, lambda _: typed)):
        with pytest.raises(HostError, match="is not the model of sdb, 'SanDisk Ultra'"):
            flash_words.confirm(given, STICK, "", ask)


def test_nobody_to_ask() -> None:
    with pytest.raises(HostError, match=r"no terminal .* --yes 'SanDisk Ultra'"):
        flash_words.confirm(None, STICK, "", None)


def test_the_list(tree: Tree) -> None:
    sata(tree)
    tree.mounts("22 1 8:0 / / rw - ext4 /dev/sda rw\n")
    usb(tree)
    lines = [
        re.split(r"  +", line) for line in flash_words.listing(tree.machine, 4 * GB).split("\n")
    ]
    assert lines == [
        ["disk", "model", "serial", "size", "by", "on it"],
        [f"{tree.machine.dev}/sda", "Samsung SSD", "S123", "480.0 GB", "SATA", "no partition table",
         "no: sda holds the running system: choose another disk"],
        [f"{tree.machine.dev}/sdb", "SanDisk Ultra", "4C5300", "62.0 GB", "USB, removable",
         "no partition table", "free"],
    ]  # fmt: skip


def test_sizes() -> None:
    assert format_size(999_999_999_999) == "1000.0 GB"
    assert format_size(10**12) == "1.0 TB"


def test_a_path_below_dev_that_is_a_block_device() -> None:
    """The host's own disk, whatever it is called, or none where there are no block devices."""
    for name in os.listdir("/sys/block"):
        path = Path("/dev") / name
        if (Path("/sys/block") / name / "device").exists() and path.is_block_device():
            assert find(Machine(), path).name == name
