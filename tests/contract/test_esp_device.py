"""The ESP as Linux's own vfat keeps it, on a loop device."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ainit.ota import boot
from ainit.ota.esp_files import Esp
from tests.support import esp_image

_KNOWN = Path("/proc/filesystems").read_text(encoding="ascii").split()
if "vfat" not in _KNOWN or not os.access("/dev/loop-control", os.W_OK):
    pytest.skip("this host has no loop devices, or no vfat", allow_module_level=True)

DEADLINE_S = 60
OLD, NEW, LOADER, LATER = (word * 9000 for word in (b"old", b"new", b"loader", b"later"))
FILES = {"EFI/BOOT/BOOTX64.EFI": LOADER, "EFI/Linux/ainos_1+2-1.efi": OLD}


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    return done.stdout.strip()


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Esp]:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    image, point = tmp_path / "esp", tmp_path / "mnt"
    image.write_bytes(esp_image.make(FILES))
    point.mkdir()
    device = call("losetup", "--find", "--show", str(image))

    @contextmanager
    def mounted() -> Iterator[str]:
        call("mount", "-t", "vfat", device, str(point))
        try:
            yield str(point)
        finally:
            call("umount", str(point))

    try:
        yield Esp(device, mounted)
    finally:
        call("losetup", "--detach", device)


def listed(part: Esp) -> dict[str, bytes]:
    with part.mounted() as root:
        return {path.name: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def test_linux_sees_what_was_done(part: Esp, tmp_path: Path) -> None:
    for name, content in (("uki", NEW), ("approval", b"word"), ("loader", LATER)):
        (tmp_path / name).write_bytes(content)
    assert boot.rearm(part, "\\EFI\\Linux\\ainos_1+2-1.efi") == "ainos_1+3-0.efi"
    boot.install(part, "2", str(tmp_path / "uki"), str(tmp_path / "approval"))
    assert boot.replace_loader(part, str(tmp_path / "loader"))
    assert listed(part) == {
        "BOOTX64.EFI": LATER,
        "ainos_1+3-0.efi": OLD,
        "ainos_2+3-0.efi": NEW,
        "ainos_2.seal.json": b"word",
    }
    boot.remove_others(part, "ainos_1", "")
    assert listed(part) == {"BOOTX64.EFI": LATER, "ainos_1+3-0.efi": OLD}
    said = subprocess.run(
        ["/usr/sbin/fsck.vfat", "-n", part.device], capture_output=True, text=True, check=False
    ).stdout
    assert "unused clusters" not in said
    assert "share" not in said
