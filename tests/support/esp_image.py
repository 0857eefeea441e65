"""A small ESP in memory that loses its power, and what firmware and loader would find on it.

Linux's part, on the mounted ESP, is done by mtools, and counts as one epoch: whatever is in it
reaches the disk in any order.
"""

from __future__ import annotations

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


class CutEsp(Esp):
    """An ESP on a `CutDisk`."""

    def __init__(self, data: bytes) -> None:
        super().__init__("", self._mounted)
        self.disk = CutDisk(data)

    @contextmanager
    def opened(self) -> Iterator[Disk]:
        """The disk."""
        yield self.disk

    @contextmanager
    def _mounted(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as name:
            image, tree = Path(name, "esp"), Path(name, "tree")
            image.write_bytes(self.disk.data)
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
            data = image.read_bytes()
        for start in range(0, len(data), _BLOCK):
            if data[start : start + _BLOCK] != self.disk.data[start : start + _BLOCK]:
                for at in range(start, min(start + _BLOCK, len(data)), SECTOR):
                    if data[at : at + SECTOR] != self.disk.data[at : at + SECTOR]:
                        self.disk.write(at, data[at : at + SECTOR])

    def _extract(self, tree: Path, folder: str = "") -> None:
        for each in fat.Volume(self.disk).directory(folder):
            path = tree / folder / each.name
            if each.is_directory:
                path.mkdir()
                self._extract(tree, f"{folder}/{each.name}".lstrip("/"))
            elif not path.exists():
                path.write_bytes(content(self.disk, each))


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
