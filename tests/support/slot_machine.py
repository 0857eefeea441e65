"""A machine with two slots and an ESP on one disk that loses its power, and what would boot on it.

The oracle knows nothing of how an update is done: it follows firmware, loader and kernel from the
partition table on, and says which version starts, with what below it.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from ainit.linux import gpt, gpt_disk
from ainit.ota import disk, install, slots, uki, verity
from tests.support import esp_image, pe
from tests.support.cut_disk import SECTOR, Cut, CutDisk, View

MIB = 1 << 20
VERSIONS = ("0.1.0", "0.2.0", "0.3.0")
SIZES = {"esp": 34, "root_a": 1, "verity_a": 1, "root_b": 1, "verity_b": 1, "state": 1}  # MiB


@cache
def _root(version: str) -> tuple[bytes, verity.Tree]:
    content = random.Random(version).randbytes(2 * verity.BLOCK)
    tree = verity.build(lambda at, size: content[at : at + size], verity.Geometry(2, b"\x0a"))
    return content, tree


def root_hash(version: str) -> str:
    """That of its root."""
    return _root(version)[1].root_hash


def contents(version: str) -> tuple[bytes, bytes]:
    """The root and the hash tree of a version."""
    content, tree = _root(version)
    return content, tree.content


def image(version: str) -> bytes:
    """Its UKI."""
    root, verity = uki.halves(root_hash(version))
    table = f"0 16 verity 1 PARTUUID={root} PARTUUID={verity} 4096 4096 2 1 sha256"
    sections = {
        ".linux": version.encode() * 50,
        ".osrel": f"ID=ainos\nIMAGE_VERSION={version}\n".encode(),
        ".cmdline": f'dm-mod.create="root,,,ro,{table} {root_hash(version)} 0a 1 x" gpt'.encode(),
    }
    return pe.attach(pe.build(sections), b"certificate of " + version.encode())


def loader(version: str) -> bytes:
    """Its boot loader."""
    return pe.attach(pe.build({".text": version.encode() * 99}), b"certificate of " + b"loader")


def start_of(name: str) -> int:
    """Where a partition begins, in bytes."""
    names = list(SIZES)
    return (1 + sum(SIZES[each] for each in names[: names.index(name)])) * MIB


def make(entries: Mapping[str, str], slot_versions: Mapping[str, str]) -> bytes:
    """A disk with these entries on its ESP (name: version), and these versions in its slots."""
    size = (2 + sum(SIZES.values())) * MIB
    commands = ["sgdisk", "--clear"]
    for number, (name, length) in enumerate(SIZES.items(), start=1):
        kind, _, slot = name.partition("_")
        identity = uuid.uuid5(uuid.NAMESPACE_OID, name)
        if slot in slot_versions:
            identity = uki.halves(root_hash(slot_versions[slot]))[kind == "verity"]
        commands += [f"--new={number}:{start_of(name) // SECTOR}:+{length}M"]
        commands += [f"--change-name={number}:{name}", f"--partition-guid={number}:{identity}"]
    files = {f"EFI/Linux/{name}": image(version) for name, version in entries.items()}
    files["EFI/BOOT/BOOTX64.EFI"] = loader("1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "disk")
        path.touch()
        os.truncate(path, size)
        subprocess.run([*commands, str(path)], check=True, capture_output=True)
        data = bytearray(path.read_bytes())
    esp = esp_image.make(files)
    data[start_of("esp") : start_of("esp") + len(esp)] = esp
    for slot, version in slot_versions.items():
        for name, content in zip(("root", "verity"), contents(version), strict=True):
            start = start_of(f"{name}_{slot}")
            data[start : start + len(content)] = content
    return bytes(data)


class Machine:
    """The product's view of the disk, while ``version`` runs from slot A."""

    def __init__(self, data: bytes, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = CutDisk(data)
        self.devices: dict[str, CutDisk | View] = {"/dev/vda": self.disk}
        for number, (name, size) in enumerate(SIZES.items(), start=1):
            self.devices[f"/dev/vda{number}"] = View(self.disk, start_of(name), size * MIB)
        self.part = esp_image.ModelEsp(self.devices["/dev/vda1"])
        monkeypatch.setattr(gpt_disk, "Device", self._open)
        found = [
            disk.Slot(slot, *(self._part(f"{kind}_{slot}") for kind in ("root", "verity")))
            for slot in "ab"
        ]
        both = disk.Slots("/dev/vda", *found)
        self.ground = install.Ground(both, self.part, version, f"ainos_{version}.efi")

    def _part(self, label: str) -> disk.Part:
        found = gpt_disk.read(self.disk).labelled(label)
        return disk.Part(f"/dev/vda{found.number}", label, found.uuid)

    def _open(self, path: str, *, writable: bool = False) -> Opened:
        return Opened(self.devices[path], writable=writable)


class Opened:
    """A device, with a descriptor that stands for it."""

    def __init__(self, held: CutDisk | View, *, writable: bool) -> None:
        self._held = held
        self._writable = writable
        self.size, self.sector = held.size, held.sector
        self.read, self.write, self.flush = held.read, held.write, held.flush
        self.descriptor = os.memfd_create("device")
        if self.size <= MIB:
            os.write(self.descriptor, held.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writable and self.size <= MIB:
            esp_image.put(self._held, 0, os.pread(self.descriptor, self.size, 0))
        os.close(self.descriptor)


def boots(held: Cut) -> list[str]:
    """The versions that can be started, as the loader would order them: those with tries first, the
    newest first. Raises AssertionError for anything that a loader could start and that is not
    whole: file, partition, or what is in it.
    """
    places = gpt.parse(held.read, held.size, SECTOR)
    assert [each.name for each in places] == list(SIZES)
    assert len({each.uuid for each in places}) == len(SIZES)
    for version in VERSIONS:
        wanted = [str(each) for each in uki.halves(root_hash(version))]
        for place in places:
            if place.uuid in wanted:
                data = contents(version)[wanted.index(place.uuid)]
                assert held.read(start_of(place.name), len(data)) == data, f"{version} is mixed"
    esp = View(held, start_of("esp"), SIZES["esp"] * MIB)
    loaders = dict(esp_image.seen(esp, "EFI/BOOT"))
    assert loaders["BOOTX64.EFI"] in (loader("1"), loader("2"))
    found = []
    for name, content in esp_image.seen(esp):
        entry = slots.entry(name)
        assert entry is not None
        version = entry.stem.removeprefix("ainos_")
        assert content == image(version)
        wanted = [str(each) for each in uki.halves(root_hash(version))]
        for identity in wanted:
            inside = [each.name for each in places if each.uuid == identity]
            assert len(inside) == 1, f"{version} has no partition {identity}"
        found.append((entry.left > 0, version))
    return [version for _, version in sorted(found, reverse=True)]
