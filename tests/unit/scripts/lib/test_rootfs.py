"""The product over a tree that another builder made: its modules are signed and checked."""

from pathlib import Path

import pytest
from lib import kernel as linux
from lib import nvidia, product, rootfs
from lib.host import HostError
from lib.modules import is_signed
from lib.nvidia import of_directory
from lib.variant import NVIDIA, Target

from tests.support import signing
from tests.support.driver import VERSION, archive

RELEASE = "6.12.117-ainos"
OTHER = "570.133.07"


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a kernel was compiled; the build's key, the driver, and no product."""
    key, certificate = signing.key_pair(tmp_path, "build")
    folder = tmp_path / "objects"
    signing.sign_file(folder)
    for name, text in (("include/config/kernel.release", f"{RELEASE}\n"), ("System.map", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    driver = of_directory(archive(tmp_path / "driver"))
    monkeypatch.setattr(linux, "MODULE_KEY", key)
    monkeypatch.setattr(linux, "module_certificate", lambda: certificate)
    monkeypatch.setattr(nvidia, "selected", lambda: driver)
    monkeypatch.setattr(rootfs, "finish_libraries", lambda *_: None)
    monkeypatch.setattr(product, "lay", lambda *_: None)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with modules of the driver that nobody has signed."""
    root = tmp_path / "root"
    for name in ("usr/lib/ld-linux-x86-64.so.2", "usr/bin/python3.14", "var/lib/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    folder = root / "usr/lib/modules" / RELEASE
    (folder / "updates").mkdir(parents=True)
    for name in ("order", "builtin", "builtin.modinfo"):
        (folder / f"modules.{name}").touch()
    for name in ("nvidia", "nvidia-uvm"):
        (folder / f"updates/{name}.ko").write_bytes(signing.module(RELEASE, VERSION))
    return root


def module(root: Path, name: str = "nvidia") -> Path:
    return root / f"usr/lib/modules/{RELEASE}/updates/{name}.ko"


def test_modules_are_signed_and_all_of_the_driver_is_listed(root: Path, objects: Path) -> None:
    components = rootfs.finish(root, Target(NVIDIA), objects)
    assert is_signed(module(root))
    assert (root / "usr/bin/nvidia-smi").exists()
    assert {"nvidia.ko", "nvidia-uvm.ko", "nvidia-smi"} <= {each["name"] for each in components}


def test_a_tree_may_be_finished_twice(root: Path, objects: Path) -> None:
    rootfs.finish(root, Target(NVIDIA), objects)
    signed = module(root).read_bytes()
    for link in (root / "usr/lib").glob("*.so.1"):
        link.unlink()
    rootfs.finish(root, Target(NVIDIA), objects)
    assert module(root).read_bytes() == signed


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ((RELEASE, OTHER), r"nvidia-uvm\.ko is of release 570\.133\.07, not 550\.163\.01"),
        (("6.12.0", VERSION), r"nvidia-uvm\.ko is for 6\.12\.0 .*, not for 6\.12\.117-ainos"),
    ],
)
def test_modules_for_another_kernel_or_of_another_release_end_the_build(
    root: Path, objects: Path, stated: tuple[str, str], message: str
) -> None:
    module(root, "nvidia-uvm").write_bytes(signing.module(*stated))
    with pytest.raises(HostError, match=message):
        rootfs.finish(root, Target(NVIDIA), objects)
    assert not (root / "usr/bin/nvidia-smi").exists()


def test_a_tree_with_modules_needs_the_place_of_its_kernel(root: Path) -> None:
    with pytest.raises(HostError, match="needs --kernel DIR"):
        rootfs.finish(root, Target(NVIDIA))
