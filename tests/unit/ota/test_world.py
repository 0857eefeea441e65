"""What the machine says that it is, in the words of the build."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from lib import product

from ainit.ota.world import image


@pytest.mark.parametrize("release", [True, False])
def test_the_image_is_that_of_the_build(
    release: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    path = tmp_path / "os-release"
    path.write_text(product.os_release("nvidia", release=release))
    assert image(str(path)) == "nvidia-aarch64"
