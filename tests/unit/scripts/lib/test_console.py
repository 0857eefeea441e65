"""The console is saved line by line, with times, and can be waited on."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lib.console import Console

DEADLINE_S = 20


class Wire:
    """A pipe with a console at its end."""

    def __init__(self, log: Path, echo: io.StringIO) -> None:
        reader, self._writer = os.pipe()
        self.console = Console(os.fdopen(reader, "rb"), log, echo)

    def say(self, data: bytes) -> None:
        os.write(self._writer, data)

    def hang_up(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


@pytest.fixture
def echo() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def wire(tmp_path: Path, echo: io.StringIO) -> Iterator[Wire]:
    wire = Wire(tmp_path / "console.log", echo)
    yield wire
    wire.hang_up()
    wire.console.close()


def test_a_line_is_found_once_it_is_there(wire: Wire) -> None:
    wire.say(b"one\r\ntwo\nthree\n")
    found = wire.console.wait_for("^t", DEADLINE_S)
    assert found is not None
    assert found.text == "two"


def test_a_line_that_never_ends_counts_too(wire: Wire) -> None:
    wire.say(b"Press any key")
    assert wire.console.wait_for("any key$", DEADLINE_S) is not None


def test_a_pattern_may_span_two_reads(wire: Wire) -> None:
    wire.say(b"Linux ver")
    assert wire.console.wait_for("ver$", DEADLINE_S) is not None
    wire.say(b"sion 6.12\n")
    assert wire.console.wait_for("Linux version 6", DEADLINE_S) is not None


def test_the_end_of_the_console_ends_the_wait(wire: Wire) -> None:
    wire.say(b"panic")
    wire.hang_up()
    assert wire.console.wait_for("never", 3600) is None
    assert wire.console.first("panic") is not None


def test_a_deadline_ends_the_wait(wire: Wire) -> None:
    assert wire.console.wait_for("never", 0.0) is None


def test_times_never_go_back(wire: Wire) -> None:
    wire.say(b"a\nb\n")
    wire.say(b"c\n")
    wire.hang_up()
    wire.console.close()
    times = [line.seconds for line in wire.console.lines[:3]]
    assert times == sorted(times)
    assert times[0] >= 0


def test_what_is_saved_and_echoed_is_readable(
    wire: Wire, tmp_path: Path, echo: io.StringIO
) -> None:
    wire.say(b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: \x1b[31mred\x1b[0m\x00\r\nunfinished \xff")
    wire.hang_up()
    wire.console.close()
    saved = (tmp_path / "console.log").read_text()
    assert [line.split("] ", 1)[1] for line in saved.splitlines()] == [
        "BdsDxe: red",
        "unfinished \ufffd",
    ]
    assert echo.getvalue() == saved
    assert wire.console.tail().startswith("[")


def test_the_last_line_is_the_last_that_has_text(wire: Wire) -> None:
    assert wire.console.last == ""
    wire.say(b"first\n\n")
    assert wire.console.wait_for("first", DEADLINE_S)
    assert wire.console.last == "first"
    wire.say(b"half a li")
    assert wire.console.wait_for("half", DEADLINE_S)
    assert wire.console.last == "half a li"
