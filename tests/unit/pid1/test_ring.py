"""The ring: whatever happens at whatever step, each byte is found once and in order."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainit.pid1 import ring
from ainit.pid1.journal import Forgetful
from ainit.pid1.ring import AINIT, BEGIN, END, FIRST, OVERHEAD, Ring

CALLS = ("pwrite", "splice", "ftruncate", "lseek", "pread", "memfd_create", "dup2", "close")


class Fault(BaseException):
    """What nobody expects."""


class Calls:
    """The ring's ``os``: counts system calls, and faults before or after one of them."""

    def __init__(
        self, at: int = -1, *, after: bool = False, error: Exception | None = None
    ) -> None:
        self.at = at
        self.after = after
        self.error = error
        self.count = 0

    def __getattr__(self, name: str) -> object:
        function = getattr(os, name)
        if name not in CALLS:
            return function

        def call(*arguments: object, **named: object) -> object:
            self.count += 1
            if self.count == self.at and not self.after:
                raise self.error or Fault(name)
            result = function(*arguments, **named)
            if self.count == self.at:
                raise self.error or Fault(name)
            return result

        return call


@contextmanager
def calls(made: Calls) -> Iterator[Calls]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "os", made)
        yield made


def make() -> Ring:
    return Ring.make("u", Forgetful())


def content(kept: Ring) -> bytes:
    """Every byte that is kept."""
    return b"".join(chunk[4] for chunk in reversed(list(kept.back())))


def drain(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 20)
    except BlockingIOError:
        return b""


@contextmanager
def piped(data: bytes = b"") -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.write(writer, data)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def every_fault(
    act: Callable[[], None], reset: Callable[[], None], verify: Callable[[], None]
) -> int:
    """Run ``act`` with a fault before and after each of its system calls; how many there are."""
    with calls(Calls()) as free:
        reset()
        free.count = 0
        act()
        total = free.count
    for at in range(1, total + 1):
        for after in (False, True):
            reset()
            with calls(Calls(at, after=after)), pytest.raises(Fault):
                act()
            verify()
    return total


def test_a_fault_at_any_step_of_a_move_loses_and_repeats_nothing() -> None:
    with piped() as (reader, writer):
        state: dict[str, Ring] = {}

        def reset() -> None:
            drain(reader)
            kept = make()
            kept.write(AINIT, 0, b"starting\n", 1)
            os.write(writer, b"one\ntwo")
            state["ring"] = kept

        def act() -> None:
            state["ring"].move(reader, BEGIN, 2)

        def verify() -> None:
            taken = Ring("u", os.dup(state["ring"].descriptor))
            os.close(state["ring"].descriptor)
            assert content(taken) + drain(reader) == b"starting\none\ntwo"
            os.write(writer, b"three")
            taken.move(reader, 0, 3)
            again = Ring("u", taken.descriptor)
            assert content(again).endswith(b"three")
            assert again.seq == len(content(again)) == taken.seq
            os.close(taken.descriptor)

        assert every_fault(act, reset, verify) >= 4


def test_a_fault_at_any_step_leaves_the_ring_of_this_process_usable_too() -> None:
    with piped() as (reader, writer):
        state: dict[str, Ring] = {}

        def reset() -> None:
            drain(reader)
            state["ring"] = make()
            os.write(writer, b"one\n")

        def verify() -> None:
            kept = state["ring"]
            os.write(writer, b"two\n")
            kept.move(reader, 0, 2)
            assert content(kept).endswith(b"two\n")
            assert content(kept).count(b"one\n") == 1
            os.close(kept.descriptor)

        every_fault(lambda: void(state["ring"].move(reader, BEGIN, 1)), reset, verify)


def void(_: object) -> None:
    """Nothing."""


def test_a_fault_at_any_step_of_a_compaction_leaves_the_old_or_the_new_ring() -> None:
    lines = [f"line {number}\n".encode() for number in range(60)]
    state: dict[str, Ring] = {}
    whole = b"".join(lines)

    def reset() -> None:
        kept = make()
        for line in lines:
            kept.write(0, 7, line, 1)
        state["ring"] = kept

    def verify() -> None:
        for kept in (Ring("u", state["ring"].descriptor), state["ring"]):
            found = content(kept)
            assert whole.endswith(found)
            assert kept.seq == len(whole)
            assert kept.dropped == len(whole) - len(found)
            assert found.startswith(b"line ")
        os.close(state["ring"].descriptor)

    assert every_fault(lambda: state["ring"].compact(1500), reset, verify) >= 5


