"""What PID 1 would lose if it died, kept in a memfd that survives exec(2) in place.

Append-only: a record is in the file before what it announces is done, so a PID 1 that takes over
from a faulty one knows everything that the faulty one knew, at whatever line that was. A record is
a length and a JSON array::

    ["u", STATE]      the whole state of a unit, with the actions that follow from it
    ["i", STATE]      the same, and the next process that is forked is this unit's
    ["v", KEY, VALUE] anything else, by key
    ["x", KEY...]     and no longer
    ["k", DESCRIPTOR, ROLE]   a descriptor that PID 1 keeps over exec, and what it is for
    ["d", DESCRIPTOR] and no longer

Beside it lies the *cell*: four bytes of shared memory, into which the kernel itself writes the pid
of a new process (clone3(2), CLONE_PARENT_SETTID), before that process runs. So between the fork and
PID 1's next line nothing can be forgotten. Four bytes more, ``hearing``, count how often PID 1
began to act upon the message that it acts upon. Leaves out what the records mean.
"""

from __future__ import annotations

import errno
import os

from ..errors import AinosError, JournalError
from ..linux import files, libc
from ..wire.codec import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..policy.plan import Record

JOURNAL_FD = 9
_HEADER = b"AINITJ01"  # the form of what follows
_HEADER_BYTES = len(_HEADER)
_CELL = ("cell",)
_CELL_BYTES = 8
_COMPACT_BYTES, _BUSY_FACTOR = 1 << 20, 4

Role = tuple[str, ...]


