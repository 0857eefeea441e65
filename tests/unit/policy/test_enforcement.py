"""Keys and values as the kernel's programs expect them."""

from __future__ import annotations

import os
import re
import struct

import pytest

from ainit.policy import enforcement
from ainit.policy.enforcement import ADMITTED, AGENTS, SUPERBLOCKS, TASKS

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


@pytest.mark.parametrize("device", [(0, 5), (254, 0), (8, 17), (259, 300), (0xFFF, 0xFFFFF)])
def test_a_file_system_is_known_by_the_kernels_own_number(device: tuple[int, int]) -> None:
    key = enforcement.superblock(os.makedev(*device))
    assert len(key) == SUPERBLOCKS.key_bytes
    assert struct.unpack("=I", key)[0] == device[0] << 20 | device[1]


def test_keys_and_values_have_the_size_of_their_maps() -> None:
    assert len(enforcement.group(7)) == AGENTS.key_bytes
    assert len(enforcement.agent("speech")) == AGENTS.value_bytes
    assert len(enforcement.admission(7, DIGEST)) == ADMITTED.key_bytes
    assert len(enforcement.PRESENT) == ADMITTED.value_bytes == SUPERBLOCKS.value_bytes


def test_maps_are_what_the_kernel_takes() -> None:
    """Types of enum bpf_map_type, BPF_OBJ_NAME_LEN, and what task storage has to be."""
    kinds = {each.name: each.kind for each in enforcement.MAPS}
    assert kinds == {"superblocks": 1, "agents": 1, "admitted": 1, "tasks": 29}
    assert all(re.fullmatch(r"[a-z_]{1,15}", name) for name in kinds)
    assert (TASKS.key_bytes, TASKS.entries) == (4, 0)
    assert all(each.entries for each in enforcement.MAPS if each is not TASKS)
    assert all(re.fullmatch(r"[a-z_]+", hook) for hook in enforcement.HOOKS)
    assert enforcement.PATH_AT % 8 == 0


def test_an_admission_is_how_a_tasks_memory_begins() -> None:
    """Group, then struct fsverity_digest: algorithm, size, digest; then the path."""
    key = enforcement.admission(7, DIGEST)
    assert key[: enforcement.DIGEST_AT] == enforcement.group(7)
    assert key[enforcement.DIGEST_AT :] == struct.pack("=HH", 1, 32) + b"\xab" * 32
    assert len(key) <= enforcement.PATH_AT
    assert TASKS.value_bytes == enforcement.PATH_AT + enforcement.PATH_BYTES


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "ab" * 31, "sha512:" + "ab" * 64])
def test_no_other_digest_is_admitted(digest: str) -> None:
    with pytest.raises(ValueError, match=r"digest|hexadecimal"):
        enforcement.admission(7, digest)


def test_an_agent_is_read_back() -> None:
    value = struct.pack("=Q", 3) + enforcement.agent("speech")[8:]
    assert enforcement.agent_of(value) == ("speech", 3)
    assert enforcement.agent_of(enforcement.agent("x" * 90)) == ("x" * 56, 0)
    assert enforcement.agent_of(enforcement.agent("MAX")) == ("MAX", 0)


def test_a_name_that_was_cut_within_a_letter_is_read_back() -> None:
    assert enforcement.agent_of(enforcement.agent("x" * 55 + "\u00e4")) == ("x" * 55 + "\ufffd", 0)


def test_what_an_agent_was_given_is_read_back() -> None:
    given = enforcement.Given([7], [DIGEST], [5]) | enforcement.Given([3], [OTHER], [6])
    again = enforcement.Given.from_record(given.to_record())
    assert again.to_record() == {"groups": [3, 7], "digests": [DIGEST, OTHER], "devices": [5, 6]}
    assert again.admissions() == {
        enforcement.admission(number, digest) for number in (3, 7) for digest in (DIGEST, OTHER)
    }


@pytest.mark.parametrize("record", [None, [], "x", {}, {"groups": [], "digests": []}])
def test_anything_else_was_given_to_nobody(record: object) -> None:
    with pytest.raises((KeyError, TypeError), match=r"^'groups'|^'devices'|is a record"):
        enforcement.Given.from_record(record)
