"""The files of a state partition after a power cut: its journal replayed, its structure checked.

e2fsprogs do it on a copy in memory, without rights and without mounting: ``e2fsck -p`` replays the
journal and frees orphans, as the kernel does when it mounts, and stops at whatever a journal should
have prevented. A torn superblock is mended before, as PID 1 does it.

    with State(image, Path("/dev/shm")) as state:
        state.files(disk, start, length)["update/state.json"]
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.linux import ext4
from lib.cut_points import Disk

_CHUNK = 1 << 20
_DEADLINE_S = 60.0
_FINE = (0, 1)  # exit statuses of e2fsck: nothing wrong, or the journal was replayed


class State:
    """Reads state partitions. ``checked`` is whether the structure is looked at, too."""

    def __init__(self, folder: Path | None = None, *, checked: bool = True) -> None:
        memory = Path("/dev/shm")
        self._bases: dict[tuple[int, int, int], Path] = {}
        where = folder or (memory if memory.is_dir() else None)
        self._folder = tempfile.TemporaryDirectory(prefix="ainos-cut-", dir=where)
        self._checked = checked

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def files(self, disk: Disk, start: int, length: int) -> Mapping[str, bytes]:
        """Every file by its path. Raises OSError when the file system is damaged."""
        folder = Path(self._folder.name)
        image = folder / "state.img"
        self._copy(disk, start, length, image)
        with image.open("r+b") as file:
            for at, data in disk.changed(start, length):
                file.seek(at - start)
                file.write(data)
        ext4.mend(str(image))  # as PID 1 does
        checks = ("-f",) if self._checked else ("-E", "journal_only")
        _call("e2fsck", "-p", *checks, str(image))
        with tempfile.TemporaryDirectory(dir=folder) as name:
            out = Path(name)
            _call("debugfs", "-R", f"rdump / {out}", str(image))
            return {
                str(path.relative_to(out)): path.read_bytes()
                for path in sorted(out.rglob("*"))
                if path.is_file() and not path.is_symlink()
            }

    def _copy(self, disk: Disk, start: int, length: int, image: Path) -> None:
        """A copy of what the partition held before anything was written."""
        key = (id(disk.base), start, length)
        if key not in self._bases:
            kept = self._bases[key] = Path(self._folder.name, f"base{len(self._bases)}.img")
            with kept.open("wb") as file:
                file.truncate(length)
                for at in range(0, length, _CHUNK):
                    data = disk.base.read(start + at, min(_CHUNK, length - at))
                    if any(data):
                        file.seek(at)
                        file.write(data)
        subprocess.run(
            ["cp", "--sparse=always", str(self._bases[key]), str(image)],
            timeout=_DEADLINE_S,
            check=True,
        )


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    if done.returncode not in _FINE:
        raise OSError(f"{command[0]}: {(done.stdout + done.stderr).strip()[-500:]}")
