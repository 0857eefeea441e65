"""The hash tree that a machine makes, beside veritysetup's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lib.layout import VERITY_UUID
from lib.verity import build, salt_of

from ainit.errors import RefusedError
from ainit.ota import verity


def test_it_has_the_name_that_the_build_gives_it() -> None:
    assert verity.UUID == VERITY_UUID


# One level of the tree and its edges, and the second one's.
@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 300, 128 * 128, 128 * 128 + 1])
def test_it_is_the_same_to_the_last_byte(tmp_path: Path, count: int) -> None:
    root, hashes = tmp_path / "root", tmp_path / "hashes"
    root.write_bytes(b"".join(number.to_bytes(4, "big") * 1024 for number in range(count)))
    made = build(root, hashes, "1.0")
    geometry = verity.Geometry(count, bytes.fromhex(salt_of("1.0")))
    data = root.read_bytes()
    tree = verity.build(lambda at, size: data[at : at + size], geometry)
    assert tree.root_hash == made.root_hash
    assert tree.content == hashes.read_bytes()
    with root.open("rb") as first, hashes.open("rb") as second:
        verity.check(first.fileno(), second.fileno(), made.root_hash, geometry)


@pytest.mark.parametrize(("name", "at"), [("root", 5), ("root", 299 * 4096), ("hashes", 4200)])
def test_one_other_byte_is_found(tmp_path: Path, name: str, at: int) -> None:
    for each in ("root", "hashes"):
        (tmp_path / each).write_bytes(bytes(300 * 4096))
    made = build(tmp_path / "root", tmp_path / "hashes", "1.0")
    geometry = verity.Geometry(300, bytes.fromhex(made.salt))
    with (tmp_path / name).open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")
    with (
        (tmp_path / "root").open("rb") as first,
        (tmp_path / "hashes").open("rb") as second,
        pytest.raises(RefusedError, match="hash"),
    ):
        verity.check(first.fileno(), second.fileno(), made.root_hash, geometry)


def test_a_root_that_ends_early_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(bytes(4096 * 2 + 5))
    descriptor = os.open(tmp_path / "root", os.O_RDONLY)
    try:
        with pytest.raises(RefusedError, match="ends at byte 8197"):
            verity.check(descriptor, descriptor, "", verity.Geometry(3, b""))
    finally:
        os.close(descriptor)
