"""The fs-verity digest computed here equals that of fsverity-utils, which equals the kernel's."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from ainit.linux import fsverity

BLOCK = 4096
PER_BLOCK = BLOCK // 32
SIZES = [
    0,
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    2 * BLOCK,
    # One, two and three levels: a full level, one block less and more, one byte less and more.
    (PER_BLOCK - 1) * BLOCK,
    PER_BLOCK * BLOCK - 1,
    PER_BLOCK * BLOCK,
    PER_BLOCK * BLOCK + 1,
    (PER_BLOCK + 1) * BLOCK,
    2 * PER_BLOCK * BLOCK,
    3 * PER_BLOCK * BLOCK + 17,
    PER_BLOCK * PER_BLOCK * BLOCK,
    PER_BLOCK * PER_BLOCK * BLOCK + 1,
]


def reference(path: Path) -> str:
    done = subprocess.run(
        ["fsverity", "digest", "--compact", path], check=True, capture_output=True, text=True
    )
    return "sha256:" + done.stdout.strip()


@pytest.mark.parametrize("size", SIZES)
def test_digest_of_a_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    pattern = random.Random(size).randbytes(1 << 16)
    with open(path, "wb") as file:
        file.writelines(pattern[: size - offset] for offset in range(0, size, len(pattern)))
    assert fsverity.text(fsverity.digest_file(str(path))) == reference(path)


def test_trailing_zeros_count(tmp_path: Path) -> None:
    """Blocks are padded with zeros, so only the size in the descriptor tells these apart."""
    digests = set()
    for size in (1, 2, BLOCK):
        path = tmp_path / f"{size}"
        path.write_bytes(bytes(size))
        digests.add(fsverity.digest_file(str(path)))
        assert fsverity.text(fsverity.digest_file(str(path))) == reference(path)
    assert len(digests) == 3
