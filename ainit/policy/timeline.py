"""How the boot went: which unit was waited for, when, and how long each took. PURE.

It is computed from the records of ``org.ainos.Control.Status``; PID 1 does not import this. All
times are seconds since the kernel started; firmware and loader lie before that, below zero. Leaves
out: how it is shown, see ``ainit.cli.analyze`` and ``ainit.cli.plot``.

>>> boot = read([{"name": "gpu", "wanted_at": 1.0, "spawned_at": 1.5, "ready_at": 4.0}], [])
>>> [sentence(link) for link in critical_chain(boot)]
['gpu became ready at 4.0 s: waited 0.5 s, started in 2.5 s']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Record = Mapping[str, object]

# Times are rounded to the millisecond: two that are no further apart may be one.
SIMULTANEOUS_S = 0.002
SHOWN_S = 0.05  # the shortest wait without a known cause that is worth a word
BOOT_SET = "the boot set to be measured"
HEALTH = "the machine to be healthy"
BEFORE_KERNEL = ("firmware", "loader")
# A unit that has ended lets go those that start after it.
AT_REST = ("failed", "refused", "exited", "quarantined")


@dataclass(frozen=True, slots=True)
class Span:
    """One phase of the boot; ``start`` and ``end`` in seconds since the kernel started."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one unit's start. A time is None when it has not happened, or is unknown.

    ``settled`` is when those that start after it could go on: it was ready, or had ended.
    """

    name: str
    state: str
    essential: bool
    wanted: float | None
    spawned: float | None
    ready: float | None
    settled: float | None
    blocked_by: str = ""
    after: tuple[str, ...] = ()
    trigger: str = ""
    restarts: int = 0

    @property
    def waited(self) -> float | None:
        """Seconds between being wanted and being started; None when either is unknown."""
        return _between(self.wanted, self.begun)

    @property
    def starting(self) -> float | None:
        """Seconds between being started and being ready; None when either is unknown."""
        return _between(self.begun, self.ready)

    @property
    def begun(self) -> float | None:
        """When it was started. A unit without a process, such as a target, starts in no time."""
        return self.ready if self.spawned is None else self.spawned


@dataclass(frozen=True, slots=True)
class Link:
    """One unit of the critical chain, what it waited for in words, and the unit behind that.

    ``blocker`` names that unit, or what was waited for otherwise; both are empty when nothing is
    known to have held it up.
    """

    row: Row
    blocker: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Boot:
    """The phases, and every unit in the order of the records."""

    phases: tuple[Span, ...]
    rows: tuple[Row, ...]

    @property
    def measured_at(self) -> float | None:
        """When the boot set was measured, before which only early units start; None when not."""
        return self._end_of("ainit")

    @property
    def healthy_at(self) -> float | None:
        """When the machine became healthy; None when it has not."""
        return self._end_of("agents")

    def _end_of(self, name: str) -> float | None:
        return next((phase.end for phase in self.phases if phase.name == name), None)

    def during(self) -> list[Row]:
        """The units that the boot started, the first wanted first.

        Not those that something else started, nor those that were first wanted once the machine
        was healthy.
        """
        last = self.healthy_at
        found = [
            (row.wanted, index, row)
            for index, row in enumerate(self.rows)
            if row.wanted is not None
            and not row.trigger
            and (last is None or row.wanted <= last + SIMULTANEOUS_S)
        ]
        return [row for _, _, row in sorted(found, key=lambda each: each[:2])]


def read(units: Iterable[Record], phases: Iterable[Record]) -> Boot:
    """The boot that the records tell of. What has the wrong type counts as unknown."""
    return Boot(_spans(phases), tuple(_row(unit) for unit in units))


def critical_chain(boot: Boot) -> list[Link]:
    """What the boot's length came from: the last essential unit to become ready comes first, then
    what it waited for, and so on. Empty when no essential unit is ready.

    A unit that was restarted later is not the last: its times are those of the restart.
    """
    rows = {row.name: row for row in boot.rows}
    limit = boot.healthy_at
    ends = [
        (row.ready, row.name)
        for row in boot.during()
        if row.essential
        and row.ready is not None
        and not (row.restarts and limit is not None and row.ready > limit + SIMULTANEOUS_S)
    ]
    chain: list[Link] = []
    name = max(ends)[1] if ends else ""
    while name and name in rows and all(link.row.name != name for link in chain):
        link = _link(rows[name], rows, boot)
        chain.append(link)
        name = link.next
    return chain


def blame(boot: Boot) -> list[Row]:
    """The units that were started, the slowest start first; then those that are not ready."""
    known = [row for row in boot.rows if row.starting is not None]
    open_ = [row for row in boot.rows if row.starting is None and row.spawned is not None]
    return [
        *sorted(known, key=lambda row: (-round(row.starting or 0.0, 3), row.name)),
        *sorted(open_, key=lambda row: row.name),
    ]


def sentence(link: Link) -> str:
    """One link in words."""
    row = link.row
    if row.ready is not None:
        head = f"{row.name} became ready at {row.ready:.1f} s"
    elif row.settled is not None:
        head = f"{row.name} was {row.state} at {row.settled:.1f} s"
    else:
        head = f"{row.name} is {row.state}"
    parts = []
    if row.waited is not None and (link.blocker or row.waited >= SHOWN_S):
        parts.append(
            f"waited {row.waited:.1f} s" + (f" for {link.blocker}" if link.blocker else "")
        )
    elif row.wanted is not None:
        parts.append(f"wanted at {row.wanted:.1f} s")
    if row.spawned is not None and row.starting is not None:
        parts.append(f"started in {row.starting:.1f} s")
    if row.restarts:
        parts.append(f"restarted {row.restarts} times, the last start counts")
    return f"{head}: {', '.join(parts)}" if parts else head


def _link(row: Row, rows: Mapping[str, Row], boot: Boot) -> Link:
    """``row`` with what it waited for last: PID 1's own word; else, of what it starts after, the
    last to come to rest while it waited; else a stage of the boot."""
    if row.wanted is None or row.begun is None:
        return Link(row, "")
    told = rows.get(row.blocked_by)
    if row.blocked_by and (told is None or _let_go(told, row)):
        return Link(row, row.blocked_by, row.blocked_by)
    if row.begun - row.wanted < SIMULTANEOUS_S:
        return Link(row, "")
    if name := _last((rows[name] for name in row.after if name in rows), row):
        return Link(row, name, name)
    for at, words in ((boot.healthy_at, HEALTH), (boot.measured_at, BOOT_SET)):
        if at is not None and row.wanted < at <= row.begun + SIMULTANEOUS_S:
            early = (other for other in boot.during() if (other.settled or at) < at)
            return Link(row, words, _last(early, row))
    return Link(row, "")


def _last(candidates: Iterable[Row], row: Row) -> str:
    """Of those that came to rest while ``row`` waited, the last; of two, the one whose name is."""
    found = [
        (other.settled, other.name)
        for other in candidates
        if other.settled is not None and _let_go(other, row)
    ]
    return max(found)[1] if found else ""


def _let_go(other: Row, row: Row) -> bool:
    """Whether ``other`` came to rest while ``row`` waited. One restarted since then did not."""
    if other.settled is None or row.wanted is None or row.begun is None:
        return False
    return row.wanted <= other.settled + SIMULTANEOUS_S and other.settled <= (
        row.begun + SIMULTANEOUS_S
    )


def _row(unit: Record) -> Row:
    state, ready = str(unit.get("state") or ""), _number(unit.get("ready_at"))
    after, restarts = unit.get("after"), unit.get("restarts")
    ended = _number(unit.get("since")) if state in AT_REST else None
    return Row(
        name=str(unit.get("name") or ""),
        state=state,
        essential=unit.get("essential") is not False,
        wanted=_number(unit.get("wanted_at")),
        spawned=_number(unit.get("spawned_at")),
        ready=ready,
        settled=ended if ready is None else ready,
        blocked_by=str(unit.get("blocked_by") or ""),
        after=tuple(str(name) for name in after) if isinstance(after, list | tuple) else (),
        trigger=str(unit.get("trigger") or ""),
        restarts=restarts if isinstance(restarts, int) else 0,
    )


def _spans(phases: Iterable[Record]) -> tuple[Span, ...]:
    lengths = [
        (str(phase.get("name") or ""), _number(phase.get("seconds")) or 0.0) for phase in phases
    ]
    at = -sum(seconds for name, seconds in lengths if name in BEFORE_KERNEL)
    spans = []
    for name, seconds in lengths:
        spans.append(Span(name, at, at + seconds))
        at += seconds
    return tuple(spans)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _between(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(last - first, 0.0)