@pytest.mark.parametrize("size", range(OVERHEAD + 8))
def test_words_cut_short_at_any_byte_are_what_was_written_of_them(size: int) -> None:
    kept = make()
    kept.write(AINIT, 0, b"before\n", 1)
    end = kept.size
    kept.write(AINIT, 0, b"behind\n", 2)
    os.ftruncate(kept.descriptor, end + size)
    again = Ring("u", kept.descriptor)
    assert content(again) == b"before\n" + b"behind\n"[: max(size - OVERHEAD, 0)]
    again.write(AINIT, 0, b"on\n", 3)
    assert content(again).endswith(b"on\n")
    os.close(kept.descriptor)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC, errno.EINTR])
def test_without_memory_the_bytes_stay_in_the_pipe(number: int) -> None:
    with piped(b"one\n") as (reader, _):
        kept = make()
        kept.write(AINIT, 0, b"starting\n", 1)
        for at in (2, 3):
            error = OSError(number, os.strerror(number))
            with calls(Calls(at, error=error)), pytest.raises(OSError, match=os.strerror(number)):
                kept.move(reader, BEGIN, 2)
        assert content(kept) == b"starting\n"
        assert kept.move(reader, BEGIN, 3) == 4
        assert content(kept) == b"starting\none\n"
        os.close(kept.descriptor)


def test_an_empty_pipe_and_its_end_leave_the_ring_as_it_was() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    kept = make()
    with pytest.raises(BlockingIOError):
        kept.move(reader, BEGIN, 1)
    assert kept.seq == 0
    os.close(writer)
    assert kept.move(reader, BEGIN, 1) == 0
    assert (kept.seq, kept.size, content(kept)) == (0, FIRST, b"")
    os.close(reader)
    os.close(kept.descriptor)


def test_reads_that_come_in_pieces_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, real = make(), os.pread
    for text in (b"one\n", b"two\n"):
        kept.write(AINIT, 0, text, 1)
    monkeypatch.setattr(os, "pread", lambda fd, count, place: real(fd, min(count, 5), place))
    assert content(Ring("u", kept.descriptor)) == b"one\ntwo\n"
    monkeypatch.undo()
    assert content(kept) == b"one\ntwo\n"
    os.close(kept.descriptor)


def test_a_long_ring_is_taken_up_without_walking_it_all() -> None:
    kept = make()
    for number in range(3000):
        kept.write(AINIT, 0, b"x" * 20 + b"\n", number)
    with calls(Calls()) as counted:
        assert Ring("u", kept.descriptor).seq == 63000
        assert counted.count < 600
    os.close(kept.descriptor)


def test_a_chunk_larger_than_the_limit_is_cut_behind_a_line() -> None:
    kept = make()
    with piped(b"0123456789\n" * 1000) as (reader, _):
        kept.move(reader, BEGIN, 1)
    kept.compact(4000)
    found = content(kept)
    assert kept.size <= 2100
    assert found == b"0123456789\n" * (len(found) // 11)
    assert (kept.dropped, kept.seq) == (11000 - len(found), 11000)
    assert Ring("u", kept.descriptor).seq == 11000
    os.close(kept.descriptor)


Steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "say", "end", "again"]), st.integers(1, 120), st.integers(0, 2)
    ),
    max_size=60,
)


@settings(deadline=None)
@given(Steps, st.integers(200, 1500), st.integers(0, 40), st.booleans())
def test_it_behaves_as_a_list_of_bytes_does(
    steps: list[tuple[str, int, int]], limit: int, fault: int, after: bool
) -> None:
    """Any sequence of moves, words and ends, compacted all along, with one fault anywhere."""
    kept, model, begun = make(), bytearray(), 0
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(3)]
    owed = [b"", b"", b""]
    with calls(Calls(fault, after=after)) as made:
        for step, size, which in steps:
            letters = bytes(97 + (begun + index) % 26 for index in range(size - 1))
            data = letters.replace(b"g", b"\n").replace(b"t", b"\n") + b"\n"
            begun += size
            reader, writer = pipes[which]
            before, made.at = len(model), fault
            if step == "write":
                os.write(writer, data)
                owed[which] += data
            expected = {"write": owed[which], "say": data, "end": b"\n", "again": b""}[step]
            try:
                match step:
                    case "write":
                        kept.move(reader, 0, begun)
                    case "say":
                        kept.write(AINIT, 0, data, begun)
                    case "end":
                        kept.write(END, reader, b"\n", begun)
                    case "again":
                        kept = Ring("u", kept.descriptor)
                kept.compact(limit)
                gained = len(expected)
            except Fault:
                kept = Ring("u", kept.descriptor)
                made.at = -1
                gained = kept.seq - before
                assert gained in (0, len(expected))
            made.at = -1
            model += expected[:gained]
            if step == "write" and gained:
                owed[which] = b""
            found = content(kept)
            assert kept.seq == len(model)
            assert bytes(model).endswith(found)
            assert kept.dropped == len(model) - len(found)
            assert kept.size <= max(limit, 200) + 1000
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)
    os.close(kept.descriptor)
