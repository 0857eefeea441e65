"""Starts units when a device appears: PID 1 says which properties, this tells it of the device.

The properties are those of the kernel's own events (``udevadm info`` shows them as E:, without what
udevd's rules add, as there is no udevd). A device starts a unit once, until it is removed and comes
again; that is remembered in a file, so that a restart of this service starts nothing anew. What
could not be told is told again. Leaves out how the kernel is listened to: see ``udev``.

>>> triggers = Triggers(tell)                                   # doctest: +SKIP
>>> triggers.reload(); triggers.look(kernel.everything())       # doctest: +SKIP
>>> triggers.event("add", "/devices/virtual/tty/ttyGS0", {"SUBSYSTEM": "tty"})  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping

from ..child.client import Client, VarlinkError
from ..constants import CONTROL, DEVICES, DEVICES_TOLD
from ..errors import AinosError
from ..linux import files
from ..linux.inotify import IN_MOVED_TO, Inotify

RETRY_S = 1.0
DEADLINE_S = 5.0
_GONE = ("remove", "unbind")
_WAITING_MAX = 1024  # a device that comes and goes while PID 1 does not answer

Properties = Mapping[str, str]


def tell(unit: str, reason: str) -> None:
    """Have PID 1 start a unit. Raises AinosError; VarlinkError when PID 1 will not."""
    with Client(CONTROL, timeout=DEADLINE_S) as client:
        client.call("org.ainos.Control.Trigger", {"name": unit, "reason": reason})


class Triggers:
    """``tell(unit, reason)`` starts a unit; ``matches`` and ``told`` are files."""

    def __init__(
        self,
        tell: Callable[[str, str], None] = tell,
        *,
        matches: str = DEVICES,
        told: str = DEVICES_TOLD,
    ) -> None:
        self._tell = tell
        self._path = matches
        self._told_path = told
        self._matches: dict[str, list[dict[str, str]]] = {}
        self._told: set[tuple[str, str]] = set()  # unit and device
        self._waiting: dict[tuple[str, str], str] = {}
        self._inotify = Inotify()
        os.makedirs(os.path.dirname(matches), exist_ok=True)
        self._inotify.add(os.path.dirname(matches), IN_MOVED_TO)
        known = _json(told)
        for pair in known if isinstance(known, list) else []:
            if isinstance(pair, list) and len(pair) == 2:
                self._told.add((str(pair[0]), str(pair[1])))

    def fileno(self) -> int:
        """Readable when PID 1 may have written other matches: then ``was_changed``."""
        return self._inotify.fileno()

    def close(self) -> None:
        """Stop waiting for PID 1's matches."""
        self._inotify.close()

    def was_changed(self) -> bool:
        """Whether PID 1 wrote its matches anew; they are read then, and devices to be looked at."""
        name = os.path.basename(self._path)
        changed = any(each == name for _, _, each in self._inotify.read())
        return changed and self.reload()

    def reload(self) -> bool:
        """Read PID 1's matches; whether they are others than before."""
        found = _json(self._path)
        matches = {
            str(unit): [
                {str(key): str(value) for key, value in each.items()}
                for each in listed
                if isinstance(each, dict) and each
            ]
            for unit, listed in (found if isinstance(found, dict) else {}).items()
            if isinstance(listed, list)
        }
        if matches == self._matches:
            return False
        self._matches = matches
        self._waiting = {pair: why for pair, why in self._waiting.items() if pair[0] in matches}
        return True

    def look(self, devices: Iterable[tuple[str, Properties]]) -> None:
        """Every device that there is: path and properties. Those that are gone may come again."""
        if not self._matches and not self._told:
            return
        there = set()
        for path, properties in devices:
            there.add(path)
            self._match(path, properties)
        self._keep({pair for pair in self._told if pair[1] in there and pair[0] in self._matches})
        self.retry()

    def event(self, action: str, path: str, properties: Properties) -> None:
        """One event of the kernel."""
        if action in _GONE:
            self._waiting = {pair: why for pair, why in self._waiting.items() if pair[1] != path}
            self._keep({pair for pair in self._told if pair[1] != path})
            return
        is_idle = not self._waiting  # else it is not yet time to try again
        self._match(path, properties)
        if is_idle:
            self.retry()

    def retry(self) -> float:
        """Tell what is still to be told; in how many seconds to try again (-1: nothing waits)."""
        told = set(self._told)
        for pair, reason in list(self._waiting.items()):
            try:
                self._tell(pair[0], reason)
            except VarlinkError as error:
                print(f"{pair[0]} is not started by {pair[1]}: {error}", flush=True)
            except AinosError as error:
                print(f"{pair[0]} is to be started by {pair[1]}: {error}", flush=True)
                break  # the others would wait as long
            del self._waiting[pair]
            told.add(pair)
        self._keep(told)
        return RETRY_S if self._waiting else -1

    def _match(self, path: str, properties: Properties) -> None:
        for unit, matches in self._matches.items():
            pair = (unit, path)
            if pair in self._told or pair in self._waiting or len(self._waiting) >= _WAITING_MAX:
                continue
            if any(all(properties.get(key) == match[key] for key in match) for match in matches):
                name = properties.get("DEVNAME") or path
                self._waiting[pair] = f"the device {name} appeared"

    def _keep(self, told: set[tuple[str, str]]) -> None:
        if told == self._told:
            return
        self._told = told
        try:
            files.replace(self._told_path, json.dumps(sorted(told)).encode())
        except OSError as error:
            print(f"{self._told_path} cannot be written: {error}", flush=True)


def _json(path: str) -> object:
    """What a file says; None when there is none, or it is no JSON."""
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
