"""What the programs are made of. Whether they hold, only a kernel can tell."""

from __future__ import annotations

import pytest

from ainit.enforce import program
from ainit.policy import enforcement

KERNEL = program.Kernel(40, 64, 0, 40, 16, 96, 1001, 1002, dict.fromkeys(enforcement.HOOKS, 1))
MAPS = {each.name: number for number, each in enumerate(enforcement.MAPS, 10)}


def test_every_hook_has_a_program() -> None:
    found = program.programs(KERNEL, MAPS, "/var/lib/ainos/models")
    assert tuple(found) == enforcement.HOOKS
    assert found["file_receive"] == found["file_post_open"]


def test_what_is_received_is_judged_by_digest_and_path() -> None:
    code = program.programs(KERNEL, MAPS, "/store")["file_receive"]
    assert bytes.fromhex("85200000") + (1001).to_bytes(4, "little") in code
    assert bytes.fromhex("85200000") + (1002).to_bytes(4, "little") in code


@pytest.mark.parametrize("magic", [0x01021994, 0x9FA0], ids=["tmpfs", "proc"])
def test_a_sandbox_s_own_file_systems_are_known_by_their_kind(magic: int) -> None:
    code = program.programs(KERNEL, MAPS, "/store")["file_post_open"]
    places = [at for at in range(0, len(code), 8) if code[at : at + 2] == b"\x15\x02"]  # R2 is
    jumps = {
        int.from_bytes(code[at + 4 : at + 8], "little"): at // 8
        + 1
        + int.from_bytes(code[at + 2 : at + 4], "little")
        for at in places
    }
    target = jumps[magic]  # where the path is compared, which comes before any is allowed
    assert code[8 * target : 8 * target + 2] == b"\xbf\x61"  # R1 = R6, the file
    path = bytes.fromhex("85200000") + (1002).to_bytes(4, "little")
    assert path in code[8 * target : 8 * (target + 8)]


@pytest.mark.parametrize("store", ["/s", "/store", "/var/lib/ainos/models", "/" + "x" * 40])
def test_the_whole_name_of_the_store_is_compared(store: str) -> None:
    code = program.programs(KERNEL, MAPS, store)["file_post_open"]
    halves = b"".join(
        code[at + 4 : at + 8] + code[at + 12 : at + 16]
        for at in range(0, len(code), 8)
        if code[at : at + 2] == b"\x18\x02"  # R2 = a constant
    )
    assert bytes(byte for byte in halves if byte) == f"{store}/".encode()
    compared = [at for at in range(0, len(code), 8) if code[at : at + 2] == b"\x5d\x21"]
    assert len(compared) == len(halves) // 8  # if R1 differs from R2
