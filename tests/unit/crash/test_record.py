"""The record of a crash, there and back."""

from __future__ import annotations

import json

import pytest

from ainit.crash.record import Crash, is_id, make_id

CRASH = Crash(
    id="20231114T221320Z-8f2a1c3e",
    kind="panic",
    time=1700000000.5,
    boot_id="8f2a1c3e-0000-4000-8000-000000000000",
    kernel="6.12.1-ainos",
    cause="Kernel panic - not syncing: x",
    faults=1,
    incomplete=True,
    sources=("dmesg-efi_pstore-1:ab",),
)


def test_there_and_back() -> None:
    assert Crash.from_file(json.loads(json.dumps(CRASH.to_file()))) == CRASH


def test_the_wire_does_not_carry_the_sources() -> None:
    assert "sources" not in CRASH.to_record()


@pytest.mark.parametrize("field", ["schema", "id", "kind", "time", "boot_id", "cause", "sources"])
def test_a_field_that_is_wrong_is_refused(field: str) -> None:
    wrongs: tuple[object, ...] = (None, [], {})
    for wrong in wrongs:
        if field == "sources" and wrong == []:
            continue
        with pytest.raises(ValueError, match=r"record|field"):
            Crash.from_file({**CRASH.to_file(), field: wrong})


@pytest.mark.parametrize("record", [None, [], "x", 7, {}])
def test_what_is_no_record_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match="no record"):
        Crash.from_file(record)


@pytest.mark.parametrize("time", [-1e18, 0.0, 1700000000.0, 1e18])
@pytest.mark.parametrize("boot_id", ["", "../../etc", "8f2a1c3e-0000", "\uff21\uff22" * 8])
@pytest.mark.parametrize("number", [1, 2, 999])
def test_every_id_is_one(time: float, boot_id: str, number: int) -> None:
    assert is_id(make_id(time, boot_id, number))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "running", ".new-20231114T221320Z-8f2a1c3e", "a/b"]
)
def test_other_names_are_none(text: str) -> None:
    assert not is_id(text)
