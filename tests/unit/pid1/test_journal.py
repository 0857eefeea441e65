"""The journal: what it says survives its writer, cut anywhere, and however long it grew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from ainit.errors import AinosError, JournalError
from ainit.linux import files
from ainit.pid1.journal import Forgetful, Journal
from ainit.policy.plan import Record
from ainit.wire.codec import dumps
from tests.support.notebook import real_journal

HEADER_BYTES = 16


@pytest.fixture
def journal() -> Iterator[Journal]:
    with real_journal() as made:
        yield made


def read_again(journal: Journal) -> Journal:
    found = Journal.resume(journal._descriptor)
    assert found is not None
    return found


def said(journal: Journal) -> tuple[object, ...]:
    return journal.units, journal.values, journal.kept, journal.intent


def fill(journal: Journal) -> None:
    """One of everything that a journal can say."""
    journal.put("facts", {"started": 1.5, "problems": ["none \u00e4"]})
    journal.unit({"name": "a", "state": "ready", "pid": 7})
    journal.intend({"name": "b", "state": "starting", "todo": ["spawn"]})
    journal.unit({"name": "b", "state": "ready", "pid": 8})
    journal.put("facts", None)
    journal.intend({"name": "c", "state": "starting", "todo": ["spawn"]})


def bytes_of(journal: Journal) -> bytes:
    size = os.fstat(journal._descriptor).st_size
    return os.pread(journal._descriptor, size, 0)


def test_what_was_said_is_known(journal: Journal) -> None:
    fill(journal)
    again = read_again(journal)
    assert again.values == {"facts": None}
    assert again.units == {
        "a": {"name": "a", "state": "ready", "pid": 7},
        "b": {"name": "b", "state": "ready", "pid": 8},
        "c": {"name": "c", "state": "starting", "todo": ["spawn"]},
    }
    assert again.intent == "c"


def test_it_goes_on_where_it_ended(journal: Journal) -> None:
    fill(journal)
    again = read_again(journal)
    again.unit({"name": "c", "state": "ready", "pid": 9})
    third = read_again(journal)
    assert (third.units["c"]["pid"], third.intent) == (9, "")


def test_another_units_record_leaves_the_intent_standing(journal: Journal) -> None:
    journal.intend({"name": "a"})
    journal.unit({"name": "b"})
    assert read_again(journal).intent == "a"


def test_a_new_intent_empties_the_cell(journal: Journal) -> None:
    journal.intend({"name": "a"})
    journal.cell.value = 4711
    assert read_again(journal).cell.value == 4711
    journal.intend({"name": "b"})
    assert read_again(journal).cell.value == 0


def test_a_journal_cut_at_any_byte_says_what_was_whole(journal: Journal) -> None:
    states: list[tuple[int, tuple[object, ...]]] = []

    def note() -> None:
        again = read_again(journal)
        states.append((len(bytes_of(journal)), said(again)))

    note()
    steps: list[Callable[[], None]] = [
        lambda: journal.put("key", "value"),
        lambda: journal.unit({"name": "a", "state": "ready"}),
        lambda: journal.intend({"name": "b", "state": "starting"}),
        lambda: journal.unit({"name": "b", "state": "ready"}),
        lambda: journal.put("key", [1, 2.5, None, "\u2028"]),
    ]
    for step in steps:
        step()
        note()
    whole = bytes_of(journal)
    for length in range(states[0][0], len(whole) + 1):
        os.ftruncate(journal._descriptor, length)
        expected = next(state for size, state in reversed(states) if size <= length)
        cut = read_again(journal)
        assert said(cut) == expected
        cut.put("after", length)  # the torn rest does not swallow what follows
        assert read_again(journal).values["after"] == length
        os.ftruncate(journal._descriptor, 0)
        os.pwrite(journal._descriptor, whole, 0)


def test_a_record_of_zeros_is_the_end(journal: Journal) -> None:
    journal.put("key", 1)
    size = len(bytes_of(journal))
    os.pwrite(journal._descriptor, bytes(64), size)
    assert read_again(journal).values == {"key": 1}
    assert len(bytes_of(journal)) == size


def test_a_compacted_journal_says_the_same(journal: Journal) -> None:
    fill(journal)
    journal.unit({"name": "c", "state": "ready", "pid": 9})
    before = read_again(journal)
    journal.put("many", "x" * 5000)
    journal.put("many", "y")
    long = len(bytes_of(journal))
    journal.compact(before.units.values())
    after = read_again(journal)
    assert (after.units, after.kept, after.intent) == (before.units, before.kept, "")
    assert after.values == {"facts": None, "many": "y"}
    assert len(bytes_of(journal)) < long
    journal.put("more", 1)
    assert read_again(journal).values["more"] == 1


def test_what_was_put_is_discarded_together(journal: Journal) -> None:
    for key in ("one", "other", "third"):
        journal.put(key, 1)
    journal.discard("one", "other", "never")
    assert journal.values == {"third": 1}
    assert said(read_again(journal)) == said(journal)


def test_compaction_waits_for_length_and_then_comes_once(journal: Journal) -> None:
    units: list[Record] = [{"name": "a", "state": "ready"}]
    assert not journal.compact_if_long(lambda: units)
    for _ in range(20):
        journal.put("key", "x" * 60_000)
    assert journal.compact_if_long(lambda: units)
    assert not journal.compact_if_long(lambda: units)
    assert len(bytes_of(journal)) < 70_000
    assert read_again(journal).units == {"a": units[0]}


def test_compaction_waits_longer_while_pid_1_is_busy(journal: Journal) -> None:
    while len(bytes_of(journal)) < 3 << 20:
        journal.put("key", "x" * 60_000)
    assert not journal.compact_if_long(list, busy=True)
    while len(bytes_of(journal)) < 5 << 20:
        journal.put("key", "x" * 60_000)
    assert journal.compact_if_long(list, busy=True)


def test_what_is_large_by_itself_is_not_compacted_all_the_time(journal: Journal) -> None:
    journal.put("large", "x" * (1 << 20))
    assert journal.compact_if_long(list)
    journal.put("small", 1)
    assert not journal.compact_if_long(list)


def test_a_compaction_that_fails_changes_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    before = bytes_of(journal)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        journal.compact([{"name": "a"}])
    assert bytes_of(journal) == before
    journal.put("after", 1)
    assert read_again(journal).values["after"] == 1


def test_an_error_behind_the_switch_of_a_compaction_loses_nothing_said_afterwards(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(files, "close", fails)
        journal.compact([{"name": "a", "state": "ready"}])
    journal.unit({"name": "a", "state": "starting"})
    assert read_again(journal).units == {"a": {"name": "a", "state": "starting"}}


def test_a_record_that_is_not_written_as_a_whole_is_an_error(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.put("key", 1)
    write = os.pwrite
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:-1], at))
        with pytest.raises(JournalError, match="as a whole"):
            journal.put("key", 2)
    assert read_again(journal).values == {"key": 1}
    journal.put("key", 3)
    assert read_again(journal).values == {"key": 3}


def test_a_journal_that_cannot_be_read_now_is_not_taken_for_none(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", fails)
        with pytest.raises(OSError, match="allocate"):
            read_again(journal)


def test_a_journal_is_read_to_its_end_in_whatever_pieces(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    before = read_again(journal)
    read = os.pread
    with monkeypatch.context() as slow:
        slow.setattr(os, "pread", lambda fd, count, at: read(fd, min(count, 16), at))
        again = read_again(journal)
    assert (again.units, again.values, again.kept) == (before.units, before.values, before.kept)


def test_descriptors_are_kept_by_role_until_they_are_dropped(journal: Journal) -> None:
    reader, writer = os.pipe()
    try:
        assert not os.get_inheritable(reader)
        journal.keep(reader, ("pipe", "store"))
        journal.keep(writer, ("pipe", "gpu"))
        assert os.get_inheritable(reader)
        again = read_again(journal)
        assert again.of("pipe") == {("pipe", "store"): reader, ("pipe", "gpu"): writer}
        assert again.of("pipe", "gpu") == {("pipe", "gpu"): writer}
        assert again.of("listener") == {}
        journal.drop(reader)
        journal.drop(reader)
        journal.drop(987)
        assert read_again(journal).of("pipe") == {("pipe", "gpu"): writer}
        journal.compact([])
        assert read_again(journal).of("pipe") == {("pipe", "gpu"): writer}
    finally:
        os.close(reader)
        os.close(writer)


def test_the_journal_and_its_cell_survive_exec_and_nothing_else_does(journal: Journal) -> None:
    assert os.get_inheritable(journal._descriptor)
    assert all(os.get_inheritable(number) for number in journal.kept)
    journal.compact([])
    assert os.get_inheritable(journal._descriptor)


def test_what_a_fault_left_open_is_closed(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, left = os.pipe()
    closed: list[int] = []
    journal.keep(kept, ("pipe", "a"))
    with monkeypatch.context() as watched:
        watched.setattr(os, "close", closed.append)
        journal.close_others()
    assert left in closed
    assert not {0, 1, 2, kept, journal._descriptor, *journal.kept} & set(closed)
    os.close(kept)
    os.close(left)


def test_what_was_closed_before_it_was_said_is_kept_no_longer(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, closed = os.dup(0), os.dup(0)
    journal.keep(kept, ("pipe", "a"))
    journal.keep(closed, ("pipe", "b"))
    os.close(closed)
    again = read_again(journal)
    assert closed in again.kept
    with monkeypatch.context() as watched:
        watched.setattr(os, "close", lambda number: None)
        again.close_others()
    assert kept in again.kept
    assert closed not in again.kept
    assert said(read_again(journal)) == said(again)
    os.close(kept)


def test_a_descriptor_that_is_not_open_is_no_journal() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)
    assert Journal.resume(descriptor) is None


def test_a_journal_whose_writer_failed_at_once_is_none(journal: Journal) -> None:
    (cell,) = journal.kept
    journal.drop(cell)
    os.close(cell)
    assert Journal.resume(journal._descriptor) is None


@pytest.mark.parametrize("header", [b"", b"AINITJ", b"AINITJ02" + bytes(8), b"x" * 16])
def test_an_unknown_form_is_refused(header: bytes) -> None:
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, header)
        with pytest.raises(AinosError, match="unknown form"):
            Journal.resume(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("record", [[], ["x", 1], ["u"], ["u", 3], {"a": 1}, None, ["k", "x", 3]])
def test_a_record_of_another_version_is_passed_over(journal: Journal, record: object) -> None:
    before = said(read_again(journal))
    text = dumps(record).encode()
    end = len(bytes_of(journal))
    os.pwrite(journal._descriptor, len(text).to_bytes(4, "little") + text, end)
    again = read_again(journal)
    assert said(again) == before
    again.put("key", 1)
    assert read_again(journal).values == {"key": 1}


def test_a_part_by_itself_keeps_nothing() -> None:
    Forgetful().keep(0, ("pipe", "a"))
    assert os.get_inheritable(0) == os.get_inheritable(1)
    Forgetful().drop(0)
