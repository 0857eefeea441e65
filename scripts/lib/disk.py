"""The disk image: ESP, two slots of which one is filled, state partition, GPT.

Everything is written without loop devices and without rights: mkfs.vfat and mtools fill the ESP,
mke2fs the state partition, genimage puts the parts together.

    assemble(Parts(esp, root, verity, state, root_hash), target.layout, out)
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib import tools
from lib.host import HostError, published, run
from lib.layout import (
    BLOCK,
    DISK_UUID,
    ESP_LABEL,
    ESP_SERIAL,
    FIRST_OFFSET,
    MIB,
    PARTITIONS,
    STATE_BYTES_PER_INODE,
    STATE_HASH_SEED,
    STATE_LABEL,
    STATE_UUID,
    Layout,
    slot_uuids,
)
from lib.release import epoch

LOADER_CONFIGURATION = "timeout 0\neditor no\n"
# Tries that a fresh entry has; systemd-boot counts them down, ainit gives them back once healthy.
TRIES = 3


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into the partitions. ``root_hash`` names slot A's."""

    esp: Path
    root: Path
    verity: Path
    state: Path
    root_hash: str


def entry_name(release: str) -> str:
    """Return the UKI's place on the ESP, with its tries."""
    return f"EFI/Linux/ainos_{release}+{TRIES}-0.efi"


def approval_name(release: str) -> str:
    """Return the place of the UKI's approval on the ESP."""
    return f"EFI/Linux/ainos_{release}.seal.json"


def build_esp(files: Mapping[str, bytes | Path], out: Path) -> None:
    """Make the EFI system partition with these files, by their path in it."""
    # mtools takes the time stamps that it writes from here, in the time zone of the caller.
    environment = {"SOURCE_DATE_EPOCH": str(epoch()), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    with published(out) as temporary, tempfile.TemporaryDirectory() as name:
        os.truncate(temporary, PARTITIONS["esp"].size)
        command = ["mkfs.vfat", "-F", "32", "-S", "512", "-s", "8", "-n", ESP_LABEL]
        run([*command, "--invariant", "-i", ESP_SERIAL, str(temporary)], env=environment)
        tree = Path(name)
        for path, content in files.items():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        for source in sorted(tree.rglob("*")):
            os.utime(source, (epoch(), epoch()))
            inside = f"::/{source.relative_to(tree)}"
            if source.is_dir():
                run(["mmd", "-i", str(temporary), inside], env=environment)
            else:
                copy = ["mcopy", "-m", "-i", str(temporary), str(source), inside]
                run(copy, env=environment)


def build_state(files: Mapping[str, Path], out: Path, size: int = PARTITIONS["state"].size) -> None:
    """Make the state partition: ext4 that can hold fs-verity files, with these files in it."""
    with published(out) as temporary, tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        tree.chmod(0o755)
        for folder in ("config", "models/incoming", "models/objects", "models/names"):
            (tree / folder).mkdir(parents=True)
        for inside, source in files.items():
            target = tree / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for found in sorted(tree.rglob("*")):
            found.chmod(0o755 if found.is_dir() else 0o644)
            os.utime(found, (epoch(), epoch()))
        os.truncate(temporary, size)
        extended = f"hash_seed={STATE_HASH_SEED},lazy_itable_init=0,lazy_journal_init=0"
        command = ["mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), "-O", "verity", "-m", "0"]
        # It grows to the disk's size: with the usual number of inodes, a sixteenth would be theirs.
        command += ["-i", str(STATE_BYTES_PER_INODE)]
        command += ["-U", str(STATE_UUID), "-L", STATE_LABEL, "-E", f"{extended},root_owner=0:0"]
        arguments = [*tools.command(command[0]), *command[1:], "-d", str(tree), str(temporary)]
        environment = {
            "SOURCE_DATE_EPOCH": str(epoch()),
            "MKE2FS_CONFIG": str(tools.folder() / "etc/mke2fs.conf"),
        }
        run(tools.as_root(arguments), env=environment)


def check_fits(root: Path, verity: Path, layout: Layout) -> None:
    """Raise HostError when a root or its hash tree is larger than a slot."""
    for path, partition in ((root, layout["root_a"]), (verity, layout["verity_a"])):
        size = path.stat().st_size
        if size > partition.size:
            room = partition.size // MIB
            raise HostError(f"{path} takes {size / MIB:.1f} MiB, the partition has {room}")


def configuration(parts: Parts, layout: Layout) -> str:
    """Return genimage's description of the disk. Slot B exists and is empty."""
    root, verity = slot_uuids(parts.root_hash)
    images = {
        "esp": parts.esp, "root_a": parts.root, "verity_a": parts.verity, "state": parts.state
    }  # fmt: skip
    slots = {"root_a": root, "verity_a": verity}
    lines = ["image ainos.img {", "  hdimage {", "    partition-table-type = gpt"]
    lines += [f"    disk-uuid = {DISK_UUID}", f"    align = {MIB}", "  }"]
    offset = FIRST_OFFSET
    for name, partition in layout.items():
        identity: uuid.UUID = slots.get(name, partition.uuid)
        lines += [f"  partition {name} {{", f"    partition-type-uuid = {partition.type}"]
        lines += [f"    partition-uuid = {identity}", f"    offset = {offset}"]
        lines += [f"    size = {partition.size}"]
        if name in images:
            lines.append(f'    image = "{images[name]}"')
        lines.append("  }")
        offset += partition.size
    return "\n".join([*lines, "}", ""])


def assemble(parts: Parts, layout: Layout, out: Path) -> None:
    """Put the parts together into one disk image, sparse where there is nothing."""
    check_fits(parts.root, parts.verity, layout)
    with published(out) as temporary, tempfile.TemporaryDirectory(dir=out.parent) as name:
        work = Path(name)
        for folder in ("root", "input", "output", "tmp"):
            (work / folder).mkdir()
        (work / "genimage.cfg").write_text(configuration(parts, layout))
        command = ["genimage", "--config", str(work / "genimage.cfg")]
        command += ["--rootpath", str(work / "root"), "--inputpath", str(work / "input")]
        command += ["--outputpath", str(work / "output"), "--tmppath", str(work / "tmp")]
        run(command)
        (work / "output" / "ainos.img").rename(temporary)
