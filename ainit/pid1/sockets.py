"""The sockets that PID 1 listens on for its units, and the first connection that starts one.

A unit's sockets stay open over its restarts and over PID 1's own re-execution, so that no client is
lost; descriptors are kept (and journaled) before anything relies on them. A unit that provides an
interface has one more, for PID 1's relay, and that comes first. Leaves out accepting: whoever
connects talks to the service.

>>> sockets = Sockets(loop, journal, kept={**journal.of("socket"), **journal.of("listener")},
...                   start=start, hold=hold, owner=lambda unit: (unit.user, 0))  # doctest: +SKIP
>>> sockets.open(unit)                # at boot, and when the unit is new or changed
>>> sockets.watch(unit)               # it is down: its first connection starts it
>>> descriptors, names = sockets.descriptors(unit)    # for its process: LISTEN_FDS, LISTEN_FDNAMES
"""

from __future__ import annotations

import os

from ..constants import SOCKETS
from ..linux import listener
from ..policy import listen
from . import loop
from .limit import TriggerLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from ..policy.plan import Unit
    from .journal import Forgetful, Journal

SOCKET, LISTENER = "socket", "listener"  # what kept descriptors are for
LISTENER_NAME = "varlink"  # in LISTEN_FDNAMES, as varlink's own libraries look for
_BACKLOG = 128
_LISTENER_MODE = 0o600


