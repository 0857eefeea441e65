"""The hash tree and the command line that trusts it."""

import shlex
from pathlib import Path

import pytest
from lib.architecture import X86_64
from lib.host import HostError
from lib.verity import HashTree, build, command_line, salt_of

TREE = HashTree(root_hash="0123456789abcdef" * 4, salt="5a" * 32, data_blocks=25_000)


def _words() -> dict[str, list[str]]:
    """The command line as the kernel splits it: quoted values hold spaces."""
    found: dict[str, list[str]] = {}
    for word in shlex.split(command_line(TREE, X86_64)):
        key, _, value = word.partition("=")
        found.setdefault(key, []).append(value)
    return found


def test_the_mapping_is_the_verity_target_of_exactly_this_root() -> None:
    [mapping] = _words()["dm-mod.create"]
    name, identity, minor, flags, table = mapping.split(",", 4)
    assert (name, identity, minor, flags) == ("root", "", "", "ro")
    assert table.split() == [
        *("0", "200000", "verity", "1"),
        "PARTUUID=01234567-89ab-cdef-0123-456789abcdef",
        "PARTUUID=01234567-89ab-cdef-0123-456789abcdef",
        *("4096", "4096", "25000", "1", "sha256", TREE.root_hash, TREE.salt),
        *("1", "panic_on_corruption"),
    ]


def test_the_kernel_waits_for_both_partitions() -> None:
    identity = "PARTUUID=01234567-89ab-cdef-0123-456789abcdef"
    assert _words()["dm-mod.waitfor"] == [f"{identity},{identity}"]


def test_a_fault_reboots_and_lockdown_is_on() -> None:
    words = _words()
    assert words["panic"] == ["-1"]
    assert words["lockdown"] == ["integrity"]
    assert words["lsm"][0].split(",")[0] == "lockdown"
    assert words["init"] == ["/usr/sbin/init"]
    assert "gpt" in words
    assert "ro" in words
    assert not any(key.startswith(("initrd", "noinitrd")) for key in words)


def test_the_command_line_fits_the_kernel() -> None:
    assert len(command_line(TREE, X86_64)) < 2048  # COMMAND_LINE_SIZE of x86


def test_each_version_has_its_salt() -> None:
    assert len(salt_of("1")) == 64
    assert salt_of("1") == salt_of("1") != salt_of("2")


def test_a_root_of_broken_blocks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(bytes(5000))
    with pytest.raises(HostError, match="whole 4096-byte blocks"):
        build(tmp_path / "root", tmp_path / "tree", "1")


def test_the_tree_follows_from_content_and_version(tmp_path: Path) -> None:
    data, out = tmp_path / "root", tmp_path / "tree"
    data.write_bytes(b"a" * 4096 * 300)
    first, first_bytes = build(data, out, "1"), out.read_bytes()
    assert build(data, out, "1") == first
    assert out.read_bytes() == first_bytes
    assert build(data, out, "2").root_hash != first.root_hash
    data.write_bytes(b"a" * 4096 * 299 + b"b" * 4096)
    assert build(data, out, "1").root_hash != first.root_hash
