"""Lines: the same however their bytes came, and none twice whoever asks."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainit.constants import LOG_LINE_BYTES
from ainit.pid1.journal import Forgetful
from ainit.pid1.lines import Partials, Record, assemble, read, record, tail
from ainit.pid1.ring import AINIT, BEGIN, END, Chunk, Ring

ALL = 1 << 40


def texts(lines: list[Record]) -> list[str]:
    return [str(line["text"]) for line in lines]


def chunked(stream: bytes, sizes: list[int]) -> list[Chunk]:
    found: list[Chunk] = []
    place = 0
    for size in [*sizes, len(stream)]:
        if piece := stream[place : place + size]:
            found.append((5, 0 if place else BEGIN, place, place, piece))
            place += len(piece)
    return found


@given(
    st.lists(st.text(st.characters(exclude_characters="\n<", codec="utf-8"))),
    st.lists(st.integers(1, 40)),
)
def test_lines_arrive_however_they_are_cut(lines: list[str], sizes: list[int]) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    partials: Partials = {}
    found, _ = assemble("u", chunked(stream, sizes), partials)
    assert texts(found) == lines
    assert partials.get(5, b"") == b""


@pytest.mark.parametrize(
    ("raw", "priority", "text", "fields"),
    [
        (b"plain", 6, "plain", None),
        (b"<3>disk full", 3, "disk full", None),
        (b"<0>", 0, "", None),
        (b"<8>no priority", 6, "<8>no priority", None),
        (b"<3 >no prefix", 6, "<3 >no prefix", None),
        (b"<", 6, "<", None),
        (b'{"a": [1]}', 6, '{"a": [1]}', {"a": [1]}),
        (b'<4>{"a": 1}', 4, '{"a": 1}', {"a": 1}),
        (b'{"a": 1', 6, '{"a": 1', None),
        (b'{"a": 1} behind', 6, '{"a": 1} behind', None),
        (b"[1]", 6, "[1]", None),
        (b'{"a": ' * 3000, 6, '{"a": ' * 3000, None),
        (b"\xffa\xc3", 6, "\ufffda\ufffd", None),
        (b"", 6, "", None),
    ],
)
def test_a_line_is_a_record(raw: bytes, priority: int, text: str, fields: object) -> None:
    assert record("u", 1_500_000, raw) == {
        "unit": "u",
        "time": 1.5,
        "text": text,
        "priority": priority,
        "source": "unit",
        "fields": fields,
    }


def test_what_pid_1_says_is_taken_as_it_is() -> None:
    found = record("u", 0, b'<3>{"a": 1}', AINIT)
    assert (found["text"], found["priority"], found["source"]) == ('<3>{"a": 1}', 6, "ainit")
    assert found["fields"] is None


def test_pid_1_writes_records_too() -> None:
    found = record("u", 0, b'{"decision":"permit"}', AINIT)
    assert (found["fields"], found["source"]) == ({"decision": "permit"}, "ainit")


def test_a_line_has_the_time_of_its_end_and_a_partial_one_waits() -> None:
    partials: Partials = {}
    chunks: list[Chunk] = [
        (5, BEGIN, 1_000_000, 0, b"one\ntw"),
        (5, 0, 2_000_000, 6, b"o"),
        (5, 0, 3_000_000, 7, b"\nthree"),
        (5, END, 4_000_000, 13, b"\n"),
    ]
    found, reached = assemble("u", chunks[:3], partials)
    assert [(line["text"], line["time"]) for line in found] == [("one", 1.0), ("two", 3.0)]
    assert (partials, reached) == ({5: b"three"}, 13)
    found, reached = assemble("u", chunks[3:], partials)
    assert [(line["text"], line["time"]) for line in found] == [("three", 4.0)]
    assert (partials, reached) == ({}, 14)


def test_streams_do_not_run_into_each_other_nor_into_pid_1s_words() -> None:
    chunks: list[Chunk] = [
        (5, BEGIN, 1, 0, b"old "),
        (0, AINIT, 2, 4, b"ready\n"),
        (7, BEGIN, 3, 10, b"new "),
        (5, 0, 4, 14, b"line\n"),
        (7, 0, 5, 19, b"line\n"),
        (5, END, 6, 24, b"\n"),
        (5, BEGIN, 7, 25, b"third\n"),
    ]
    assert texts(assemble("u", chunks, {})[0]) == ["ready", "old line", "new line", "third"]


@pytest.mark.parametrize("extra", [-1, 0, 1, LOG_LINE_BYTES])
@pytest.mark.parametrize("cut", [1, LOG_LINE_BYTES - 1, LOG_LINE_BYTES, LOG_LINE_BYTES + 1])
def test_an_overlong_line_goes_on_in_the_next_record(extra: int, cut: int) -> None:
    raw = b"x" * (LOG_LINE_BYTES + extra)
    found, _ = assemble("u", chunked(raw + b"\nnext\n", [cut]), {})
    sizes = [len(str(line["text"])) for line in found]
    more = [extra] if extra > 0 else []
    assert sizes == [min(LOG_LINE_BYTES, LOG_LINE_BYTES + extra), *more, 4]


class Service:
    """Writes of several streams into one ring, and the lines that are in them."""

    def __init__(self) -> None:
        self.ring = Ring.make("u", Forgetful())
        self.begun: set[int] = set()
        self.partial: dict[int, str] = {}
        self.lines: list[str] = []

    def write(self, stream: int, text: str) -> None:
        flags = 0 if stream in self.begun else BEGIN
        self.begun.add(stream)
        self.ring.write(flags, stream, text.encode(), 1)
        *whole, rest = (self.partial.get(stream, "") + text).split("\n")
        self.lines += whole
        self.partial[stream] = rest

    def say(self, text: str) -> None:
        self.ring.write(AINIT, 0, f"{text}\n".encode(), 1)
        self.lines.append(text)

    def end(self, stream: int) -> None:
        if stream in self.begun:
            self.ring.write(END, stream, b"\n", 1)
            self.begun.discard(stream)
            if rest := self.partial.pop(stream):
                self.lines.append(rest)


Acts = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "say", "end", "read"]),
        st.integers(1, 3),
        st.text("ab\n", min_size=1, max_size=12),
    ),
    max_size=50,
)


@settings(deadline=None)
@given(Acts, st.integers(1, 4), st.booleans())
def test_every_line_is_read_once_by_whoever_remembers_and_by_whoever_does_not(
    acts: list[tuple[str, int, str]], count: int, remembers: bool
) -> None:
    service = Service()
    partials: Partials = {}
    found: list[str] = []
    cursor = 0

    def take(count: int) -> None:
        nonlocal cursor
        known = partials if remembers else {}
        lines, cursor, missed = read(service.ring, cursor, count, known)
        found.extend(texts(lines))
        assert missed == 0
        assert len(lines) <= count

    for act, stream, text in acts:
        match act:
            case "write":
                service.write(stream, text)
            case "say":
                service.say(text.replace("\n", " "))
            case "end":
                service.end(stream)
            case "read":
                take(count)
    while cursor < service.ring.seq:
        take(count)
    assert found == service.lines
    assert texts(tail(service.ring, count, 0, ALL)) == service.lines[-count:]
    os.close(service.ring.descriptor)


def test_whoever_falls_behind_the_ring_is_told_how_much_is_gone() -> None:
    service = Service()
    for number in range(400):
        service.write(1, f"{number:04}\n")
        service.ring.compact(2000)
    lines, cursor, missed = read(service.ring, 50, ALL, {1: b"stale"})
    assert missed == service.ring.dropped - 50
    assert cursor == service.ring.seq == 2000
    assert texts(lines) == service.lines[-len(lines) :]
    assert len(lines) * 5 == 2000 - service.ring.dropped
    assert read(service.ring, cursor, ALL, {}) == ([], cursor, 0)
    os.close(service.ring.descriptor)


def test_a_cursor_of_another_ring_reads_from_the_start() -> None:
    service = Service()
    service.write(1, "one\n")
    assert texts(read(service.ring, 900, ALL, {})[0]) == ["one"]
    os.close(service.ring.descriptor)


def test_a_batch_is_bounded_in_bytes() -> None:
    service = Service()
    for _ in range(20):
        service.write(1, "x" * 7999 + "\n")
    lines, cursor, _ = read(service.ring, 0, ALL, {})
    assert (len(lines), cursor) == (9, 72000)
    os.close(service.ring.descriptor)