class Sockets:
    """``start(name, why)`` for a connection to a unit that is down, ``hold(name, reason)`` when
    there were too many; ``owner(unit)`` gives the user and group of its Unix sockets.
    """

    def __init__(
        self,
        events: loop.Loop,
        keeper: Journal | Forgetful,
        *,
        start: Callable[[str, str], None],
        hold: Callable[[str, str], None],
        owner: Callable[[Unit], tuple[int, int]],
        kept: Mapping[tuple[str, ...], int] | None = None,
        directory: str = SOCKETS,
        limit: TriggerLimit | None = None,
    ) -> None:
        self._loop = events
        self._keeper = keeper
        self._start = start
        self._hold = hold
        self._owner = owner
        self._directory = directory
        self._limit = limit or TriggerLimit()
        # Unit → address → descriptor. The relay's listener has an address like any other.
        self._open: dict[str, dict[str, int]] = {}
        self._owned: dict[str, tuple[int, int, int]] = {}  # address → mode, user, group
        self._watched: dict[str, list[int]] = {}
        self._held: set[str] = set()
        for role, descriptor in (kept or {}).items():
            address = self._relayed(role[1]) if role[0] == LISTENER else role[2]
            self._open.setdefault(role[1], {})[address] = descriptor

    def open(self, unit: Unit) -> None:
        """Open what the unit names and is not open, close what it no longer names.

        Raises OSError that names the address, RefusedError for an unknown user.
        """
        wanted = self._wanted(unit)
        mine = self._open.setdefault(unit.name, {})
        for address in [address for address in mine if address not in wanted]:
            self._close(unit.name, address)
        for address, record in wanted.items():
            self._open_one(unit, address, record)

    def descriptors(self, unit: Unit) -> tuple[list[int], list[str]]:
        """The unit's descriptors, still PID 1's own, and their names for LISTEN_FDNAMES.

        They block, as sd_listen_fds(3) promises by default, whatever the unit made of them before.

        Opens what is not open, or whose name was taken away. Raises as ``open``.
        """
        self.open(unit)
        mine = self._open[unit.name]
        wanted = self._wanted(unit)
        for address in wanted:
            os.set_blocking(mine[address], True)
        return (
            [mine[address] for address in wanted],
            [str(record.get("name") or unit.name) for record in wanted.values()],
        )

    def close(self, name: str) -> None:
        """A unit is gone: close its sockets and take their names away."""
        self.unwatch(name)
        self._limit.forget(name)
        for address in list(self._open.get(name, ())):
            self._close(name, address)
        self._open.pop(name, None)

    def retain(self, names: Container[str]) -> None:
        """Close the sockets of all units but these, which a former PID 1 may have had."""
        for name in [name for name in self._open if name not in names]:
            self.close(name)

    def watch(self, unit: Unit) -> None:
        """A unit is down: start it at the first connection or datagram, if that is its way."""
        if not unit.on_demand or unit.name in self._held or unit.name in self._watched:
            return
        watched = self._watched[unit.name] = []
        for address, descriptor in self._open.get(unit.name, {}).items():
            self._loop.add(descriptor, loop.READ, self._on_demand(unit.name, address))
            watched.append(descriptor)

    def unwatch(self, name: str) -> None:
        """A unit comes up, or is not to be started: what waits at its sockets is its own affair.

        One that was held may be started by its sockets again, once it is watched again.
        """
        for descriptor in self._watched.pop(name, ()):
            self._loop.remove(descriptor)
        if name in self._held:
            self._held.discard(name)
            self._limit.forget(name)

    def _on_demand(self, name: str, address: str) -> Callable[[int], None]:
        def connected(_: int) -> None:
            self.unwatch(name)
            if self._limit.exceeded(name):
                self._held.add(name)
                self._hold(name, self._limit.words(f"what waits at {address}"))
            else:
                self._start(name, f"a connection to {address}")

        return connected

    def _wanted(self, unit: Unit) -> dict[str, Mapping[str, object]]:
        """Address → record of each socket, the relay's first."""
        wanted: dict[str, Mapping[str, object]] = {}
        if unit.provides:
            wanted[self._relayed(unit.name)] = {"name": LISTENER_NAME, "mode": _LISTENER_MODE}
        for record in unit.sockets:
            wanted[str(record["listen"])] = record
        return wanted

    def _relayed(self, name: str) -> str:
        return f"unix:{self._directory}/{name}"

    def _open_one(self, unit: Unit, address: str, record: Mapping[str, object]) -> None:
        mine = self._open[unit.name]
        relayed = address == self._relayed(unit.name)
        path = _path(address)
        uid, gid = self._owner(unit) if path and not relayed else (0, 0)
        mode = _number(record, "mode", 0o660)
        if address in mine:
            named = not path or listener.has_name(mine[address], path)
            if named and (not path or self._same(address, mode, uid, gid)):
                return
            if named:
                listener.own(path, mode, uid, gid)
                self._owned[address] = (mode, uid, gid)
                return
            self._close(unit.name, address)  # its name was taken away, or over: nobody reaches it
        backlog = _number(record, "backlog", _BACKLOG)
        descriptor = listener.open_listener(address, backlog=backlog, mode=mode, uid=uid, gid=gid)
        role = (LISTENER, unit.name) if relayed else (SOCKET, unit.name, address)
        try:
            self._keeper.keep(descriptor, role)
        except BaseException:
            os.close(descriptor)
            raise
        mine[address] = descriptor
        self._owned[address] = (mode, uid, gid)

    def _same(self, address: str, mode: int, uid: int, gid: int) -> bool:
        return self._owned.get(address) == (mode, uid, gid)

    def _close(self, name: str, address: str) -> None:
        descriptor = self._open[name].pop(address)
        if descriptor in self._watched.get(name, ()):
            self._watched[name].remove(descriptor)
            self._loop.remove(descriptor)
        self._owned.pop(address, None)
        self._keeper.drop(descriptor)
        os.close(descriptor)
        if path := _path(address):
            try:
                listener.unlink(path)
            except OSError:
                pass  # it is no longer this socket's, or on a file system that is gone


def _path(address: str) -> str:
    """The path of a Unix socket; empty for others."""
    family, _, path, _ = listen.address(address)
    return path if family == listen.UNIX else ""


def _number(record: Mapping[str, object], key: str, default: int) -> int:
    value = record.get(key, default)
    return value if isinstance(value, int) else default
