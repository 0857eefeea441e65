"""Records of starts: whole ones only, the latest of each, and a wait that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib.supervisors.records import FORM, LateError, Records, Start, parse


def record(number: int, pid: int, moment_s: float) -> bytes:
    return FORM.pack(number, pid, int(moment_s * 1e9))


def nothing() -> None:
    pass


def test_a_record_that_is_not_whole_yet_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(record(1, 10, 1.0) + record(2, 11, 2.0)[:7])
    records = Records(path)
    assert records.read() == [Start(1, 10, 1.0)]
    with path.open("ab") as file:
        file.write(record(2, 11, 2.0)[7:] + record(1, 12, 3.0))
    assert records.read() == [Start(2, 11, 2.0), Start(1, 12, 3.0)]
    assert records.latest[1].pid == 12


def test_waiting_tells_when_the_last_of_them_started(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(record(1, 10, 5.0) + record(2, 11, 4.0) + record(3, 12, 9.0))
    assert Records(path).wait_new({1, 2}, 60.0, nothing) == 5.0


def test_waiting_in_vain_says_how_many_came(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(record(1, 10, 5.0))
    with pytest.raises(LateError, match=r"1 of 2 started in 0 s"):
        Records(path).wait_new({1, 2}, 0.0, nothing)


def test_waiting_ends_when_the_supervisor_did(tmp_path: Path) -> None:
    (tmp_path / "records").touch()

    def ended() -> None:
        raise ChildProcessError("ended")

    with pytest.raises(ChildProcessError):
        Records(tmp_path / "records").wait_new({1}, 60.0, ended)


def test_nothing_is_no_record() -> None:
    assert list(parse(b"")) == []
