"""Slots are files here, and the repository is a dictionary."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lib.release_delta import difference

from ainit.errors import RefusedError, UnavailableError
from ainit.ota import blocks, content, verity
from ainit.ota.filling import PACKED, Running, Slot, Wanted, delta_name
from ainit.ota.ports import Tell
from ainit.ota.release import File, Release
from ainit.ota.verity import BLOCK

SALT = b"salt" * 8
OLD_HASH = "0123456789abcdef" * 4


def some_blocks(count: int, seed: int) -> list[bytes]:
    return [random.Random(f"{seed} {number}").randbytes(BLOCK) for number in range(count)]


@dataclass
class Repository:
    """What is served; ``asked`` is what was transferred, by target."""

    files: dict[str, bytes]
    asked: dict[str, int] = field(default_factory=dict)
    interrupted_after: int | None = None

    def small(self, target: str, limit: int) -> bytes:
        assert len(self.files[target]) <= limit
        return self._given(target, self.files[target])

    def fetch(self, target: str, path: str, tell: Tell) -> None:
        Path(path).write_bytes(self._given(target, self.files[target]))
        tell(1, 1)

    def parts(self, target: str, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        for at, size in ranges:
            if self.interrupted_after is not None and at >= self.interrupted_after:
                raise UnavailableError("the server stopped answering")
            piece = self._given(target, self.files[target][at : at + size])
            yield piece[:100]
            yield piece[100:]

    def _given(self, target: str, data: bytes) -> bytes:
        name = target.rpartition("/")[2]
        self.asked[name] = self.asked.get(name, 0) + len(data)
        return data


@dataclass
class Machine:
    """An old release that runs, a new one to come, and the slot it goes into."""

    directory: Path
    repository: Repository
    wanted: Wanted
    running: Running
    slot: Slot
    new: dict[str, bytes]

    def fill(self) -> content.Filled:
        return content.fill(
            self.repository,
            self.wanted,
            self.running,
            self.slot,
            str(self.directory),
            lambda *_: None,
        )

    def without(self, *names: str) -> None:
        """The release does not bring these files."""
        release = self.wanted.release
        kept = {name: file for name, file in release.files.items() if name not in names}
        self.wanted = Wanted(self.wanted.channel, release.with_files(kept))

    def serve(self, name: str, data: bytes) -> None:
        """Signed, but this."""
        self.repository.files[self.wanted.target(name)] = data

    def transferred(self) -> int:
        """All that was asked for but the manifest."""
        return sum(self.repository.asked.values()) - len(self.new["manifest.json"])

    def written(self) -> tuple[bytes, bytes, bytes]:
        root = os.pread(self.slot.root, len(self.new["root.erofs"]), 0)
        hashes = os.pread(self.slot.verity, len(self.new["root.verity"]), 0)
        return root, hashes, (self.directory / "uki.efi").read_bytes()

    def expected(self) -> tuple[bytes, bytes, bytes]:
        return self.new["root.erofs"], self.new["root.verity"], self.new["uki.efi"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    kept, gone, come = some_blocks(300, 1), some_blocks(40, 2), some_blocks(30, 3)
    old_root = b"".join([*kept[:200], *gone, *kept[200:]])
    new_root = b"".join([*come[:10], *kept, *come[10:]])
    old_uki, new_uki = bytes(5000) + b"old" * 50, bytes(5000) + b"new" * 70
    geometry = verity.Geometry(len(new_root) // BLOCK, SALT)
    tree = verity.build(lambda at, size: new_root[at : at + size], geometry)
    manifest = {
        "root": {"hash": tree.root_hash, "salt": SALT.hex(), "data_blocks": geometry.blocks}
    }
    new = {
        "root.erofs": new_root,
        "root.verity": tree.content,
        "uki.efi": new_uki,
        "manifest.json": json.dumps(manifest).encode(),
        blocks.FILE: blocks.Index.of(new_root, new_uki).to_bytes(),
        delta_name(OLD_HASH): difference(old_root + old_uki, new_root + new_uki),
    }
    listed = {name: File(hashlib.sha256(data).hexdigest(), len(data)) for name, data in new.items()}
    wanted = Wanted("beta", Release("2.0", "base", "x86_64", "0", 1, listed))
    repository = Repository({wanted.target(name): data for name, data in new.items()})
    (tmp_path / "old.erofs").write_bytes(old_root + b"behind it")
    (tmp_path / "old.efi").write_bytes(old_uki)
    old = os.open(tmp_path / "old.erofs", os.O_RDONLY)
    slot = Slot(*(os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("root", "verity")))
    running = Running(OLD_HASH, old, len(old_root) // BLOCK, str(tmp_path / "old.efi"))
    yield Machine(tmp_path, repository, wanted, running, slot, new)
    for descriptor in (old, slot.root, slot.verity):
        os.close(descriptor)


def test_a_prepared_difference_is_taken_first(machine: Machine) -> None:
    filled = machine.fill()
    assert (filled.way, filled.refused) == ("delta", ())
    assert machine.written() == machine.expected()
    assert machine.repository.asked.keys() == {"manifest.json", delta_name(OLD_HASH)}
    assert filled.bytes < 33 * BLOCK


def test_without_one_only_the_blocks_that_are_not_here_are_asked_for(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    filled = machine.fill()
    assert filled.way == "blocks"
    assert machine.written() == machine.expected()
    assert machine.repository.asked["root.erofs"] == 30 * BLOCK
    assert machine.repository.asked["uki.efi"] < BLOCK
    assert filled.bytes == sum(machine.repository.asked.values()) - len(
        machine.new["manifest.json"]
    )


def test_a_uki_of_which_little_is_here_comes_packed(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    packed = difference(b"", machine.new["uki.efi"])
    release = machine.wanted.release
    listed = {**release.files, PACKED: File(hashlib.sha256(packed).hexdigest(), len(packed))}
    machine.wanted = Wanted("beta", release.with_files(listed))
    machine.serve(PACKED, packed)
    filled = machine.fill()
    assert (filled.way, machine.written()) == ("blocks", machine.expected())
    assert machine.repository.asked[PACKED] == len(packed)
    assert "uki.efi" not in machine.repository.asked
    assert filled.bytes == sum(machine.repository.asked.values()) - len(
        machine.new["manifest.json"]
    )


def test_without_an_index_everything_is(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH), blocks.FILE)
    filled = machine.fill()
    assert filled.way == "whole"
    assert machine.written() == machine.expected()


def test_a_difference_to_something_else_is_passed_over(machine: Machine) -> None:
    with open(machine.running.uki, "ab") as file:
        file.write(b"?")
    Path(machine.running.uki).write_bytes(b"another one")
    filled = machine.fill()
    assert filled.way == "blocks"
    assert filled.refused == ("delta: what runs is not what the difference is to",)
    assert machine.written() == machine.expected()


def test_an_index_that_leads_to_other_bytes_is_passed_over(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    other = bytearray(machine.new["root.erofs"])
    kept = 50 * BLOCK
    other[kept : kept + BLOCK], other[kept + BLOCK : kept + 2 * BLOCK] = (
        other[kept + BLOCK : kept + 2 * BLOCK], other[kept : kept + BLOCK],
    )  # fmt: skip
    machine.serve(blocks.FILE, blocks.Index.of(bytes(other), machine.new["uki.efi"]).to_bytes())
    filled = machine.fill()
    assert filled.way == "whole"
    assert filled.refused[0].startswith("blocks: the root came out with the hash ")
    assert machine.written() == machine.expected()


def test_what_is_served_in_place_of_the_root_is_refused_in_every_way(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    machine.serve("root.erofs", bytes(len(machine.new["root.erofs"])))
    with pytest.raises(RefusedError, match=r"blocks: the root came .*; whole: the root came "):
        machine.fill()


def test_a_uki_other_than_signed_is_refused(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    machine.serve("uki.efi", b"x" * len(machine.new["uki.efi"]))
    with pytest.raises(RefusedError, match="the UKI came out other than it was signed"):
        machine.fill()


def test_what_an_interrupted_attempt_has_written_is_not_asked_for_again(machine: Machine) -> None:
    machine.without(delta_name(OLD_HASH))
    machine.repository.interrupted_after = 20 * BLOCK
    with pytest.raises(UnavailableError, match="stopped answering"):
        machine.fill()
    machine.repository.interrupted_after = None
    machine.repository.asked.clear()
    assert machine.fill().way == "blocks"
    assert machine.repository.asked["root.erofs"] == 20 * BLOCK
    assert machine.written() == machine.expected()


@pytest.mark.parametrize("manifest", [b"{", b"{}", b'{"root": {"hash": "a"}}', b"[]"])
def test_a_manifest_that_says_nothing_is_refused(machine: Machine, manifest: bytes) -> None:
    machine.serve("manifest.json", manifest)
    with pytest.raises(RefusedError, match=r"manifest\.json: "):
        machine.fill()


def test_a_manifest_of_another_size_is_refused(machine: Machine) -> None:
    manifest = json.loads(machine.new["manifest.json"])
    manifest["root"]["data_blocks"] += 1
    machine.serve("manifest.json", json.dumps(manifest).encode())
    with pytest.raises(RefusedError, match="not of one size"):
        machine.fill()


@pytest.mark.parametrize("much", [b"", b"extra"])
def test_an_answer_of_another_length_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, much: bytes
) -> None:
    machine.without(delta_name(OLD_HASH), blocks.FILE)
    monkeypatch.setattr(
        machine.repository,
        "parts",
        lambda *_: iter([machine.new["root.erofs"] + much][: len(much)]),
    )
    with pytest.raises(RefusedError, match=r"(more|less) came than was asked for"):
        machine.fill()


@pytest.mark.parametrize("data", [b"", b"AINOSBLK", bytes(24), b"AINOSBLK" + b"\1" + bytes(15)])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match=r"blocks\.idx"):
        blocks.Index.from_bytes(data)
