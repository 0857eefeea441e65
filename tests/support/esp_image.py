"""A small ESP in memory that loses its power, and what firmware and loader would find on it.

Linux's part, on the mounted ESP, is done by mtools, and counts as one epoch: whatever is in it
reaches the disk in any order.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ainit.linux import fat
from ainit.linux.gpt_disk import Disk
from ainit.ota.esp_files import IMAGES, Esp
from tests.support.cut_disk import SECTOR, CutDisk

_BLOCK = 1 << 16
_SIZE_KIB = 34000  # the least that mtools takes for FAT32


def run(*command: str | Path) -> None:
    """Run a tool."""
    subprocess.run(
        command, check=True, capture_output=True, timeout=60, env={"MTOOLS_SKIP_CHECK": "1"}
    )


def make(files: Mapping[str, bytes]) -> bytes:
    """A file system with these files."""
    with tempfile.TemporaryDirectory() as name:
        image, tree = Path(name, "esp"), Path(name, "tree")
        command = ["/usr/sbin/mkfs.vfat", "-F", "32", "-S", "512", "-s", "1", "-C"]
        run(*command, image, str(_SIZE_KIB))
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        for source in sorted(tree.iterdir()):
            run("/usr/bin/mcopy", "-s", "-i", image, source, "::/")
        return image.read_bytes()


class ModelEsp(Esp):
    """An ESP on a disk in memory."""

    def __init__(self, disk: Disk) -> None:
        super().__init__("", self._mounted)
        self._disk = disk

    @contextmanager
    def opened(self) -> Iterator[Disk]:
        """The disk."""
        yield self._disk

    @contextmanager
    def _mounted(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as name:
            image, tree = Path(name, "esp"), Path(name, "tree")
            _write_sparse(self._disk, image)
            tree.mkdir()
            self._extract(tree)
            before = _tree(tree)
            yield str(tree)
            after = _tree(tree)
            for path in before.keys() - after.keys():
                run("/usr/bin/mdel", "-i", image, f"::/{path}")
            for path, content in after.items():
                if before.get(path) != content:
                    run("/usr/bin/mcopy", "-o", "-i", image, tree / path, f"::/{path}")
            _take(self._disk, image)

    def _extract(self, tree: Path, folder: str = "") -> None:
        for each in fat.Volume(self._disk).directory(folder):
            path = tree / folder / each.name
            if each.is_directory:
                path.mkdir()
                self._extract(tree, f"{folder}/{each.name}".lstrip("/"))
            elif not path.exists():
                path.write_bytes(content(self._disk, each))


class CutEsp(ModelEsp):
    """An ESP that is a disk of its own."""

    def __init__(self, data: bytes) -> None:
        self.disk = CutDisk(data)
        super().__init__(self.disk)


def put(disk: Disk, start: int, data: bytes) -> None:
    """Write the sectors that are others."""
    if disk.read(start, len(data)) == data:
        return
    for at in range(0, len(data), SECTOR):
        if data[at : at + SECTOR] != disk.read(start + at, SECTOR):
            disk.write(start + at, data[at : at + SECTOR])


def _write_sparse(disk: Disk, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(disk.size)
        for start in range(0, disk.size, _BLOCK):
            block = disk.read(start, _BLOCK)
            if block.strip(b"\0"):
                file.seek(start)
                file.write(block)


def _take(disk: Disk, path: Path) -> None:
    """Write to a disk what a file has that is no hole."""
    with path.open("rb") as file:
        end = 0
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            for at in range(start, end, _BLOCK):
                put(disk, at, os.pread(file.fileno(), min(_BLOCK, end - at), at))


def _tree(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def content(disk: Disk, held: fat.Name) -> bytes:
    """What a file holds; what is missing of it is left out."""
    head = disk.read(0, SECTOR)
    reserved, fats = int.from_bytes(head[14:16], "little"), head[16]
    table = reserved * SECTOR
    start = table + fats * int.from_bytes(head[36:40], "little") * SECTOR
    found, cluster = b"", held.cluster
    while 2 <= cluster < 0x0FFFFFF8 and len(found) < held.size:
        found += disk.read(start + (cluster - 2) * SECTOR, SECTOR)
        cluster = int.from_bytes(disk.read(table + 4 * cluster, 4), "little") & 0x0FFFFFFF
    return found[: held.size]


def seen(disk: Disk, folder: str = IMAGES) -> list[tuple[str, bytes]]:
    """What of a directory a loader would look at, with its content."""
    names = fat.Volume(disk).directory(folder)
    return [
        (each.name, content(disk, each)) for each in names if each.name.lower().endswith(".efi")
    ]
