"""Read-only file systems: what the boot reads first is packed to be unpacked quickly."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from lib import erofs

IDENTITY = uuid.UUID("5b9c1a0e-6b0f-4c55-9d0c-61696e6f7300")


def packed(tmp_path: Path, *places: str) -> Path:
    for place in places:
        path = tmp_path / "tree" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(b"%d of many lines\n" % number for number in range(50_000)))
    erofs.build(tmp_path / "tree", tmp_path / "image", IDENTITY)
    return tmp_path / "image"


def test_equal_trees_give_equal_images(tmp_path: Path) -> None:
    one = packed(tmp_path / "a", "usr/bin/python3.13", "usr/bin/other")
    other = packed(tmp_path / "b", "usr/bin/python3.13", "usr/bin/other")
    assert one.read_bytes() == other.read_bytes()


def test_what_is_read_first_is_packed_less(tmp_path: Path) -> None:
    first = packed(tmp_path / "a", "usr/bin/python3.13")
    last = packed(tmp_path / "b", "usr/bin/pythonic.13")
    assert first.stat().st_size > last.stat().st_size


@pytest.mark.parametrize(
    ("place", "is_hot"),
    [
        ("usr/bin/python3.13", True),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", True),
        ("usr/lib/ld-linux-aarch64.so.1", True),
        ("usr/lib/python3.13/lib-dynload/_ctypes.cpython-313-x86_64-linux-gnu.so", True),
        ("usr/lib/ainit/pid1.bundle", True),
        ("usr/sbin/init", True),
        ("usr/lib/x86_64-linux-gnu/libcrypto.so.3", False),
        ("usr/lib/ainit/ainit/pid1/main.py", False),
    ],
)
def test_what_is_read_before_pid_1_answers(place: str, is_hot: bool) -> None:
    assert any(re.search(pattern, place) for pattern in erofs.HOT) is is_hot


@pytest.mark.parametrize(
    ("place", "is_large"),
    [
        ("packages/onnxruntime/capi/onnxruntime_pybind11_state.cpython-313-x86_64.so", True),
        ("packages/numpy.libs/libscipy_openblas64_-fdde5778.so", True),
        ("packages/numpy.libs/libgfortran-040039e1-0352e75f.so.5.0.0", True),
        ("packages/numpy/_core/_multiarray_umath.cpython-313-x86_64-linux-gnu.so", True),
        ("packages/cryptography/hazmat/bindings/_rust.abi3.so", True),
        ("packages/numpy/linalg/_umath_linalg.cpython-313-x86_64-linux-gnu.so", False),
        ("packages/onnxruntime/__init__.pyc", False),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", False),
    ],
)
def test_which_libraries_are_packed_in_large_clusters(place: str, is_large: bool) -> None:
    assert any(re.search(pattern, place) for pattern in erofs.LARGE) is is_large
