"""One agent in audit mode: takes each call that is told of, notes what it is, and lets it go on.

The order is: receive, note which call is in hand, read what it names, see that it still waits, let
it go on. Whoever reads a call that was in the hand of a service that died finds its number in the
note (``hand``), and lets it go on: the kernel tells of each call once.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from ..linux import inside
from ..linux.notified import Call, Listener
from ..policy import call_rules, sandbox, watched
from ..policy.grants import CALLS, CONNECT
from ..policy.system_calls import numbers
from ..policy.usage import UNREAD, Usage, Use
from ..sandbox import endpoints
from . import named
from .view import View

_HAND = struct.Struct("=Q")


class Watch:
    """``given`` is what PID 1 says that the agent has, by matter; ``new`` is told of each use that
    was not in the record. ``begun``: the agent's own program runs already, so that nothing that is
    told of is PID 1's.
    """

    def __init__(
        self,
        listener: Listener,
        usage: Usage,
        given: Mapping[str, Sequence[str]],
        *,
        new: Callable[[Use | None], None] = lambda _: None,
        has_gpu: bool = False,
        hand: str,
        begun: bool = False,
        fixed: int = -1,
    ) -> None:
        self.usage = usage
        self._new = new
        self._listener = listener
        self._begun = begun
        self._by = ""
        listed = endpoints.listed(map(sandbox.endpoint, given.get(CONNECT, ())))
        self._peers = {(each.address, each.port): each.text for each in listed}
        self._view = View(given, self._found, fixed=fixed)
        self._names = {number: name for name, number in numbers(usage.machine).items()}
        self._asked = watched.asked(usage.machine, given.get(CALLS, ()))
        implied = (sandbox.DEVICES,) if has_gpu else ()
        self._base = call_rules.rules(implied, usage.machine)
        self._hand = os.open(hand, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._give_back()

    def _give_back(self) -> None:
        """Let a call go on that was in the hand of a service that died."""
        noted = os.pread(self._hand, _HAND.size, 0)
        if len(noted) == _HAND.size:
            self._listener.go_on(*_HAND.unpack(noted))

    def close(self) -> None:
        """The agent is gone."""
        self._view.close()
        self._listener.close()
        os.close(self._hand)

    def turn(self) -> None:
        """One call that waits. Raises OSError when nobody can make any more."""
        call = self._listener.receive()
        if call is None:
            return
        os.pwrite(self._hand, _HAND.pack(call.id), 0)
        try:
            self._look(call)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the agent is not to wait for it
            if self._listener.is_valid(call.id):  # else its caller is gone, and did not make it
                print(f"{self._by} is not recorded: {fault!r}", file=sys.stderr, flush=True)
                self.usage.dropped[UNREAD] += 1
        finally:
            self._listener.go_on(call.id)

    def _look(self, call: Call) -> None:
        name = self._names.get(call.number, "")
        if not self._begun:  # until it executes its program, it does what PID 1 told it
            self._begun = name == "execve"
            return
        self._by = name
        notes = self._notes(call, name)
        if not self._listener.is_valid(call.id):
            return
        for note in notes:
            note()
        machine = self.usage.machine
        decided = call_rules.action(self._base, machine, call.number, call.arguments)
        if decided != call_rules.ALLOW and name:
            asked = self._asked.get(call.number, ())
            arguments = [
                value & call_rules.WORD if place in asked else 0
                for place, value in enumerate(call.arguments)
            ]
            self._new(self.usage.call(name, arguments, now=time.time()))

    def _notes(self, call: Call, name: str) -> list[named.Note]:
        self._view.enter(call.pid)
        memory = inside.Memory(call.pid)
        try:
            return list(named.notes(call, name, memory, self._view, self._peer))
        except OSError:
            return []  # an address or a descriptor that is none: the call fails
        finally:
            memory.close()

    def _found(self, matter: str, path: str, entry: str, fixed: bool) -> None:
        now = time.time()
        self._new(self.usage.path(matter, path, entry, by=self._by, now=now, fixed=fixed))

    def _peer(self, host: str, port: int) -> None:
        entry = self._peers.get((host, port))
        if entry is not None:  # else it is in its own network, where there is nobody else
            self._new(self.usage.endpoint(entry, by=self._by, now=time.time()))
