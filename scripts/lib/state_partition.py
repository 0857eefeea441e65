"""The state partition of a disk image, changed as anybody could who holds the disk: with debugfs.

change_byte(disk, model_file(disk, "magika", "model.onnx"))
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lib import tools
from lib.host import CommandError, HostError
from lib.layout import BLOCK, FIRST_OFFSET, PARTITIONS

DEADLINE_S = 60.0
INCOMING = "/models/incoming"
OBJECTS = "/models/objects"
NAMES = "/models/names"


def partition_offset(name: str) -> int:
    """Where a partition begins on the disk, in bytes (the layout never changes)."""
    offset = FIRST_OFFSET
    for partition in PARTITIONS.values():
        if partition.name == name:
            return offset
        offset += partition.size
    raise HostError(f"the disk has no partition {name}")


def flip(disk: Path, offset: int) -> None:
    """Change one byte of a disk: every bit of it."""
    with disk.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 0xFF]))


def debugfs(disk: Path, request: str, start: int | None = None) -> str:
    """Run one debugfs request and return what it printed. Raises CommandError when it failed.

    ``start`` is the partition's first byte, unless the disk has the usual layout. debugfs reports a
    failed request on standard error only, behind a line with its version.
    """
    state = f"{disk}?offset={partition_offset('state') if start is None else start}"
    command = [*tools.command("debugfs"), "-w", "-R", request, state]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, f"no end after {DEADLINE_S:.0f} s") from error
    complaints = done.stderr.strip().splitlines()[1:]
    if done.returncode or complaints:
        raise CommandError(command, "debugfs failed", "\n".join(complaints))
    return done.stdout


def model_file(disk: Path, name: str, file: str) -> str:
    """Where a model's file lies: as delivered, or, once admitted, under its digest."""
    if name in entries(disk, INCOMING):
        return f"{INCOMING}/{name}/{file}"
    note = json.loads(debugfs(disk, f"cat {NAMES}/{name}.json"))
    return f"{OBJECTS}/{note['object']}/{file}"


def change_byte(disk: Path, path: str) -> None:
    """Change one byte in the middle of a file, behind the file system's back."""
    blocks = [int(block) for block in debugfs(disk, f"blocks {path}").split()]
    if not blocks:
        raise HostError(f"{path} on the state partition is empty")
    size = next(
        int(line.rsplit("Size:", 1)[1].split()[0])
        for line in debugfs(disk, f"stat {path}").splitlines()
        if "Size:" in line and "Fragment" not in line
    )
    middle = size // 2
    flip(disk, partition_offset("state") + blocks[middle // BLOCK] * BLOCK + middle % BLOCK)


def replace(disk: Path, path: str, source: Path) -> None:
    """Put a file of the host in the place of one of the state partition."""
    remove(disk, path)
    debugfs(disk, f"write {source} {path}")


def remove(disk: Path, path: str) -> None:
    """Remove a file of the state partition."""
    debugfs(disk, f"rm {path}")


def remove_model(disk: Path, name: str) -> None:
    """Remove a delivered model with its directory."""
    folder = f"{INCOMING}/{name}"
    for file in entries(disk, folder):
        remove(disk, f"{folder}/{file}")
    debugfs(disk, f"rmdir {folder}")


def entries(disk: Path, folder: str) -> list[str]:
    """The names in a directory; debugfs prints /inode/mode/uid/gid/name/size/."""
    lines = [line.split("/") for line in debugfs(disk, f"ls -p {folder}").splitlines() if line]
    return [line[5] for line in lines if line[5] not in (".", "..")]