class Journal:
    """The journal on its descriptor. ``units``, ``values`` and ``kept`` are what it says so far;
    ``intent`` names the unit whose process was about to be forked, or is empty.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = _HEADER_BYTES
        self._compact_at = _COMPACT_BYTES
        self.cell: libc.SharedInteger
        self.hearing: libc.SharedInteger
        self.units: dict[str, Record] = {}
        self.values: dict[str, object] = {}
        self.kept: dict[int, Role] = {}
        self.intent = ""

    @classmethod
    def create(cls, descriptor: int = JOURNAL_FD) -> Journal:
        """An empty journal. Raises OSError."""
        _fresh(descriptor)
        journal = cls(descriptor)
        cell = os.memfd_create("ainit-cell", os.MFD_CLOEXEC)
        os.ftruncate(cell, _CELL_BYTES)
        journal.keep(cell, _CELL)
        journal._share(cell)
        return journal

    @classmethod
    def resume(cls, descriptor: int = JOURNAL_FD) -> Journal | None:
        """The journal that a former PID 1 left, read; None when there is none.

        Raises AinosError when what is there is no journal of a known form.
        """
        try:
            header = os.pread(descriptor, _HEADER_BYTES, 0)
        except OSError as error:
            if error.errno == errno.EBADF:
                return None
            raise  # there is one: nothing may be begun anew
        if header != _HEADER:
            raise AinosError("the journal of the former PID 1 has an unknown form")
        journal = cls(descriptor)
        try:
            journal._read()
        except (KeyError, ValueError) as error:
            raise AinosError(f"the journal of the former PID 1 is damaged: {error}") from error
        cell = journal.of(*_CELL).get(_CELL)
        if cell is None:
            return None  # its writer failed before it had begun
        try:
            journal._share(cell)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EACCES, errno.ENODEV):
                raise
            raise AinosError(f"the journal of the former PID 1 has no cell: {error}") from error
        return journal

    def _share(self, cell: int) -> None:
        self.cell = libc.SharedInteger(cell)
        self.hearing = libc.SharedInteger(cell, 4)

    def unit(self, record: Record) -> None:
        """The state of a unit has changed to this."""
        self._append(["u", record])

    def intend(self, record: Record) -> None:
        """The same, and its process is about to be forked with ``cell`` for its pid."""
        self.cell.value = 0
        self._append(["i", record])

    def put(self, key: str, value: object) -> None:
        """Remember ``value`` under ``key``."""
        self._append(["v", key, value])
        self.values[key] = value

    def discard(self, *keys: str) -> None:
        """Remember no more what is under ``keys``: all of it, or after a fault none."""
        self._append(["x", *keys])
        for key in keys:
            self.values.pop(key, None)

    def under(self, prefix: str) -> Record:
        """The values whose keys begin with ``prefix``, by the rest of the key."""
        size = len(prefix)
        return {key[size:]: value for key, value in self.values.items() if key.startswith(prefix)}

    def writer(self, prefix: str) -> Callable[[str, Record], None]:
        """A function that remembers records for ``under``."""
        return lambda name, record: self.put(prefix + name, record)

    def keep(self, descriptor: int, role: Role) -> None:
        """Keep ``descriptor`` over exec, for ``role``. Forked children close it by themselves."""
        try:
            os.set_inheritable(descriptor, True)
        except OSError as error:
            raise JournalError(f"a descriptor cannot be kept: {error}") from error
        try:
            self._append(["k", descriptor, role])
        except BaseException:
            os.set_inheritable(descriptor, False)  # nobody would know of it
            raise
        self.kept[descriptor] = role

    def drop(self, descriptor: int) -> None:
        """No longer; the caller closes it."""
        if descriptor in self.kept:
            self._append(["d", descriptor])
            del self.kept[descriptor]

    def compact_if_long(self, units: Callable[[], Iterable[Record]], *, busy: bool = False) -> bool:
        """Begin anew with ``units`` and what else is known, when the journal has grown long; or,
        while PID 1 is ``busy``, very long.
        """
        if self._end < self._compact_at * (_BUSY_FACTOR if busy else 1):
            return False
        self.compact(units())
        return True

    def compact(self, units: Iterable[Record]) -> None:
        """Replace the journal by one that says the same. Atomic: dup2(2) is the switch. Without
        room for that, it goes on as it is.
        """
        try:
            self._compact(units)
        except (OSError, JournalError):
            self._end = os.fstat(self._descriptor).st_size  # of the old one, or already the new one
            self._compact_at = 2 * self._end

    def _compact(self, units: Iterable[Record]) -> None:
        records = [_framed(["u", record]) for record in units]
        records += [_framed(["v", key, value]) for key, value in self.values.items()]
        records += [_framed(["k", number, role]) for number, role in self.kept.items()]
        data = b"".join(records)
        new = _fresh(-1)
        try:
            _write(new, data, _HEADER_BYTES)
            os.dup2(new, self._descriptor, inheritable=True)
        finally:
            files.close([new])  # which must not look as if the journal were still the old one
        self._end = _HEADER_BYTES + len(data)
        self._compact_at = max(_COMPACT_BYTES, 4 * self._end)

    def close_others(self) -> None:
        """Close every descriptor that is neither kept nor the journal: what a fault left open. What
        is not open is kept no longer: a fault came before it was said that it would be closed.
        """
        for number in [number for number in self.kept if not _is_open(number)]:
            self.drop(number)
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            if number > 2 and number != self._descriptor and number not in self.kept:
                try:
                    os.close(number)
                except OSError:
                    pass  # the descriptor of the listing itself

    def of(self, *prefix: str) -> dict[Role, int]:
        """The kept descriptors whose role begins with ``prefix``: role → descriptor."""
        size = len(prefix)
        return {role: number for number, role in self.kept.items() if role[:size] == prefix}

    def _append(self, record: object) -> None:
        data = _framed(record)
        _write(self._descriptor, data, self._end)
        self._end += len(data)

    def _read(self) -> None:
        size = os.fstat(self._descriptor).st_size
        data = _content(self._descriptor, size)
        position = 0
        while position + 4 <= len(data):
            length = int.from_bytes(data[position : position + 4], "little")
            text = data[position + 4 : position + 4 + length]
            if not length or len(text) < length:
                break  # the last record, cut short by a fault: what it announced was not done
            self._take(loads(text))
            position += 4 + length
        self._end = _HEADER_BYTES + position
        os.ftruncate(self._descriptor, self._end)

    def _take(self, record: object) -> None:
        match record:
            case ["u" | "i" as kind, dict(state)]:
                name = str(state["name"])
                self.units[name] = state
                if kind == "i":
                    self.intent = name
                elif self.intent == name:
                    self.intent = ""
            case ["v", str(key), value]:
                self.values[key] = value
            case ["x", *gone]:
                self.values = {key: self.values[key] for key in self.values if key not in gone}
            case ["k", int(descriptor), list(role)]:
                self.kept[descriptor] = tuple(str(part) for part in role)
            case ["d", int(descriptor)]:
                self.kept.pop(descriptor, None)


def _framed(record: object) -> bytes:
    text = dumps(record).encode()
    return len(text).to_bytes(4, "little") + text


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def _fresh(descriptor: int) -> int:
    """A memfd with a header and nothing else, at ``descriptor`` (-1: at any)."""
    new = os.memfd_create("ainit-journal", os.MFD_CLOEXEC)
    try:
        _write(new, _HEADER, 0)
        if descriptor < 0:
            return new
        os.dup2(new, descriptor, inheritable=True)
    except BaseException:
        os.close(new)
        raise
    os.close(new)
    return descriptor


def _write(descriptor: int, data: bytes, place: int) -> None:
    """The whole of ``data``, or JournalError: what is not written down must not be done."""
    try:
        written = os.pwrite(descriptor, data, place)
    except OSError as error:
        raise JournalError(f"the journal cannot be written: {error}") from error
    if written != len(data):
        raise JournalError("the journal could not be written as a whole")


def _content(descriptor: int, size: int) -> bytes:
    """What is behind the header, to the last byte."""
    data = bytearray()
    while (place := _HEADER_BYTES + len(data)) < size:
        part = os.pread(descriptor, size - place, place)
        if not part:
            break
        data += part
    return bytes(data)


class Forgetful:
    """A journal's keeper that keeps nothing, for parts that are tested by themselves."""

    def keep(self, descriptor: int, role: Role) -> None:
        """Nothing."""

    def drop(self, descriptor: int) -> None:
        """Nothing."""
