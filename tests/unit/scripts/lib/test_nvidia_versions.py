"""Driver, CUDA, ONNX Runtime and torch: what fits together, and the error when it does not."""

from pathlib import Path

import pytest
from lib import debian_lock, nvidia_versions
from lib.nvidia_versions import VersionError, check

TABLE = """
[minimum_driver]
"12" = "525.60.13"
"13" = "580.65.06"
[cuda.onnxruntime-gpu]
"1.26" = "12"
"1.30" = "13"
[cuda.torch]
"2.10" = "12"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "versions.toml"
    path.write_text(TABLE)
    return path


def _lock(folder: Path, *pins: str) -> tuple[Path]:
    path = folder / "wheels.txt"
    path.write_text("# comment\n" + "".join(f"{pin} --hash=sha256:00\n" for pin in pins))
    return (path,)


def test_what_is_in_the_tree_fits_the_driver_in_the_lock() -> None:
    (entry,) = [e for e in debian_lock.read(group="nvidia-driver") if e.package == "libcuda1"]
    assert check(entry.version.partition("-")[0]) == "12"


def test_equal_releases_and_a_driver_that_is_new_enough_fit(table: Path, tmp_path: Path) -> None:
    pins = ("nvidia-cublas-cu12==12.8.4.1", "onnxruntime-gpu==1.26.0", "torch==2.10.0", "sympy==1")
    assert check("525.60.13", table, _lock(tmp_path, *pins)) == "12"


def test_a_driver_that_is_too_old_is_told_what_it_needs(table: Path, tmp_path: Path) -> None:
    lock = _lock(tmp_path, "nvidia-cublas==13.0.1", "onnxruntime-gpu==1.30.2")
    with pytest.raises(VersionError, match=r"wheels\.txt:3: .*CUDA 13, which needs driver 580"):
        check("550.163.01", table, lock)


def test_libraries_of_two_cuda_releases_are_named(table: Path, tmp_path: Path) -> None:
    lock = _lock(tmp_path, "nvidia-cudnn-cu12==9.1", "onnxruntime-gpu==1.30.0")
    with pytest.raises(VersionError) as caught:
        check("580.65.06", table, lock)
    assert "wheels.txt:2: nvidia-cudnn-cu12 9.1 is for CUDA 12" in str(caught.value)
    assert "wheels.txt:3: onnxruntime-gpu 1.30.0 is for CUDA 13" in str(caught.value)


def test_a_version_that_the_table_does_not_know_is_an_error(table: Path, tmp_path: Path) -> None:
    with pytest.raises(VersionError, match=r"wheels\.txt:2: .* what CUDA torch 3\.0 is for"):
        check("580.65.06", table, _lock(tmp_path, "torch==3.0.0"))


def test_every_number_counts_as_a_number(table: Path, tmp_path: Path) -> None:
    lock = _lock(tmp_path, "torch==2.10.0")
    assert check("1000.0.0", table, lock) == "12"
    with pytest.raises(VersionError, match="needs driver 525"):
        check("99.0", table, lock)


def test_the_table_states_where_it_comes_from() -> None:
    assert "Release Notes" in nvidia_versions.TABLE.read_text()
