"""``org.ainos.Control.Logs``: the last lines, those behind cursors, and those to come.

A follower is served by pulling: new data only marks a unit, and the next batch is made when the
last one has left for the client. One that cannot keep up falls behind the ring, which costs it the
oldest bytes, said with the next batch, and costs PID 1 nothing. Every reply carries cursors, so
that a client which was cut off asks for what came since.
"""

from __future__ import annotations

from ..wire import protocol
from ..wire.protocol import INVALID_PARAMETER, VarlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..wire.protocol import Call
    from .control import Client, Control
    from .lines import Partials, Record
    from .logs import Logs
    from .loop import Loop

_LINES_MAX = 10_000
_BATCH_LINES = 1_000
_UNITS_A_BATCH = 64
_BATCH_SECONDS = 0.05  # not more often, so that a busy machine makes few large batches


class Follower:
    """One client that follows; ``unit`` is None for all. ``cursors`` are where it is."""

    __slots__ = (
        "_due",
        "_logs",
        "_new",
        "_partials",
        "_persistent",
        "_unit",
        "client",
        "control",
        "cursors",
        "dropped",
    )

    def __init__(
        self,
        logs: Logs,
        control: Control | None,
        client: Client,
        unit: str | None,
        cursors: Mapping[str, int],
        *,
        persistent: bool,
    ) -> None:
        self.control = control
        self.client = client
        self.cursors = dict(cursors)
        self.dropped = 0
        self._logs = logs
        self._unit = unit
        self._persistent = persistent
        self._partials: dict[str, Partials] = {}
        self._due = 0.0
        self._new = {
            name: True
            for name in logs.names(unit, persistent=persistent)
            if self.cursors.get(name) != logs.head(name)
        }

    def mark(self, unit: str) -> None:
        """The unit's ring has grown."""
        if self._unit is None or unit == self._unit:
            self._new[unit] = True

    def is_due(self, now: float) -> bool:
        """Whether the next batch may be made."""
        return bool(self._new) and not self.client.outbox and now >= self._due

    def wanted(self) -> float:
        """When the next batch may be made, in seconds since boot; 0 when nothing is known of it."""
        return self._due if self._new and not self.client.outbox else 0.0

    def batch(self, now: float, count: int = _BATCH_LINES) -> Record | None:
        """The next reply, of ``count`` lines at most; None when there is no line and nothing was
        missed.
        """
        self._due = now + _BATCH_SECONDS
        lines: list[Record] = []
        cursors: dict[str, int] = {}
        missed: dict[str, int] = {}
        for unit in list(self._new)[:_UNITS_A_BATCH]:
            if len(lines) >= count:
                break
            del self._new[unit]
            if self._persistent and unit in self._logs.volatile:
                continue
            at = self.cursors.get(unit, 0)
            partials = self._partials.pop(unit, {})
            found, cursor, lost = self._logs.read(unit, at, count - len(lines), partials)
            if partials:
                self._partials[unit] = partials
            if lost:
                missed[unit] = lost
                self.dropped += lost
            if found or lost:
                cursors[unit] = cursor
            self.cursors[unit] = cursor
            lines += found
            if cursor < self._logs.head(unit):
                self._new[unit] = True  # at the end: the others first
        if not lines and not missed:
            return None
        lines.sort(key=_when)
        return {"lines": lines, "dropped": self.dropped, "cursors": cursors, "missed": missed}


class LogMethods:
    """The method, and the followers that it leaves behind. ``events`` gives them their turns."""

    def __init__(self, logs: Logs, units: Iterable[str], events: Loop) -> None:
        self._logs = logs
        self._units = units
        self._followers: list[Follower] = []
        events.hook(self._serve)

    def read(
        self, control: Control | None, client: Client, call: Call
    ) -> Mapping[str, object] | None:
        """Answer ``Logs``; None when the answer goes on by itself."""
        unit = call.optional_text("unit")
        if unit is not None and unit not in self._units:
            raise VarlinkError("org.ainos.Control.NoSuchUnit", {"name": unit})
        count = min(max(call.number("lines", 100), 0), _LINES_MAX)
        follow, persistent = call.flag("follow"), call.flag("persistent")
        cursors = _cursors(call)
        if follow and not call.more:
            raise VarlinkError(f"{protocol.SERVICE}.ExpectedMore")
        if cursors is None:
            answer = self._last(unit, count, persistent=persistent)
        else:
            answer = {"lines": [], "dropped": 0, "cursors": {}, "missed": {}}
        if follow and control is not None:
            begin = _numbers(answer["cursors"]) if cursors is None else cursors
            follower = Follower(self._logs, control, client, unit, begin, persistent=persistent)
            client.pending = True
            client.abandon = lambda: self._forget(follower)
            self._followers.append(follower)
            self._logs.followers.append(follower)
            control.send(client, protocol.reply(answer, continues=True))
            return None
        if cursors is not None:
            follower = Follower(self._logs, control, client, unit, cursors, persistent=persistent)
            answer = follower.batch(0.0, min(count, _BATCH_LINES)) or {
                **answer,
                "cursors": follower.cursors,
            }
        return answer

    def _last(self, unit: str | None, count: int, *, persistent: bool) -> Record:
        lines, dropped = self._logs.select(unit, count, persistent=persistent)
        names = self._logs.names(unit, persistent=persistent)
        cursors = {name: self._logs.head(name) for name in names}
        return {"lines": lines, "dropped": dropped, "cursors": cursors, "missed": {}}

    def _forget(self, follower: Follower) -> None:
        self._followers.remove(follower)
        self._logs.followers.remove(follower)

    def _serve(self, now: float) -> float:
        """Make the batches that are due; returns when the next one is."""
        for follower in list(self._followers):
            answer = follower.batch(now) if follower.is_due(now) else None
            if answer is not None and follower.control is not None:
                follower.control.send(follower.client, protocol.reply(answer, continues=True))
        return min((at for one in self._followers if (at := one.wanted())), default=0.0)


def _cursors(call: Call) -> dict[str, int] | None:
    value = call.parameters.get("cursors")
    if value is None:
        return None
    cursors = _numbers(value)
    if not isinstance(value, dict) or len(cursors) != len(value):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "cursors"})
    return cursors


def _numbers(value: object) -> dict[str, int]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {key: at for key, at in pairs if type(at) is int and at >= 0}


def _when(line: Record) -> float:
    time = line["time"]
    return time if isinstance(time, float) else 0.0
