"""A model takes its predecessor's place only when the units that use it hold with it.

PID 1 is told the new model, and starts the running units that name it anew: it measures, then
starts, and holds their listening sockets meanwhile. When one of them is not ready, or does not stay
so for the trial's time, PID 1 is told the old model again and starts them with that. The store's
note of the name is not touched before the trial has held, so whatever ends in between, the machine
comes back with the old one. ``trials/NAME.json`` keeps why the last successor of a name was not
taken; while a trial is under way it says that it was cut short, and names the units to put back.

Leaves out what is not running: a unit that is down uses whatever the name stands for at its start.

>>> hold(units, ["speech"], spawned, 30.0)                                       # doctest: +SKIP
Traceback (most recent call last):
ainit.errors.RefusedError: speech is not ready with it: exited with status 1
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from .. import constants
from ..child.client import Client, VarlinkError
from ..child.given import small
from ..errors import DeadlineError, RefusedError, UnavailableError, WireError
from ..linux import files
from ..policy import state as life
from ..wire.codec import dumps, loads

HOLD_S_MAX = 3600.0
READY_S = 900.0  # for a unit whose own start timeout is longer
_CALL_S = 10.0
_ANSWER_S = 60.0  # while PID 1 executes itself anew
_LOOK_S = 0.25
_NOTE_BYTES_MAX = 64 << 10
CUT_SHORT = "its trial was cut short"
_UP = (life.STARTING, life.READY)
_ENDED = (life.BACKOFF, life.EXITED, life.FAILED, life.REFUSED, life.QUARANTINED)

Record = Mapping[str, object]
Ask = Callable[[str, Mapping[str, object]], Record]


def ask(method: str, parameters: Mapping[str, object]) -> Record:
    """The answer of PID 1 to one call. Raises AinosError."""
    with Client(constants.CONTROL, _CALL_S) as client:
        return client.call(f"org.ainos.Control.{method}", parameters)


@dataclass(frozen=True)
class Units:
    """The units of this machine, as PID 1 tells them. ``now`` and ``sleep`` are in seconds."""

    ask: Ask = ask
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def users(self, model: str) -> dict[str, object]:
        """The units that are up and name a model, and when each was spawned.

        Raises RefusedError when PID 1 does not say.
        """
        listed = self._asked("Status", {}).get("units")
        return {
            str(unit["name"]): unit.get("spawned_at")
            for unit in (listed if isinstance(listed, list) else [])
            if model in unit["models"] and unit["state"] in _UP
        }

    def describe(self, name: str) -> Record:
        """What PID 1 says of a unit. Raises RefusedError when it says nothing."""
        unit = self._asked("Describe", {"name": name}).get("unit")
        return unit if isinstance(unit, dict) else {}

    def restart(self, names: Iterable[str]) -> None:
        """Have units started anew. Raises RefusedError when PID 1 does not."""
        for name in names:
            self._asked("Restart", {"name": name})

    def _asked(self, method: str, parameters: Mapping[str, object]) -> Record:
        until = self.now() + _ANSWER_S
        while True:
            try:
                return self.ask(method, parameters)
            except VarlinkError as error:
                raise RefusedError(f"{method}: {error}") from error
            except (UnavailableError, WireError, DeadlineError) as error:
                if self.now() >= until:
                    raise RefusedError(f"{method}: {error}") from error
                self.sleep(_LOOK_S)


def hold(units: Units, users: Mapping[str, object], seconds: float) -> None:
    """Wait until units that were just started anew are ready, and see that they stay so.

    ``users`` says when each was spawned before. Raises RefusedError with what one did instead.
    """
    until = units.now() + READY_S
    held: dict[str, object] = {}
    while len(held) < len(users):
        for name in users.keys() - held.keys():
            unit = units.describe(name)
            if why := _unready(unit, users[name]):
                raise RefusedError(f"{name} is not ready with it: {why}")
            if unit["state"] == life.READY and unit["spawned_at"] != users[name]:
                held[name] = unit["spawned_at"]
        if len(held) < len(users):
            if units.now() >= until:
                late = ", ".join(sorted(users.keys() - held.keys()))
                raise RefusedError(f"{late} not ready with it after {READY_S:.0f} s")
            units.sleep(_LOOK_S)
    until = units.now() + seconds
    while True:
        for name, spawned in held.items():
            unit = units.describe(name)
            if unit["state"] != life.READY or unit["spawned_at"] != spawned:
                found = unit["reason"] or f"it is {unit['state']}"
                raise RefusedError(f"{name} did not stay ready with it: {found}")
        if units.now() >= until:
            return
        units.sleep(_LOOK_S)


def _unready(unit: Record, before: object) -> str:
    """Why a unit that was started anew will not be ready; empty when it may still be."""
    state, reason = unit["state"], str(unit["reason"])
    if unit["desired"] != life.UP:
        return "it was stopped"
    if state in _ENDED or (
        state in (life.STOPPING, life.DRAINING) and unit["spawned_at"] != before
    ):
        return reason or f"it is {state}"
    return ""


@dataclass(frozen=True)
class Notes:
    """What is kept about trials, in ``root``."""

    root: str

    def write(self, name: str, digest: str, units: Iterable[str], reason: str = CUT_SHORT) -> None:
        """Note a trial, of which ``units`` are to be put back."""
        os.makedirs(f"{self.root}/trials", mode=0o755, exist_ok=True)
        self._write(name, {"digest": digest, "reason": reason, "units": sorted(units)})

    def forget(self, name: str) -> None:
        """A successor was taken, or the name is forgotten."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))
            files.sync_directory(f"{self.root}/trials")

    def of(self, name: str) -> Record:
        """What is noted of a name: the ``digest`` that was tried, the ``reason`` why it was not
        taken, and ``units`` that are to be put back; empty when nothing is.
        """
        try:
            note = loads(small(self._path(name), _NOTE_BYTES_MAX) or b"{}")
        except (OSError, ValueError, RefusedError):
            return {}
        return note if isinstance(note, dict) else {}

    def settle(self, name: str) -> None:
        """The units of a trial are put back."""
        self._write(name, {**self.of(name), "units": []})

    def _write(self, name: str, note: Record) -> None:
        files.replace(self._path(name), (dumps(note) + "\n").encode("ascii"))

    def _path(self, name: str) -> str:
        return f"{self.root}/trials/{name}.json"
