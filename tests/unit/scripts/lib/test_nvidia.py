"""NVIDIA's driver is one release of everything, by what its parts say; all that is not is named."""

import re
from pathlib import Path

import pytest
from lib import debian_lock, nvidia
from lib.host import REPOSITORY
from lib.nvidia import DriverError, firmware_version, of_directory, source_version, states

from tests.support import driver
from tests.support.driver import VERSION, archive
from tests.support.elf import elf

OTHER = "570.133.07"


def findings(folder: Path) -> set[str]:
    """The findings about a directory, its path left out."""
    with pytest.raises(DriverError) as caught:
        of_directory(folder)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"are of release {VERSION}, and not all of it is:")
    assert lines[-1] == "take all parts from one release"
    return {line.strip().replace(f"{folder}/", "") for line in lines[1:-1]}


def test_a_complete_directory_is_a_driver(tmp_path: Path) -> None:
    found = of_directory(archive(tmp_path))
    assert found.version == VERSION
    assert {path.name for path in found.libraries} == {f"{n}.{VERSION}" for n in driver.SONAMES}
    assert [path.name for path in found.programs] == list(nvidia.PROGRAMS)
    assert [path.name for path in found.firmware] == list(nvidia.FIRMWARE)
    assert found.licences == (tmp_path / "LICENSE",)
    assert (found.fabric_manager, found.entries) == (None, ())
    assert nvidia.selected({nvidia.VARIABLE: str(tmp_path)}) == found


def test_what_older_releases_have_not_may_be_missing(tmp_path: Path) -> None:
    archive(tmp_path)
    (tmp_path / f"libnvidia-pkcs11-openssl3.so.{VERSION}").unlink()
    assert len(of_directory(tmp_path).libraries) == len(nvidia.REQUIRED)


def test_everything_that_is_missing_is_named(tmp_path: Path) -> None:
    archive(tmp_path, fabric_manager=True)
    gone = [f"libcuda.so.{VERSION}", f"{driver.SILENT}.{VERSION}", "nvidia-smi", "LICENSE"]
    gone += ["firmware/gsp_ga10x.bin", "fabricmanager/bin/nv-fabricmanager"]
    gone += ["fabricmanager/etc/fabricmanager.cfg"]
    for name in gone:
        (tmp_path / name).unlink()
    topologies = tmp_path / "fabricmanager/share/nvidia/nvswitch"
    topologies.rename(tmp_path / "topologies")
    assert findings(tmp_path) == {
        f"libcuda.so.{VERSION} is missing in {tmp_path}",
        f"{driver.SILENT}.{VERSION} is missing in {tmp_path}",
        f"nvidia-smi is missing in {tmp_path}",
        "gsp_ga10x.bin is missing in firmware",
        "its licence is missing",
        "fabricmanager/bin/nv-fabricmanager is missing",
        "fabricmanager/share/nvidia/nvswitch is missing",
        "fabricmanager/etc/fabricmanager.cfg is missing",
    }


def test_every_part_of_another_release_is_named_whatever_its_name_says(tmp_path: Path) -> None:
    archive(tmp_path, fabric_manager=True)
    for name in driver.SONAMES:
        (tmp_path / f"{name}.{VERSION}").write_bytes(driver.library(name, OTHER))
    for name in ("nvidia-smi", "fabricmanager/bin/nv-fabricmanager"):
        (tmp_path / name).write_bytes(driver.stated(OTHER))
    (tmp_path / "firmware/gsp_tu10x.bin").write_bytes(driver.firmware(OTHER))
    (tmp_path / "firmware/gsp_ga10x.bin").write_bytes(elf({".fwimage": b"code"}))
    stating = [f"{name}.{VERSION}" for name in driver.SONAMES if name != driver.SILENT]
    stating += ["nvidia-smi", "fabricmanager/bin/nv-fabricmanager"]
    assert findings(tmp_path) == {
        "firmware/gsp_tu10x.bin is of release 570.133.07",
        "firmware/gsp_ga10x.bin is of release unknown",
        *(f"{name} does not state release {VERSION}" for name in stating),
    }


def test_what_is_not_checked_is_written_down() -> None:
    text = (REPOSITORY / "docs/nvidia.md").read_text()
    _, _, listed = text.partition("Three state no release")
    assert len(nvidia.UNCHECKED) == 3
    for name in nvidia.UNCHECKED:
        assert f"`{name.removesuffix('.so')}`" in listed.partition("\n\n")[0], name


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x550.163.01\0", True),
        (b"release 550.163.01.", True),
        (b"550.163.012", False),
        (b"550.163.01.2", False),
        (b"1550.163.01", False),
        (b"2.550.163.01", False),
        (b"550x163x01", False),
    ],
)
def test_a_release_inside_another_number_is_not_it(
    tmp_path: Path, content: bytes, expected: bool
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert states(tmp_path / "file", VERSION) is expected


def test_firmware_states_its_release_in_a_section_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "gsp.bin"
    path.write_bytes(driver.firmware("535.54.03"))
    assert firmware_version(path) == "535.54.03"
    path.write_bytes(elf({".fwimage": b"535.54.03\0"}))
    assert firmware_version(path) == ""


def test_the_release_is_that_of_the_modules_source(tmp_path: Path) -> None:
    (tmp_path / "Kbuild").write_text("# a comment\n" + driver.KBUILD.format(version="580.65.06"))
    assert source_version(tmp_path) == "580.65.06"


@pytest.mark.parametrize("text", [None, "obj-m += nvidia.o\n", driver.KBUILD.format(version="x")])
def test_a_source_without_release_is_not_nvidias(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "Kbuild").write_text(text)
    with pytest.raises(DriverError, match="Kbuild: no NV_VERSION_STRING"):
        source_version(tmp_path)


def test_a_directory_that_is_no_driver_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="--extract-only"):
        nvidia.selected({nvidia.VARIABLE: str(tmp_path)})


def test_whatever_is_taken_names_the_driver(tmp_path: Path) -> None:
    found = of_directory(archive(tmp_path, fabric_manager=True))
    digests = {found.digest}
    for path in (
        *(found.libraries[0], found.programs[0], found.firmware[0], found.licences[0]),
        tmp_path / "kernel-open/Kbuild",
        tmp_path / "fabricmanager/etc/fabricmanager.cfg",
    ):
        path.write_bytes(path.read_bytes() + b"\n")
        digests.add(found.digest)
    assert len(digests) == 7


def test_the_packages_are_all_locked_and_name_scripts_that_exist() -> None:
    path = debian_lock.LISTS / f"{nvidia.GROUP}.txt"
    wanted = debian_lock.parse_list(path.read_text(), str(path)).single
    assert set(wanted) == {entry.package for entry in debian_lock.read(group=nvidia.GROUP)}
    named = re.findall(r"`(scripts/[a-z-]+)`", path.read_text())
    assert named
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
