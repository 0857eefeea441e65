"""Another release of an image, on the host: the same root under a UKI of its own, signed, approved.

two = make(image, directory, "9.0.0", generation=2)
machine.alter(two.install)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lib import assembly, disk, drive, prediction
from lib.host import run
from lib.prediction import SECUREBOOT
from lib.state_partition import partition_offset
from lib.variant import architecture_of

from ainit.ota.pe import Image


@dataclass(frozen=True, slots=True)
class Release:
    """A signed UKI and its approval."""

    version: str
    uki: Path
    approval: Path

    def install(self, system_disk: Path) -> None:
        """Put it on the boot partition of a disk."""
        boot = _boot(system_disk)
        entries = {
            self.uki: disk.entry_name(self.version),
            self.approval: disk.approval_name(self.version),
        }
        for source, name in entries.items():
            run(["mcopy", "-o", "-i", boot, str(source), f"::/{name}"])


def remove(system_disk: Path, version: str) -> None:
    """Take a release off the boot partition, whatever is left of its tries."""
    boot = _boot(system_disk)
    listed = run(["mdir", "-b", "-i", boot, "::/EFI/Linux"]).split()
    for path in listed:
        if path.rpartition("/")[2].startswith(f"ainos_{version}"):
            run(["mdel", "-i", boot, path])


def images(system_disk: Path) -> list[str]:
    """The names of the images on the boot partition."""
    listed = run(["mdir", "-b", "-i", _boot(system_disk), "::/EFI/Linux"]).split()
    return sorted(path.rpartition("/")[2] for path in listed if path.endswith(".efi"))


def own(image: Path) -> Release:
    """The release that an image is."""
    version = drive.manifest(image)["version"]
    return Release(version, image / "uki.efi", image / assembly.APPROVAL)


def make(image: Path, directory: Path, version: str, generation: int) -> Release:
    """A newer release: its os-release says another version, and PCR 11 holds that."""
    directory.mkdir()
    architecture = architecture_of(image)
    sections = Image((image / "uki.efi").read_bytes()).sections
    kernel, tree = directory / "kernel", directory / "tree"
    kernel.write_bytes(sections[".linux"])
    (tree / "usr/lib").mkdir(parents=True)
    old = drive.manifest(image)["version"]
    text = sections[".osrel"].decode().rstrip("\0").replace(old, version)
    (tree / "usr/lib/os-release").write_text(text)
    unsigned, uki = directory / "unsigned.efi", directory / "uki.efi"
    words = sections[".cmdline"].decode().rstrip("\0")
    assembly.build_uki(assembly.Inputs(tree, kernel, ()), words, unsigned)
    run([str(SECUREBOOT / "sign"), str(unsigned), str(uki)])
    loader = image / Path(architecture.boot_loader).name
    predicted = prediction.predict(loader, uki, image / architecture.store, drive.manifest(image))
    approval = directory / assembly.APPROVAL
    prediction.approve(predicted, approval, version, generation)
    return Release(version, uki, approval)


def record(release: Release) -> dict[str, object]:
    """The approval of a release, as it is sent to a machine."""
    loaded: dict[str, object] = json.loads(release.approval.read_text())
    return loaded


def _boot(system_disk: Path) -> str:
    return f"{system_disk}@@{partition_offset('esp')}"
