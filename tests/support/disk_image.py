"""A small image with the partitions of a real one, and its manifest, for what writes images."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from pathlib import Path

MIB = 1 << 20
ROOT = "11111111-1111-4222-8333-444444444444"
VERITY = "22222222-1111-4222-8333-444444444444"
FIXED = {
    "esp": "33333333-1111-4222-8333-444444444444",
    "root_b": "44444444-1111-4222-8333-444444444444",
    "verity_b": "55555555-1111-4222-8333-444444444444",
    "state": "66666666-1111-4222-8333-444444444444",
}
UUIDS = {**FIXED, "root_a": ROOT, "verity_a": VERITY}
SIZES = {"esp": 3, "root_a": 9, "verity_a": 1, "root_b": 9, "verity_b": 1, "state": 6}  # MiB
END = (1 + sum(SIZES.values())) * MIB
DISK_UUID = "77777777-1111-4222-8333-444444444444"


def start_of(partition: str) -> int:
    """Where a partition begins, in bytes."""
    names = list(SIZES)
    return (1 + sum(SIZES[name] for name in names[: names.index(partition)])) * MIB


def make(folder: Path, seed: int = 1) -> Path:
    """Make ``folder`` an image: boot partition and slot A hold something, the rest is a hole."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / "ainos.img"
    with disk.open("wb") as file:
        file.truncate(END + 17 * 1024)
    commands = ["sgdisk", "--clear", f"--disk-guid={DISK_UUID}"]
    for number, (name, size) in enumerate(SIZES.items(), start=1):
        commands += [f"--new={number}:{start_of(name) // 512}:+{size}M"]
        commands += [f"--change-name={number}:{name}", f"--partition-guid={number}:{UUIDS[name]}"]
    subprocess.run([*commands, str(disk)], check=True, capture_output=True)
    rng = random.Random(seed)
    held = {"esp": MIB, "root_a": 5 * MIB + 4096, "verity_a": 8192}
    files = {}
    with disk.open("r+b") as file:
        for name, size in held.items():
            data = rng.randbytes(size)
            file.seek(start_of(name))
            file.write(data)
            digest = {"sha256": hashlib.sha256(data).hexdigest(), "size": size}
            files[{"root_a": "root.erofs", "verity_a": "root.verity"}.get(name, name)] = digest
    manifest = {
        "version": "0.0.1",
        "variant": "base",
        "architecture": "x86_64",
        "cmdline": "ro console=tty0 console=ttyS0,115200 quiet",
        "root": {"partuuid": {"root": ROOT, "verity": VERITY}},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
