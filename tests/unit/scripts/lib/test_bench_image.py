"""Which images are measured, what is counted in them, and that each goal is in the result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lib import bench_image
from lib.architecture import AARCH64, X86_64
from lib.bench_image import IMAGES, Found, Suite, choose, judge, kernels, read_suite, suite_result
from lib.host import HostError
from lib.kernel import KernelSet

from ainit.errors import AinosError

NOTHING = Found({}, {}, {}, None)
BOOT = {
    "machine": {"findings": []},
    "phases": [{"name": name, "seconds": 2.0} for name in ("kernel", "ainit", "agents")],
}


def goals(found: Found) -> dict[str, Any]:
    return {each.goal: each for each in judge(found)}


# Which images.


def test_all_images_are_measured_buildroots_where_it_is_given() -> None:
    assert choose("", None) == ("base", "aarch64", "server", "nvidia")
    assert choose("", Path("x")) == IMAGES


def test_named_images_are_measured_and_no_others() -> None:
    assert choose("aarch64,base", None) == ("base", "aarch64")
    assert choose("base", Path("x")) == ("base",)
    assert choose("buildroot", Path("x")) == ("buildroot",)


@pytest.mark.parametrize(
    ("only", "message"),
    [("base,toaster", "no image toaster; there are: base"), ("buildroot", "BUILDROOT_IMAGE=DIR")],
)
def test_an_image_that_there_is_not_is_named(only: str, message: str) -> None:
    with pytest.raises(HostError, match=message):
        choose(only, None)


def test_images_share_kernels() -> None:
    assert kernels(IMAGES) == {
        "base": (X86_64, KernelSet.BASE),
        "aarch64": (AARCH64, KernelSet.BASE),
        "server": (X86_64, KernelSet.SERVER),
    }
    assert set(kernels(["nvidia", "buildroot"])) == {"server"}


# What fails costs its own figures only.


@pytest.mark.parametrize("error", [HostError, AinosError, OSError])
def test_what_fails_is_said_and_is_nothing(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error("no disk left")

    assert bench_image.attempt("nvidia", fail) is None
    assert capsys.readouterr().err == "bench-image: nvidia: no disk left\n"
    assert bench_image.attempt("base", len, "abc") == 3


def test_a_goal_without_a_figure_is_there_and_missed() -> None:
    found = goals(NOTHING)
    assert list(found) == [
        "image.slot_mib",
        "image.kconfig_dropped",
        "image.ready_s.base",
        "image.ready_s.aarch64",
        "image.ready_s.server",
        "image.ready_s.nvidia",
        "image.ready_s.buildroot",
        "image.buildroot_suite_failed",
    ]
    assert {(each.value, each.met) for each in found.values()} == {(None, False)}


def test_everything_that_was_measured_is_judged() -> None:
    found = goals(
        Found(
            {"base": 59.5, "nvidia": 700.0},
            {"base": 0, "server": 0},
            {name: [BOOT, BOOT] for name in IMAGES},
            Suite(tests=80, failed=0),
        )
    )
    assert all(each.met for each in found.values())
    assert found["image.slot_mib"].value == 59.5
    assert found["image.slot_mib"].peers == {"nvidia": 700.0}
    assert found["image.ready_s.nvidia"].samples == [6.0, 6.0]
    assert found["image.buildroot_suite_failed"].peers == {"tests": 80}


def test_one_image_that_failed_leaves_the_others_theirs() -> None:
    found = goals(Found({"base": 60.5}, {"base": 0}, {"base": [BOOT]}, Suite(80, 2)))
    assert found["image.ready_s.base"].met
    assert not found["image.ready_s.server"].met
    for name in ("image.slot_mib", "image.buildroot_suite_failed"):
        assert found[name].value is not None
        assert not found[name].met


# Options that got lost.


def test_dropped_options_are_added_up_over_kernels() -> None:
    found = goals(Found({}, {"base": 0, "server": 2, "buildroot": 1}, {}, None))
    dropped = found["image.kconfig_dropped"]
    assert (dropped.value, dropped.met) == (3, False)
    assert dropped.peers == {"base": 0, "server": 2, "buildroot": 1}


def test_a_kernel_that_was_not_built_may_have_lost_anything() -> None:
    found = goals(Found({}, {"base": 0, "server": None}, {}, None))
    dropped = found["image.kconfig_dropped"]
    assert (dropped.value, dropped.met, dropped.peers) == (None, False, {"base": 0})


def test_buildroots_options_and_its_kernels_are_counted_in_its_output(tmp_path: Path) -> None:
    image, linux = tmp_path / "images/ainos", tmp_path / "build/linux-custom"
    for folder in (image, linux, tmp_path / "build/linux-headers-custom"):
        folder.mkdir(parents=True)
        (folder / ".config").write_text("")
    (tmp_path / "ainos_defconfig").write_text("BR2_A=y\nBR2_B=n\nBR2_C=y\n")
    (tmp_path / ".config").write_text("BR2_A=y\n# BR2_B is not set\n")
    (tmp_path / "build/ainos-requested.config").write_text("# why\nCONFIG_A=m\nCONFIG_B=y\n")
    (linux / ".config").write_text("CONFIG_A=m\nCONFIG_B=y\nCONFIG_C=y\n")
    counted = {
        name: bench_image.count_dropped(*files)
        for name, files in bench_image.buildroot_configurations(image).items()
    }
    assert counted == {"buildroot": 1, "buildroot-kernel": 0}


def test_an_image_that_was_copied_has_no_options_to_count(tmp_path: Path) -> None:
    assert bench_image.buildroot_configurations(tmp_path / "images/ainos") == {}


# The suite.


def run_pytest(folder: Path, text: str) -> Path:
    """What pytest writes of a run of these tests."""
    (folder / "test_it.py").write_text(text)
    result = folder / "result.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    subprocess.run(
        [*command, f"--rootdir={folder}", f"--junitxml={result}"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return result


def test_what_did_not_pass_has_failed(tmp_path: Path) -> None:
    text = """\
import pytest

@pytest.fixture
def broken():
    raise OSError

def test_passes(): pass
def test_fails(): assert False
def test_cannot_begin(broken): pass
def test_skips(): pytest.skip("not here")
"""
    assert read_suite(run_pytest(tmp_path, text)) == Suite(tests=4, failed=3)


def test_a_run_without_tests_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="holds no test"):
        read_suite(run_pytest(tmp_path, ""))


@pytest.mark.parametrize("text", ["", "<testsuite/>", "<testsuites/>", "<a"])
def test_anything_else_is_no_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.xml"
    path.write_text(text)
    with pytest.raises(HostError, match=r"result\.xml is not pytest's"):
        read_suite(path)


def test_without_a_run_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="AINOS_IMAGE=DIR scripts/test qemu"):
        read_suite(tmp_path / "result.xml")


def test_a_result_belongs_to_one_image(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    before = suite_result(tmp_path)
    # What `sha256sum` prints, of which scripts/test takes the beginning.
    assert before.name == "qemu-44136fa355b3678a.xml"
    (tmp_path / "manifest.json").write_text('{"version": "1"}')
    assert suite_result(tmp_path) != before
