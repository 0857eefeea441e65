"""The rings: bounded, counted, and complete as far as they reach."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from ainit.constants import LOG_LINE_BYTES
from ainit.pid1.logs import Line, Logs, Ring
from ainit.pid1.loop import Loop


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


@given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"))), st.data())
def test_lines_arrive_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    ring, found = Ring("u"), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += ring.feed(stream[:size], 1.0)
        stream = stream[size:]
    assert texts(found) == lines
    assert ring.flush(1.0) == []


def test_a_partial_line_waits_for_its_end() -> None:
    ring = Ring("u")
    assert texts(ring.feed(b"one\ntw", 1.0)) == ["one"]
    assert texts(ring.feed(b"o", 2.0)) == []
    assert texts(ring.feed(b"\nthree", 3.0)) == ["two"]
    assert texts(ring.flush(4.0)) == ["three"]
    assert [(line.text, line.time) for line in ring.lines] == [("one", 1), ("two", 3), ("three", 4)]


def test_what_is_no_utf_8_is_shown_as_such() -> None:
    assert texts(Ring("u").feed(b"\xffa\xc3\n", 1.0)) == ["\ufffda\ufffd"]


def test_an_overlong_line_is_cut_and_counted() -> None:
    ring = Ring("u")
    (line,) = ring.feed(b"x" * (LOG_LINE_BYTES + 7) + b"\n", 1.0)
    assert len(line.text) == LOG_LINE_BYTES
    assert ring.dropped == 7


def test_a_line_without_end_is_not_kept_waiting_for_ever() -> None:
    ring = Ring("u")
    for _ in range(1000):
        ring.feed(b"x" * 1000, 1.0)
    assert sum(len(line.text) for line in ring.lines) + ring.dropped <= 1_000_000
    assert sum(len(line.text) for line in ring.lines) <= 256 * 1024


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_the_limit_holds_and_nothing_vanishes_uncounted(sizes: list[int]) -> None:
    ring = Ring("u", limit=1000)
    for size in sizes:
        ring.feed(b"x" * size + b"\n", 1.0)
        assert sum(len(line.text) + 64 for line in ring.lines) <= 1000
    assert sum(len(line.text) for line in ring.lines) + ring.dropped == sum(sizes)


def test_the_newest_lines_are_kept() -> None:
    ring = Ring("u", limit=300)
    for number in range(100):
        ring.feed(f"{number}\n".encode(), 1.0)
    assert [line.text for line in ring.lines] == ["96", "97", "98", "99"]


def test_what_a_service_writes_is_read_and_its_last_line_too() -> None:
    loop = Loop()
    logs = Logs(loop)
    followed: list[str] = []
    logs.followers.append(lambda lines: followed.extend(texts(lines)))
    writer = logs.pipe("u")
    os.write(writer, b"one\ntwo")
    loop.turn()
    assert followed == ["one"]
    os.close(writer)
    loop.turn()
    assert followed == ["one", "two"]
    assert loop.faults == 0


def test_two_incarnations_may_write_at_once() -> None:
    loop = Loop()
    logs = Logs(loop)
    old, new = logs.pipe("u"), logs.pipe("u")
    os.write(old, b"old\n")
    os.write(new, b"new\n")
    loop.turn()
    os.close(old)
    os.write(new, b"newer\n")
    loop.turn()
    os.close(new)
    loop.turn()
    lines, dropped = logs.select("u", 10)
    assert sorted(texts(lines)) == ["new", "newer", "old"]
    assert dropped == 0


def test_the_last_lines_of_one_unit_or_of_all_in_order_of_time() -> None:
    logs = Logs(Loop())
    for unit, number in (("a", 1), ("b", 2), ("a", 3)):
        logs.ring(unit).feed(f"{unit}{number}\n".encode(), float(number))
    found = [texts(logs.select(None, count)[0]) for count in (0, 2, 9)]
    assert found == [[], ["b2", "a3"], ["a1", "b2", "a3"]]
    assert [texts(logs.select("a", count)[0]) for count in (1, 9)] == [["a3"], ["a1", "a3"]]
    assert logs.select("silent", 9) == ([], 0)
