"""The methods of ``org.ainos.Audit``: who is watched, what is proposed, what is put in force.

What is applied is proposed anew from the record at that moment, and is checked twice here (a shadow
run, and that it is no looser) and once more by PID 1 before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..child.server import Handler, VarlinkError
from ..digest import sha256
from ..policy import learn, overlay, plan, sandbox
from ..policy.learn import Proposal
from ..policy.plan import Unit
from ..policy.sandbox import Profile
from ..policy.usage import Usage, Use
from ..wire.codec import loads
from ..wire.protocol import INVALID_PARAMETER, Message
from .files import Files
from .watches import Watches

INTERFACE = "org.ainos.Audit"
_HOUR = 3600.0


class Audit:
    """``units`` gives the units of the machine by name. Raises AinosError as a client does."""

    def __init__(
        self, kept: Files, watches: Watches, units: Callable[[], Mapping[str, Unit]]
    ) -> None:
        self._files = kept
        self._watches = watches
        self._units = units

    def methods(self) -> dict[str, Handler]:
        """Method name → handler."""
        return {
            "List": self._list,
            "Audit": self._audit,
            "Propose": lambda parameters: {"proposal": self._propose(self._agent(parameters))[0]},
            "Apply": self._apply,
            "Revert": self._revert,
            "Overlay": self._overlay,
        }

    def _list(self, _: Message) -> Mapping[str, object]:
        audited, watched = self._files.audited(), self._watches.agents()
        names = sorted({*audited, *watched, *self._files.recorded()})
        return {"agents": [self._listed(name, name in audited, name in watched) for name in names]}

    def _listed(self, name: str, on: bool, watched: bool) -> dict[str, object]:
        usage = self._usage(name)
        return {
            "name": name,
            "on": on,
            "watched": watched,
            "starts": usage.starts,
            "seconds": round(usage.seconds, 3),
            "uses": len(usage.uses),
            "overlay": self._files.overlay(name) is not None,
        }

    def _audit(self, parameters: Message) -> Mapping[str, object]:
        on = parameters.get("on")
        if not isinstance(on, bool):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "on"})
        unit = self._agent(parameters)
        with _refusing():
            if on and unit.name not in self._files.audited():
                self._watches.begin_anew(unit.name)
            self._files.audit(unit.name, on)
        return {}

    def _propose(self, unit: Unit) -> tuple[dict[str, object], Proposal]:
        usage = self._usage(unit.name)
        with _refusing():
            proposal = learn.propose(self._profile(unit), usage)
        return _told(unit.name, proposal, usage), proposal

    def _apply(self, parameters: Message) -> Mapping[str, object]:
        unit, hours = self._agent(parameters), parameters.get("hours")
        if isinstance(hours, bool) or not isinstance(hours, int | float) or hours < 0:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "hours"})
        told, proposal = self._propose(unit)
        seconds = self._usage(unit.name).seconds
        if seconds < hours * _HOUR:
            raise _refused(f"{seconds / _HOUR:.1f} hours were recorded, and {hours:g} are wanted")
        if proposal.denied:
            raise _refused(f"it would deny {proposal.denied[0].what}, which was used")
        if not proposal.is_tighter:
            raise _refused("it could not be any tighter")
        with _refusing():
            data = overlay.dump(unit.name, proposal.table)
            overlay.profile(unit, data)
            self._files.apply(unit.name, data)
        return {"proposal": told}

    def _revert(self, parameters: Message) -> Mapping[str, object]:
        name = _name(parameters)  # also of an agent that is there no more
        if self._files.overlay(name) is None:
            raise _refused(f"{name} has the sandbox of its manifest")
        with _refusing():
            self._files.revert(name)
        return {"overlay": self._files.overlay(name) is not None}

    def _overlay(self, parameters: Message) -> Mapping[str, object]:
        name = _name(parameters)
        data = self._files.overlay(name)
        if data is None:
            return {"sandbox": None, "digest": "", "problem": ""}
        unit, problem, table = self._units().get(name), "", None
        try:
            record = loads(data)
            table = record.get("sandbox") if isinstance(record, dict) else None
            if unit is not None:
                overlay.profile(unit, data)
        except ValueError as error:
            problem = str(error)
        return {
            "sandbox": table if isinstance(table, dict) else {},
            "digest": f"sha256:{sha256(data).hex()}",
            "problem": problem,
        }

    def _agent(self, parameters: Message) -> Unit:
        name = _name(parameters)
        unit = self._units().get(name)
        if unit is None or unit.kind != plan.AGENT:
            raise VarlinkError(f"{INTERFACE}.NoSuchAgent", {"agent": name})
        return unit

    def _profile(self, unit: Unit) -> Profile:
        """What it may from its next start on. Raises ValueError, OSError."""
        data = self._files.overlay(unit.name)
        if data is not None:
            return overlay.profile(unit, data)
        found = sandbox.of(unit)
        assert found is not None, "only agents come here"
        return found

    def _usage(self, name: str) -> Usage:
        with _refusing():
            return self._watches.usage(name)


class _refusing:  # noqa: N801 - it reads as a statement
    """Errors that have a reason for the caller in them become the error of the interface."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError | OSError):
            raise _refused(str(error)) from error


def _refused(reason: str) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})


def _name(parameters: Message) -> str:
    name = parameters.get("agent")
    if not isinstance(name, str) or not name.replace("-", "").isalnum():
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "agent"})
    return name


def _told(name: str, proposal: Proposal, usage: Usage) -> dict[str, Any]:
    """A proposal as the interface has it."""
    return {
        "agent": name,
        "sandbox": proposal.table,
        "lines": [
            {
                "verdict": line.verdict,
                "matter": line.matter,
                "what": line.what,
                "new": [{"matter": matter, "what": what} for matter, what in line.new],
                "uses": [_use(use) for use in line.uses],
            }
            for line in proposal.lines
        ],
        "before": proposal.before,
        "after": proposal.after,
        "tighter": proposal.is_tighter,
        "denied": [_use(use) for use in proposal.denied],
        "starts": usage.starts,
        "seconds": round(usage.seconds, 3),
        "dropped": usage.dropped.total(),
    }


def _use(use: Use) -> dict[str, object]:
    return {
        "matter": use.matter,
        "what": use.what,
        "by": use.by,
        "count": use.count,
        "first": use.first,
        "last": use.last,
    }
