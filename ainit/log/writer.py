"""Leads PID 1's replies into the files: batched, with a deadline for the disk, whatever fails.

A disk that is full or broken costs lines, never the service: what is lost is counted, said once,
and noted in the file when there is room again. One that blocks holds up this process alone; PID 1
drops the oldest bytes meanwhile and says how many.

>>> writer = Writer(files, {}, say=print, now=time.monotonic)        # doctest: +SKIP
>>> writer.take({"lines": [...], "cursors": {"gpu": 18}})            # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .files import Files

SYNC_SECONDS = 5.0  # the most that a power cut costs
CRITICAL = 2  # as urgent, or more so: to the disk at once
_WARNING = 4

Record = dict[str, object]


class Writer:
    """``cursors`` is where each unit is; ``lost`` counts lines that could not be written,
    ``missed`` bytes that came too fast; ``problem`` says what is wrong with the disk now.
    """

    def __init__(
        self,
        files: Files,
        cursors: dict[str, int],
        *,
        say: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._say = say
        self._now = now
        self._sync_at: float | None = None
        self._owed: dict[str, int] = {}
        self.cursors = cursors
        self.lost = 0
        self.missed = 0
        self.problem = ""

    def wait(self) -> float | None:
        """Seconds until ``tick`` must be called; None when it need not be."""
        return None if self._sync_at is None else max(self._sync_at - self._now(), 0.0)

    def take(self, reply: Mapping[str, object]) -> None:
        """Write what one reply of ``Logs`` brought."""
        lines, cursors, missed = (reply.get(key) for key in ("lines", "cursors", "missed"))
        by_unit: dict[str, list[Record]] = {}
        for line in lines if isinstance(lines, list) else ():
            by_unit.setdefault(line["unit"], []).append(line)
        for unit, size in missed.items() if isinstance(missed, dict) else ():
            self.missed += size
            records = by_unit.setdefault(unit, [])
            note = f"{size} bytes are missing here: they came faster than they could be written"
            records.insert(0, _note(note, records))
        urgent = False
        for unit, records in by_unit.items():
            cursor = cursors.get(unit) if isinstance(cursors, dict) else None
            if isinstance(cursor, int):
                self._append(unit, records, cursor)
                urgent = urgent or any(_is_urgent(record) for record in records)
        if not self._files.is_synced and self._sync_at is None:
            self._sync_at = self._now() + SYNC_SECONDS
        if urgent:
            self.sync()
        else:
            self.tick()

    def tick(self) -> None:
        """Bring to the disk what is due."""
        if self._sync_at is not None and self._now() >= self._sync_at:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk."""
        self._sync_at = None
        try:
            self._files.sync()
        except OSError as error:
            self._fail(error)

    def _append(self, unit: str, records: list[Record], cursor: int) -> None:
        owed = self._owed.get(unit, 0)
        if owed:
            note = f"{owed} lines were lost here: they could not be written"
            records = [_note(note, records), *records]
        try:
            self._files.append(unit, records, cursor)
        except (OSError, ValueError) as error:
            count = len(records) - (1 if owed else 0)
            self._owed[unit] = owed + count
            self.lost += count
            self._fail(error)
        else:
            self._owed.pop(unit, None)
            if self.problem:
                self.problem = ""
                self._say(f"<5>the logs are written again; {self.lost} lines were lost in all")
        self.cursors[unit] = cursor

    def _fail(self, error: Exception) -> None:
        if not self.problem:
            self._say(f"<3>the logs cannot be written, lines are lost: {error}")
        self.problem = str(error)


def _note(text: str, before: list[Record]) -> Record:
    """What the service itself has to say, with the time of the lines that it stands before."""
    return {
        "time": before[0].get("time", 0.0) if before else 0.0,
        "text": text,
        "priority": _WARNING,
        "source": "log",
        "fields": None,
    }


def _is_urgent(record: Record) -> bool:
    priority = record.get("priority")
    return isinstance(priority, int) and priority <= CRITICAL
