"""A disk as the image's, but small, with a release in slot A, and another one to be installed.

Partitions, table, boot partition and state are made as the image's are; what is in the slots and
the images is noise, which no machine starts: it is for the oracle, a thousand times a minute.

    stand = make(folder); stand.base, stand.old, stand.new
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from pathlib import Path

from lib import disk, verity
from lib.architecture import X86_64
from lib.cut_oracle import Known, Part
from lib.layout import MIB, Slot, partitions
from tests.support import pe

KIB = 1 << 10
LOADER = "BOOTX64.EFI"
CONFIGURATION = "config/machine.toml"
ROOT_KIB, UKI_KIB, STATE_MIB = 600, 160, 128
SEED = 8


@dataclass(frozen=True, slots=True)
class Release:
    """The files of a release, and what the oracle knows of them."""

    known: Known
    uki: bytes
    root: bytes
    verity: bytes
    approval: bytes


@dataclass(frozen=True, slots=True)
class Stand:
    """The disk, the releases, the old loader and the new one, and the user's files."""

    base: Path
    old: Release
    new: Release
    loaders: tuple[bytes, bytes]
    files: dict[str, bytes]


def make(folder: Path) -> Stand:
    """Make it. The same every time."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(SEED)
    old, new = (_release(folder, version, draw) for version in ("0.1.0", "0.2.0"))
    loaders = draw.randbytes(60 * KIB + 100), draw.randbytes(61 * KIB + 7)
    files = {CONFIGURATION: b"version = 1\n", "data/notes": draw.randbytes(20 * KIB)}
    esp, state = folder / "esp.img", folder / "state.img"
    disk.build_esp(
        {
            f"EFI/BOOT/{LOADER}": loaders[0],
            "loader/loader.conf": disk.LOADER_CONFIGURATION.encode(),
            disk.entry_name(old.known.version): old.uki,
            disk.approval_name(old.known.version): old.approval,
        },
        esp,
    )
    for name, data in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    disk.build_state({name: folder / "files" / name for name in files}, state, STATE_MIB * MIB)
    layout = {
        name: replace(part, size=STATE_MIB * MIB) if name == "state" else part
        for name, part in partitions(X86_64, Slot(2, 1)).items()
    }
    root, tree = folder / "0.1.0.root", folder / "0.1.0.verity"
    base = folder / "base.img"
    parts = disk.Parts(esp, root, tree, state, old.known.root_hash)
    disk.assemble(parts, layout, base)
    return Stand(base, old, new, loaders, files)


def _release(folder: Path, version: str, draw: random.Random) -> Release:
    root, tree = folder / f"{version}.root", folder / f"{version}.verity"
    root.write_bytes(draw.randbytes(ROOT_KIB * KIB))
    made = verity.build(root, tree, version)
    sections = {
        ".osrel": f"ID=ainos\nIMAGE_ID=ainos\nIMAGE_VERSION={version}\n".encode(),
        ".cmdline": verity.command_line(made, X86_64).encode(),
        ".linux": draw.randbytes(UKI_KIB * KIB),
    }
    uki = pe.attach(pe.build(sections), draw.randbytes(1544))
    approval = f'{{"{version}": "{hashlib.sha256(uki).hexdigest()}"}}\n'.encode()
    known = Known(
        version,
        made.root_hash,
        Part.of(uki),
        Part.of(root.read_bytes()),
        Part.of(tree.read_bytes()),
        Part.of(approval),
    )
    return Release(known, uki, root.read_bytes(), tree.read_bytes(), approval)
