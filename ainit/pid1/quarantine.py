"""Quarantine: an agent or a job is frozen, cut off and kept as it is, until somebody lets it go.

PID 1 freezes the group, has the service ``egress`` drop the agent's connections, and has a child
keep the evidence while nothing moves. Who asked and why is in the journal, and for agents in a file
on the state partition, so that one is not started at the next boot. Services are not frozen: they
are the machine's own code on the verified root, others wait for them, and they have no network of
their own that could be cut. What becomes of the unit's state is in ``policy.quarantine``.
"""

from __future__ import annotations

import os
import time

from .. import constants
from ..linux import accounts, kmsg
from ..policy import plan
from ..policy import state as life
from ..policy.state import Event
from ..wire import protocol
from ..wire.codec import dumps, loads
from ..wire.protocol import INVALID_PARAMETER, VarlinkError
from .control import INTERFACE
from .population import Population
from .relay import problem_of, why_unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.plan import Record, Unit
    from ..policy.state import State
    from ..wire.protocol import Call, Message
    from .control import Client
    from .init import Init

EGRESS = "org.ainos.Egress"
EVIDENCE_SECONDS = 30.0
_COLLECTOR = ("/usr/bin/python3", "-I", "-m", "ainit.crash.quarantine")
_KEY = "quarantine "  # keys of the journal begin with this
_SIGKILL = 9
_TRIES = 3
_TEXT_MAX = 500
_MARKER_BYTES = 4096


class Quarantines:
    """``Quarantine`` and ``Release`` of ``org.ainos.Control``, and what hangs on them. A record
    holds what ``org.ainos.Control`` calls Held, and ``collected``: nothing is to be kept.
    """

    def __init__(self, init: Init) -> None:
        self._init = init
        kept = init.journal.under(_KEY).items()
        self._records = {name: record for name, record in kept if isinstance(record, dict)}
        self._moving = Population(init.loop, init.cgroups, self._stands_still, lasts=self._moves)
        self._asked: set[tuple[str, Client]] = set()  # who waits for a unit to stand still
        self._collecting: set[str] = set()

    def table(self) -> dict[str, Callable[[Client, Call], Mapping[str, object] | None]]:
        """Method name → handler."""
        return {"Quarantine": self._quarantine, "Release": self._release}

    def resume(self) -> None:
        """Go on with what a former PID 1 began, and hold what was held when the machine went down.

        Posts events, and leaves it to the caller to have them executed.
        """
        supervisor = self._init.supervisor
        for name, record in list(self._records.items()):
            state = supervisor.states.get(name)
            if state is None:
                self._forget(name)
            elif not state.quarantine and name not in _marked():
                supervisor.post(name, Event(life.QUARANTINE, reason=str(record["reason"])))
            elif state.state == life.QUARANTINED and state.is_alive:
                self._watch(name)
            if state is not None and state.quarantine and not state.deadline:
                self._collect(name)
        self.hold()

    def hold(self) -> None:
        """See to it that no agent of this plan starts that the state partition says is held."""
        supervisor = self._init.supervisor
        for name in _marked():
            if name in supervisor.units and not supervisor.states[name].quarantine:
                self._remember(name, record := self._records.get(name) or _read(name))
                supervisor.post(name, Event(life.QUARANTINE, reason=str(record["reason"])))

    def of(self, name: str) -> Record | None:
        """What is to be known of a unit's quarantine; None when it is in none."""
        record = self._records.get(name)
        if record is None:
            return None
        return {key: value for key, value in record.items() if key != "collected"}

    def isolate(self, name: str, action: str) -> None:
        """An action of the unit's state. Each may be done twice."""
        if action == life.FREEZE:
            self._init.cgroups.freeze(name)
            self._cut(name)
            self._watch(name)
        elif action == life.THAW:
            self._moving.unwatch(name)
            self._init.cgroups.thaw(name)
        else:
            self._collect(name)
            for asked, client in [each for each in self._asked if each[0] == name]:
                self._asked.discard((asked, client))
                self._init.control.send(client, protocol.reply(self._answer(name)))
                self._init.control.finish(client)

    # The methods.

    def _quarantine(self, client: Client, call: Call) -> Mapping[str, object] | None:
        init, name = self._init, call.text("name")
        reason, by = _text(call, "reason"), _text(call, "by", f"user {client.uid}")
        unit, state = init.supervisor.units.get(name), init.supervisor.states.get(name)
        if unit is None or state is None:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": name})
        if unit.kind not in plan.CONFINED:
            raise _refused(f"{name} is a {unit.kind}: only agents and jobs are put in quarantine")
        if init.shutdown.how:
            raise _refused("the machine is going down")
        if not state.quarantine:
            record = _record(reason, by, int(time.time()), _free(name))
            self._remember(name, record)  # from here on it will be so, whatever befalls PID 1
            init.say(name, f"is put in quarantine by {by}", kmsg.WARNING)
            if unit.kind == plan.AGENT:
                self._mark(name, record)
            init.supervisor.tell(name, Event(life.QUARANTINE, reason=reason))
            init.relay.refuse(name, why_unanswered(state))
        if state.state != life.QUARANTINED or not state.deadline:
            return self._answer(name)
        client.pending = True
        client.abandon = lambda: self._asked.discard((name, client))
        self._asked.add((name, client))
        return None

    def _answer(self, name: str) -> Record:
        return {"evidence": self._records[name]["evidence"], "frozen": not self._moves(name)}

    def _release(self, client: Client, call: Call) -> Mapping[str, object]:
        init, name = self._init, call.text("name")
        by = _text(call, "by", f"user {client.uid}")
        state = init.supervisor.states.get(name)
        if state is None and name not in _marked():
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": name})
        if state is not None and not state.quarantine:
            raise _refused(f"{name} is not in quarantine")
        freezing = state is not None and state.state == life.QUARANTINED and state.deadline
        if freezing or name in self._collecting:
            raise _refused(f"the evidence of {name} is still being collected")
        try:
            if name in _marked():
                os.unlink(f"{constants.QUARANTINE_HELD}/{name}")
        except OSError as error:  # it would be in quarantine again after a reboot
            raise _refused(f"{name} cannot be released for good: {error.strerror}") from error
        self._forget(name)
        if state is not None:
            init.say(name, f"is released from quarantine by {by}", kmsg.WARNING)
            init.supervisor.tell(name, Event(life.LET_GO))
        return {}

    # Standing still.

    def _watch(self, name: str) -> None:
        if not self._moving.watch(name):
            self._init.supervisor.post(name, Event(life.FROZEN))

    def _moves(self, name: str) -> bool:
        """Whether a process of a unit still runs, or may."""
        events = accounts.unless_gone(self._init.cgroups.events_path(name))
        return "populated 1" in events and "frozen 0" in events

    def _stands_still(self, name: str) -> None:
        self._init.supervisor.tell(name, Event(life.FROZEN))

    def changed(self, unit: Unit, state: State) -> None:
        """Whoever carries connections is up, perhaps with what an earlier one had."""
        if state.state == life.READY and unit.name == self._init.providers.get(EGRESS):
            for name in self._records.keys() & self._init.supervisor.units.keys():
                self._cut(name)

    def _cut(self, name: str) -> None:
        """Have whoever carries the connections of agents drop those of this one."""
        init, provider = self._init, self._init.providers.get(EGRESS)
        if provider is None or init.supervisor.units[name].kind != plan.AGENT:
            return
        if not init.supervisor.states[provider].is_alive:
            return  # which carries none before it is up

        def on_reply(message: Message | None, problem: str) -> None:
            if why := problem if message is None else problem_of(message):
                init.say(name, f"its connections were not dropped: {why}", kmsg.WARNING)

        init.relay.call(provider, protocol.call(f"{EGRESS}.Drop", {"agent": name}), on_reply)

    # What is kept.

    def _collect(self, name: str, tries: int = _TRIES) -> None:
        record, init = self._records.get(name), self._init
        if record is None or record["collected"] or name in self._collecting:
            return
        group, evidence = init.cgroups.path(name), str(record["evidence"])
        argv = [*_COLLECTOR, constants.CONTROL, group, constants.QUARANTINE, name, evidence]

        def done(status: int, output: str) -> None:
            self._collecting.discard(name)
            if status == -_SIGKILL and tries > 1 and name in self._records:
                self._collect(name, tries - 1)  # it may have gone down with a former PID 1's
                return
            if status:
                why = output.rpartition("\n")[2] or f"status {status}"
                init.say(name, f"its evidence was not kept: {why}", kmsg.WARNING)
            else:
                init.say(name, f"its evidence is kept as {evidence}")
            if name in self._records:
                known = "" if status else evidence
                self._remember(name, {**self._records[name], "evidence": known, "collected": True})

        self._collecting.add(name)
        try:
            init.jobs.run(argv, EVIDENCE_SECONDS, done)
        except OSError as error:
            done(1, str(error))

    def _remember(self, name: str, record: Record) -> None:
        self._init.journal.put(_KEY + name, record)
        self._records[name] = record

    def _forget(self, name: str) -> None:
        self._init.journal.discard(_KEY + name)
        self._records.pop(name, None)

    def _mark(self, name: str, record: Record) -> None:
        """Note it on the state partition. Not synced, for PID 1 waits for no disk: whoever collects
        the evidence does that.
        """
        try:
            for directory in (constants.QUARANTINE, constants.QUARANTINE_HELD):
                os.makedirs(directory, mode=0o700, exist_ok=True)
            path = f"{constants.QUARANTINE_HELD}/{name}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(dumps(record).encode())
        except OSError as error:
            why = f"its quarantine does not outlast a reboot: {error.strerror}"
            self._init.say(name, why, kmsg.ERROR)


