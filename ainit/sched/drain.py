"""Agents out of their instances and in again: asked of PID 1, which alone stops and starts units.

The GPU service calls the control socket as any other process does. No call here waits for a unit:
PID 1 answers at once, and asks this service for instances while it starts one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..child.client import Client, VarlinkError
from ..constants import CONTROL
from ..errors import AinosError, UnavailableError

TIMEOUT_S = 2.0
_DOWN = frozenset(("inactive", "exited", "failed", "refused"))
_Unit = Mapping[str, object]


class Drainer(Protocol):
    """Who stops the holders of instances, and starts them again. All raise AinosError."""

    def affected(self, agents: Sequence[str]) -> tuple[str, ...]:
        """The units that go down with these agents, themselves included."""
        ...

    def stop(self, agents: Sequence[str]) -> None:
        """Have them stop. Doing it twice is doing it once."""
        ...

    def running(self, agents: Sequence[str]) -> tuple[str, ...]:
        """Those that are not down yet."""
        ...

    def start(self, units: Sequence[str]) -> None:
        """Have those that are down start again."""
        ...

    def restart(self, units: Sequence[str]) -> None:
        """Have those that are up stop and start."""
        ...


class Units:
    """The drainer of a machine: PID 1 at its control socket."""

    def __init__(self, connect: Callable[[], Client] = lambda: Client(CONTROL, TIMEOUT_S)) -> None:
        self._connect = connect

    def affected(self, agents: Sequence[str]) -> tuple[str, ...]:
        """Those that start after an agent, and theirs, are taken to need it: to start one again
        that never went down does nothing.
        """
        with self._connect() as client:
            units = _units(client)
        if missing := [agent for agent in agents if agent not in units]:
            raise UnavailableError(f"PID 1 knows no unit {', '.join(missing)} to stop")
        found = list(agents)
        for name in found:  # grows while it is walked
            found += [
                other
                for other, unit in units.items()
                if other not in found and name in _names(unit.get("after")) and _is_wanted(unit)
            ]
        return tuple(found)

    def stop(self, agents: Sequence[str]) -> None:
        """See ``Drainer``."""
        with self._connect() as client:
            for agent in agents:
                _call(client, "Stop", agent)

    def running(self, agents: Sequence[str]) -> tuple[str, ...]:
        """See ``Drainer``."""
        with self._connect() as client:
            units = _units(client)
        return tuple(
            agent for agent in agents if agent in units and units[agent].get("state") not in _DOWN
        )

    def start(self, units: Sequence[str]) -> None:
        """See ``Drainer``. A unit that is not there any more is passed over."""
        self._ask("Start", units, wanted=False)

    def restart(self, units: Sequence[str]) -> None:
        """See ``Drainer``. A plain restart would keep the instance: PID 1 asks for none while it
        has one, so that is taken away.
        """
        with self._connect() as client:
            known = _units(client)
            for name in units:
                gpu = known[name].get("gpu") if name in known else None
                uuid = gpu.get("uuid") if isinstance(gpu, dict) else None
                if uuid and _is_wanted(known[name]):
                    reason = "its GPU instance is gone"
                    _call(client, "Revoke", name, uuid=str(uuid), reason=reason)

    def _ask(self, method: str, units: Sequence[str], *, wanted: bool) -> None:
        with self._connect() as client:
            known = _units(client)
            for name in units:
                if name in known and _is_wanted(known[name]) is wanted:
                    _call(client, method, name)


def _units(client: Client) -> dict[str, _Unit]:
    try:
        answer = client.call("org.ainos.Control.Status")
    except VarlinkError as error:
        raise UnavailableError(f"PID 1 does not say what runs: {error}") from error
    units = answer.get("units")
    found = units if isinstance(units, list) else []
    return {str(unit["name"]): unit for unit in found if isinstance(unit, dict) and "name" in unit}


def _names(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _is_wanted(unit: _Unit) -> bool:
    return unit.get("desired") == "up"


def _call(client: Client, method: str, name: str, **more: str) -> None:
    try:
        client.call(f"org.ainos.Control.{method}", {"name": name, **more})
    except VarlinkError as error:
        raise AinosError(f"{method} of {name} was refused: {error}") from error
