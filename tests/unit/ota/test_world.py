"""What the machine says that it is, in the words of the build."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from lib import product

from ainit import __version__
from ainit.errors import UnavailableError
from ainit.linux import efi
from ainit.ota import boot
from ainit.ota.world import Machine, image
from tests.support import esp_image
from tests.support.esp_image import CutEsp


@pytest.mark.parametrize("release", [True, False])
def test_the_image_is_that_of_the_build(
    release: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    path = tmp_path / "os-release"
    path.write_text(product.os_release("nvidia", release=release))
    assert image(str(path)) == "nvidia-aarch64"


def test_what_runs_is_condemned_even_if_its_entry_lost_its_counter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"EFI/Linux/AINOS_~1.EFI": b"image", "EFI/BOOT/BOOTX64.EFI": b"loader"}
    machine, part = Machine(), CutEsp(esp_image.make(files))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "_part", lambda: part)
    monkeypatch.setattr(efi, "loader_text", lambda name: "ainos_~1.efi")
    machine.condemn(__version__)
    assert [each.left for each in boot.entries(part)] == [0]
    with pytest.raises(UnavailableError, match=r"there is no entry of 9\.9"):
        machine.condemn("9.9")
