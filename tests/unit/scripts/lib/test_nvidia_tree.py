"""NVIDIA's driver in a root tree: names, modes, sonames, and a bill of materials of all of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from lib import modules, nvidia_modules, nvidia_tree, nvidia_versions, sbom
from lib.host import HostError, sha256_file
from lib.nvidia import Driver, of_directory

from tests.support import driver as parts
from tests.support.driver import VERSION, archive
from tests.support.elf import elf

LIBRARIES = "usr/lib/x86_64-linux-gnu"
TOPOLOGY = "dgxh100_hgxh100_topology"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As much of a tree as has a C library and a Python."""
    for name in (f"{LIBRARIES}/ld-linux-x86-64.so.2", "usr/bin/python3.13", "var/lib/x"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "root"


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    folder = archive(tmp_path / "driver", fabric_manager=True)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o700)
    return of_directory(folder)


def _laid(root: Path) -> dict[str, str]:
    """Every file that was laid, with its mode, and every link, with where it leads."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else f"{path.stat().st_mode & 0o7777:o}"
        for path in root.rglob("*")
        if path.is_symlink() or (path.is_file() and path.stat().st_size)
    }


def test_user_space_has_its_names_modes_and_sonames(root: Path, driver: Driver) -> None:
    nvidia_tree.lay_user_space(root, driver)
    assert _laid(root) == {
        **{f"{LIBRARIES}/{name}.{VERSION}": "644" for name in parts.SONAMES},
        **{
            f"{LIBRARIES}/{soname}": f"{name}.{VERSION}"
            for name, soname in parts.SONAMES.items()
            if soname
        },
        "usr/bin/nvidia-smi": "755",
        "usr/bin/nvidia-modprobe": "755",
        "usr/bin/nvidia-persistenced": "755",
        "usr/bin/nv-fabricmanager": "755",
        f"usr/lib/firmware/nvidia/{VERSION}/gsp_tu10x.bin": "644",
        f"usr/lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin": "644",
        f"usr/share/nvidia/nvswitch/{TOPOLOGY}": "644",
        "usr/share/nvidia/nvswitch/fabricmanager.cfg": "644",
        "usr/share/doc/nvidia-driver/driver-LICENSE": "644",
        "var/run": "../run",
    }
    assert (root / "usr/bin/nvidia-smi").read_bytes() == driver.programs[0].read_bytes()


def test_all_that_is_laid_is_in_the_bill_of_materials(root: Path, driver: Driver) -> None:
    components: list[dict[str, Any]] = nvidia_tree.lay_user_space(root, driver)
    laid = {name.rpartition("/")[2] for name, mode in _laid(root).items() if mode.isdigit()}
    unlisted = {"driver-LICENSE", "fabricmanager.cfg"}
    assert {component["name"] for component in components} == laid - unlisted
    assert {component["version"] for component in components} == {VERSION}
    found = {component["name"]: component for component in components}
    assert found[TOPOLOGY]["type"] == "file"
    for name in ("bin/nv-fabricmanager", f"share/nvidia/nvswitch/{TOPOLOGY}"):
        [digest] = found[Path(name).name]["hashes"]
        assert digest["content"] == sha256_file(root / "usr" / name)
    document = sbom.document(components)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    references = [component["bom-ref"] for component in json.loads(document)["components"]]
    assert len(set(references)) == len(references)


def test_the_fabric_manager_writes_no_file(root: Path, driver: Driver) -> None:
    nvidia_tree.lay_user_space(root, driver)
    configuration = (root / "usr/share/nvidia/nvswitch/fabricmanager.cfg").read_text()
    assert configuration == "A=1\nLOG_FILE_NAME=\nB=2\n"


def test_without_a_fabric_manager_there_is_nothing_of_it(root: Path, tmp_path: Path) -> None:
    components = nvidia_tree.lay_user_space(root, of_directory(archive(tmp_path / "plain")))
    assert not (root / "usr/share/nvidia").exists()
    assert "nv-fabricmanager" not in {component["name"] for component in components}


def test_a_link_that_is_there_stays(root: Path, driver: Driver) -> None:
    (root / "var/run").symlink_to("/run")
    nvidia_tree.lay_user_space(root, driver)
    assert str((root / "var/run").readlink()) == "/run"


def test_a_driver_that_is_too_old_for_the_libraries_lays_nothing(
    root: Path, tmp_path: Path
) -> None:
    old = of_directory(archive(tmp_path / "old", "470.57.02"))
    before = _laid(root)
    with pytest.raises(nvidia_versions.VersionError, match=r"470\.57\.02"):
        nvidia_tree.lay_user_space(root, old)
    assert _laid(root) == before


def test_modules_that_were_built_are_in_the_bill_of_materials(
    root: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built, kernel = tmp_path / "built", tmp_path / "kernel"
    for path in (*(built / f"{name}.ko" for name in nvidia_modules.MODULES), kernel / "version"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("6.12.0\n")
    indexed = []
    monkeypatch.setattr(nvidia_modules, "build", lambda *_: built)
    monkeypatch.setattr(modules, "index", lambda *given: indexed.append(given))
    components: list[dict[str, Any]] = nvidia_tree.lay(root, driver, kernel)
    found = {component["name"]: component["licenses"] for component in components}
    licences = [{"license": {"name": nvidia_tree.MODULES_LICENCE}}]
    assert found["nvidia.ko"] == found["nvidia-uvm.ko"] == licences
    assert (root / "usr/lib/modules/6.12.0/extra/nvidia-uvm.ko").exists()
    assert indexed == [(root / "usr", "6.12.0", kernel / "System.map")]


def test_over_another_builders_tree_the_modules_are_checked_first(
    root: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "nvidia.ko"
    module.write_text("module")
    asked = []

    def verify_tree(*given: object) -> list[Path]:
        asked.append(given)
        return [module]

    monkeypatch.setattr(nvidia_modules, "verify_tree", verify_tree)
    objects, certificate = tmp_path / "objects", tmp_path / "certificate"
    components = nvidia_tree.lay_over(root, driver, objects, certificate)
    assert asked == [(root, VERSION, objects, certificate)]
    assert {"nvidia.ko", "nvidia-smi"} <= {component["name"] for component in components}

    def refuse(*_: object) -> list[Path]:
        raise HostError("is not signed")

    monkeypatch.setattr(nvidia_modules, "verify_tree", refuse)
    with pytest.raises(HostError, match="is not signed"):
        nvidia_tree.lay_over(root, driver, objects, certificate)


def test_a_library_without_a_soname_is_asked_for_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "libx.so.1.2"
    path.write_bytes(elf({".rodata": b""}, "libx.so.1"))
    assert nvidia_tree.soname(path) == "libx.so.1"
    path.write_bytes(elf({".rodata": b""}))
    assert nvidia_tree.soname(path) == "libx.so.1.2"
