"""Journals for tests: one in memory that survives a supervisor, and real ones at any descriptor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ainit.linux.libc import SharedInteger
from ainit.pid1.journal import Journal
from ainit.wire.codec import dumps, loads


class Cell(SharedInteger):
    """Shared with nobody."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = self.address = 0


class Notebook(Journal):
    """A journal whose ``records`` are texts in a list. ``hook`` is called before and after each is
    written; a test raises there.
    """

    def __init__(self, hook: Callable[[], None] = lambda: None) -> None:
        super().__init__(-1)
        self.cell, self.hearing = Cell(), Cell()
        self.records: list[str] = []
        self._hook = hook

    def _append(self, record: object) -> None:
        self._hook()
        self.records.append(dumps(record))
        self._hook()

    def keep(self, descriptor: int, role: tuple[str, ...]) -> None:
        """As the real one; the descriptor stays what it is."""
        self._append(["k", descriptor, role])
        self.kept[descriptor] = role

    def compact_if_long(self, units: object, *, busy: bool = False) -> bool:
        """Never."""
        return False

    def reopened(self, count: int | None = None) -> Notebook:
        """What a PID 1 that takes over finds: the first ``count`` records, or all of them."""
        again = Notebook(self._hook)
        again.cell, again.hearing = self.cell, self.hearing
        again.records = self.records[:count]
        for text in again.records:
            again._take(loads(text))
        return again


@contextmanager
def real_journal() -> Iterator[Journal]:
    """A journal in a memfd, at a number that was free."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    journal = Journal.create(descriptor)
    try:
        yield journal
    finally:
        for number in (*journal.kept, descriptor):
            try:
                os.close(number)
            except OSError:
                pass  # the test did
