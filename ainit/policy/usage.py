"""What an agent was seen to use: the record of audit mode, bounded in size, with a JSON form.

A *use* is a matter of ``grants`` and what of it: a path that lies in one that the agent's profile
lists, an endpoint that it lists, or a system call that not every agent may make, with the
arguments that decide about it. Leaves out who sees it (``ainit.audit``), and what follows from it
(``learn``, ``shadow``).

>>> record = Usage("x86_64")
>>> record.path(WRITE, "/srv/notes/a", "/srv/notes", by="openat", now=5.0)
>>> [(use.matter, use.what, use.count) for use in record.uses.values()]
[('write', '/srv/notes/a', 1)]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .grants import CALLS, CONNECT, EXECUTE, READ, WRITE, is_covered
from .sandbox import lies_in

SCHEMA = 1
CROWD = 32  # so many names in a directory are kept apart, further ones are the directory's
PATHS_MAX = 1024  # from then on, what is new is the listed path's
OTHERS_MAX = 256  # endpoints, and as many calls; further ones are counted
ARGUMENTS = 6
UNREAD = "unread"  # calls of which it is not known what they named
_WORD = 0xFFFFFFFF

Grant = tuple[str, str]
Key = tuple[str, str, tuple[int, ...]]


@dataclass(slots=True)
class Use:
    """``by`` is the call that was seen first. ``first`` and ``last`` are seconds since 1970.
    ``fixed``: its path is what the agent called it, on a file system that nobody writes.
    ``arguments`` are those of a system call, six.
    """

    matter: str
    what: str
    by: str
    first: float
    last: float
    count: int = 1
    fixed: bool = False
    arguments: tuple[int, ...] = ()

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "matter": self.matter,
            "what": self.what,
            "by": self.by,
            "first": round(self.first, 3),
            "last": round(self.last, 3),
            "count": self.count,
            "fixed": self.fixed,
            "arguments": list(self.arguments),
        }

    @classmethod
    def from_record(cls, record: Any) -> Use:
        """The use of a JSON form. Raises ValueError, KeyError or TypeError for what is none."""
        matter, what = str(record["matter"]), str(record["what"])
        if matter not in (READ, WRITE, EXECUTE, CONNECT, CALLS):
            raise ValueError(f"has a use of {matter!r}")
        arguments = tuple(int(number) & _WORD for number in record["arguments"])
        if len(arguments) != (ARGUMENTS if matter == CALLS else 0):
            raise ValueError(f"has a use of {what!r} with {len(arguments)} arguments")
        first, last, count = record["first"], record["last"], record["count"]
        fixed = record["fixed"] is True
        by = str(record["by"])
        return cls(matter, what, by, float(first), float(last), int(count), fixed, arguments)


class Usage:
    """The record of one agent on a machine of the architecture ``machine`` (uname(2)).

    ``starts`` and ``seconds`` say how often and how long it ran while it was watched, ``given``
    what it was granted then. ``dropped`` counts, by matter, what there was no room for, and calls
    that could not be read: then there is more than the record says.
    """

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.given: list[Grant] = []
        self.clear()

    def clear(self) -> None:
        """Nothing was recorded yet."""
        self.starts = 0
        self.seconds = 0.0
        self.dropped: Counter[str] = Counter()
        self.uses: dict[Key, Use] = {}
        self._crowds: Counter[tuple[str, str]] = Counter()
        self._paths = 0

    def begin(self, given: Sequence[Grant]) -> None:
        """It starts with these grants. Of one that it did not have so far nothing is known yet: the
        record begins anew.
        """
        if self.lacks(given):
            self.clear()
        self.given = list(given)

    def lacks(self, given: Sequence[Grant]) -> list[Grant]:
        """Those of some grants that the agent did not have while it was watched."""
        return [grant for grant in given if not is_covered(grant, self.given)]

    def path(
        self, matter: str, path: str, entry: str, *, by: str, now: float, fixed: bool = False
    ) -> Use | None:
        """A path that lies in ``entry``, which the profile lists, was read, written or executed.

        Returns what is new to the record by that, as the other two do.
        """
        if (matter, path, ()) not in self.uses:
            parent = path.rpartition("/")[0]
            if self._paths >= PATHS_MAX:
                path, fixed = entry, False
            elif self._crowds[matter, parent] >= CROWD and lies_in(parent, entry):
                path = parent
        return self._add(matter, path, by, now, fixed)

    def endpoint(self, entry: str, *, by: str, now: float) -> Use | None:
        """It connected to an endpoint that the profile lists."""
        return self._add(CONNECT, entry, by, now, False)

    def call(self, name: str, arguments: Sequence[int], *, now: float) -> Use | None:
        """It made a system call; ``arguments`` that nobody asks about are 0."""
        return self._add(CALLS, name, name, now, False, tuple(arguments))

    def _add(
        self,
        matter: str,
        what: str,
        by: str,
        now: float,
        fixed: bool,
        arguments: tuple[int, ...] = (),
    ) -> Use | None:
        key = (matter, what, arguments)
        use = self.uses.get(key)
        if use is not None:
            use.count += 1
            use.last = max(use.last, now)
            narrower, use.fixed = use.fixed and not fixed, use.fixed and fixed
            return use if narrower else None
        if matter in (CONNECT, CALLS) and self._count(matter) >= OTHERS_MAX:
            self.dropped[matter] += 1
            return None
        use = Use(matter, what, by, now, now, fixed=fixed, arguments=arguments)
        self.keep(use)
        return use

    def keep(self, use: Use) -> None:
        """Have a use in the record, in the place of the same."""
        if (use.matter, use.what, use.arguments) in self.uses:
            self.uses[use.matter, use.what, use.arguments] = use
            return
        self.uses[use.matter, use.what, use.arguments] = use
        if use.matter not in (CONNECT, CALLS):
            self._crowds[use.matter, use.what.rpartition("/")[0]] += 1
            self._paths += 1

    def _count(self, matter: str) -> int:
        return sum(use.matter == matter for use in self.uses.values())

    def of(self, *matters: str) -> list[Use]:
        """The uses of some matters."""
        return [use for use in self.uses.values() if use.matter in matters]

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "starts": self.starts,
            "seconds": round(self.seconds, 3),
            "given": [list(grant) for grant in self.given],
            "dropped": dict(self.dropped),
            "uses": [use.to_record() for use in self.uses.values()],
        }

    @classmethod
    def from_record(cls, record: object) -> Usage:
        """The record of a JSON form. Raises ValueError for what is none."""
        try:
            return cls._read(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is no record of use: {error!r}") from error

    @classmethod
    def _read(cls, record: object) -> Usage:
        if not isinstance(record, dict) or record["schema"] != SCHEMA:
            raise ValueError(f"is no record of use of schema {SCHEMA}")
        made = cls(str(record["machine"]))
        made.starts, made.seconds = int(record["starts"]), float(record["seconds"])
        made.given = [(str(matter), str(what)) for matter, what in record["given"]]
        made.dropped.update({str(name): int(count) for name, count in record["dropped"].items()})
        for each in record["uses"]:
            made.keep(Use.from_record(each))
        return made
