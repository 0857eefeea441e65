"""Where a tree keeps things, in Debian's layout and in a plain one."""

from pathlib import Path

import pytest
from lib.anatomy import Anatomy
from lib.architecture import AARCH64, X86_64
from lib.host import HostError


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_debian_keeps_libraries_by_architecture_and_packages_by_major_version(
    tmp_path: Path,
) -> None:
    _touch(tmp_path / AARCH64.loader)
    _touch(tmp_path / "usr/bin/python3.13")
    _touch(tmp_path / "usr/bin/python3.13-config")
    _touch(tmp_path / "usr/lib/python3/dist-packages/click/__init__.py")
    assert Anatomy.of(tmp_path) == Anatomy(
        AARCH64,
        "usr/lib/aarch64-linux-gnu",
        "usr/bin/python3.13",
        "usr/lib/python3.13",
        "usr/lib/python3/dist-packages",
    )


def test_buildroot_keeps_libraries_flat_and_packages_by_minor_version(tmp_path: Path) -> None:
    _touch(tmp_path / "usr/lib" / Path(X86_64.loader).name)
    _touch(tmp_path / "usr/bin/python3.14")
    found = Anatomy.of(tmp_path)
    assert (found.architecture, found.libraries) == (X86_64, "usr/lib")
    assert found.packages == "usr/lib/python3.14/site-packages"
    assert found.interpreter == "python3.14"


def test_a_tree_without_c_library_or_with_two_pythons_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no C library"):
        Anatomy.of(tmp_path)
    _touch(tmp_path / X86_64.loader)
    with pytest.raises(HostError, match="no Python, not one"):
        Anatomy.of(tmp_path)
    for minor in (13, 14):
        _touch(tmp_path / f"usr/bin/python3.{minor}")
    with pytest.raises(HostError, match=r"python3\.13, python3\.14, not one"):
        Anatomy.of(tmp_path)