def _record(reason: str, by: str, at: int, evidence: str, *, collected: bool = False) -> Record:
    return {"reason": reason, "by": by, "time": at, "evidence": evidence, "collected": collected}


def _marked() -> list[str]:
    try:
        return sorted(os.listdir(constants.QUARANTINE_HELD))
    except OSError:
        return []


def _read(name: str) -> Record:
    """What the state partition says of a quarantine. That there is a file is enough to hold it."""
    record: object = None
    try:
        with open(f"{constants.QUARANTINE_HELD}/{name}", "rb") as file:
            record = loads(file.read(_MARKER_BYTES))
    except (OSError, ValueError, RecursionError):
        pass  # torn by a power cut
    known = record if isinstance(record, dict) else {}
    reason, by, at = (known.get(key) for key in ("reason", "by", "time"))
    return _record(
        reason if isinstance(reason, str) and reason else "its record cannot be read",
        str(by or "nobody knows"),
        at if type(at) is int else 0,
        str(known.get("evidence") or ""),
        collected=True,
    )


def _free(name: str) -> str:
    """A name for evidence that is not taken."""
    wanted = f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    found, number = wanted, 1
    while os.path.lexists(f"{constants.QUARANTINE}/{found}"):
        number += 1
        found = f"{wanted}-{number}"
    return found


def _text(call: Call, key: str, default: str = "") -> str:
    text = (call.optional_text(key) or default).strip()
    if not text or len(text) > _TEXT_MAX or not text.isprintable():
        raise VarlinkError(INVALID_PARAMETER, {"parameter": key})
    return text


def _refused(reason: str) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
