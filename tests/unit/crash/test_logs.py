"""The last lines of a boot, out of log files in any state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ainit.crash import logs
from ainit.crash.logs import last_change, last_lines, of_boot

ONE, TWO = "11111111-0000", "22222222-0000"


def batch(boot: str, *records: tuple[float, str]) -> bytes:
    lines = [{"time": time, "text": text, "priority": 6} for time, text in records]
    lines.append({"boot": boot, "cursor": 9})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_mark_says_which_boot_the_lines_before_it_are_of() -> None:
    data = batch(ONE, (1.0, "a")) + batch(TWO, (2.0, "b"), (3.0, "c")) + batch(TWO, (4.0, "d"))
    assert of_boot(data, ONE) == [(1.0, "a")]
    assert of_boot(data, TWO) == [(2.0, "b"), (3.0, "c"), (4.0, "d")]
    assert of_boot(data, "") == of_boot(data, TWO)
    assert of_boot(data, "33333333") == []


def test_a_torn_end_costs_the_torn_line_only() -> None:
    whole = batch(ONE, (1.0, "a"))
    data = whole + batch(TWO, (2.0, "b"), (3.0, "c"))
    ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")][2:4]
    for length in range(len(whole), len(data)):
        complete = sum(length >= end - 1 for end in ends)
        assert of_boot(data[:length], TWO) == [(2.0, "b"), (3.0, "c")][:complete]


def test_a_torn_beginning_is_left_out() -> None:
    assert of_boot(batch(ONE, (1.0, "a"), (2.0, "b"))[5:], ONE) == [(2.0, "b")]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\n", b"[" * 5000, b"7\n", b'{"time":"x","text":7}\n', b'{"boot":1}\n', b"null"],
)
def test_what_is_no_record_is_left_out(data: bytes) -> None:
    assert of_boot(data + b"\n" + batch(ONE, (1.0, "a")), ONE) == [(1.0, "a")]


def test_lines_of_all_units_come_in_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "speech.jsonl").write_bytes(batch(ONE, (1.0, "first"), (3.0, "third")))
    (tmp_path / "gpu.1.jsonl").write_bytes(batch(ONE, (2.0, "sec\nond\x1b")))
    (tmp_path / "boots.json").write_text('{"time":1.0,"text":"no log"}')
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "speech.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert last_lines(str(tmp_path), ONE) == (
        b"[    1.000000] speech: first\n"
        b"[    2.000000] gpu: sec\\x0aond\\x1b\n"
        b"[    3.000000] speech: third\n"
    )


def test_what_is_kept_is_bounded_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "KEPT_BYTES", 70)
    monkeypatch.setattr(logs, "FILES", 2)
    for number, unit in enumerate(("old", "a", "b")):
        path = tmp_path / f"{unit}.jsonl"
        path.write_bytes(batch(ONE, *((at + number / 10, "x") for at in range(5))))
        os.utime(path, (100 + number, 100 + number))
    kept = last_lines(str(tmp_path), ONE)
    assert kept == b"[    3.200000] b: x\n[    4.100000] a: x\n[    4.200000] b: x\n"
    assert last_change(str(tmp_path)) == 102


def test_no_logs_no_lines(tmp_path: Path) -> None:
    assert last_lines(str(tmp_path / "none"), ONE) == b""
    assert last_change(str(tmp_path / "none")) == 0.0
