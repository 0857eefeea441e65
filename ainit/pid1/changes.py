"""Another configuration while the machine runs: compiled, measured, compared, carried out.

What does not change is not touched. An unconfirmed configuration is nowhere but in /run: when its
time is up, or the machine restarts, the one before it is in force again. What a change comes to is
journaled before it is carried out, and carried out again by a PID 1 that takes over.
"""

from __future__ import annotations

from .. import constants
from ..errors import RefusedError
from ..linux import kmsg
from ..policy import change, origin
from ..policy import state as life
from ..policy.plan import Plan
from ..wire import protocol
from ..wire.protocol import INVALID_PARAMETER, VarlinkError
from . import configuration, loop
from .control import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.change import Change
    from ..policy.plan import Record
    from ..wire.protocol import Call
    from .configuration import Files
    from .control import Client
    from .init import Init

_REVERT = "revert"  # journal: when to go back, and to what
_INVALID = f"{INTERFACE}.InvalidConfiguration"
_LONGEST_SECONDS = 86400.0


class Changes:
    """The methods GetPlan, Configure, Confirm, ReloadConfiguration, and the way back."""

    def __init__(self, init: Init, plan: Plan) -> None:
        self._init = init
        self._plan = plan
        self._busy = False
        revert = init.journal.values.get(_REVERT)
        self._revert: Record | None = revert if isinstance(revert, dict) else None
        init.loop.hook(self._revert_when_due)

    def resume(self) -> None:
        """Carry out what a former PID 1 was about to."""
        pending = self._init.journal.values.get(configuration.CHANGE)
        if isinstance(pending, dict):
            configuration.publish(self._plan)
            self._carry_out(pending)

    def table(self) -> dict[str, Callable[[Client, Call], Mapping[str, object] | None]]:
        """Method name → handler."""
        return {
            "GetPlan": self._get_plan,
            "Configure": self._configure,
            "ReloadConfiguration": self._reload,
            "Confirm": self._confirm,
        }

    def _get_plan(self, client: Client, call: Call) -> Mapping[str, object]:
        return {
            "plan": self._plan.to_record(),
            "base": configuration.read_plan(constants.PLAN).to_record(),
            "files": {
                name: data.decode("utf-8", "replace")
                for name, data in configuration.copied().items()
            },
        }

    def _configure(self, client: Client, call: Call) -> Mapping[str, object] | None:
        given = call.parameters.get("files")
        if not isinstance(given, dict) or not all(
            configuration.is_name(name) and isinstance(text, str) for name, text in given.items()
        ):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "files"})
        seconds = call.parameters.get("revert_after_s") or 0.0
        if not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_SECONDS:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "revert_after_s"})
        source = call.parameters.get("source")
        if source is not None:
            self._check_source(source)
        wanted = configuration.copied()
        wanted.update((name, text.encode()) for name, text in given.items())
        wanted = {name: data for name, data in wanted.items() if data}
        return self._compile(
            client, wanted, float(seconds), keep=not seconds, source=str(source or "")
        )

    def _check_source(self, source: object) -> None:
        """Raise VarlinkError unless the machine takes a configuration from there."""
        if source != origin.STICK:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "source"})
        if why := origin.refusal(self._init.facts.configuration, self._plan.machine):
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": why})

    def _reload(self, client: Client, call: Call) -> Mapping[str, object] | None:
        try:
            wanted, source = configuration.stored(), ""
            if not wanted and (wanted := configuration.offered()):
                source = configuration.SMBIOS
            return self._compile(client, wanted, 0.0, keep=False, source=source)
        except (OSError, RefusedError) as error:
            raise VarlinkError(_INVALID, {"findings": [str(error)]}) from error

    def _confirm(self, client: Client, call: Call) -> Mapping[str, object]:
        if self._revert is None:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": "nothing waits for confirmation"})
        self._store(configuration.copied())
        self._revert_by(None)
        return {}

    def _compile(
        self, client: Client, wanted: Files, seconds: float, *, keep: bool, source: str = ""
    ) -> Mapping[str, object] | None:
        """Have a child compile ``wanted``; the answer follows when it has."""
        if self._busy:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": "another change is under way"})
        if self._init.shutdown.how or self._init.supervisor.order.rescue:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": "not in this state"})
        control = self._init.control
        candidate = constants.CONFIG_CANDIDATE

        def compiled(status: int, output: str) -> None:
            self._busy = False
            if status:
                findings = output.replace(candidate + "/", "").splitlines()
                answer = protocol.error(_INVALID, {"findings": findings or ["the compiler died"]})
            else:
                if source:
                    came = configuration.came_from(source, configuration.digest(wanted))
                    self._init.measurements.add(came)
                done = self._apply(wanted, seconds)
                if keep:
                    self._store(wanted)
                answer = protocol.reply({"change": done.to_record()})
            control.send(client, answer)
            control.finish(client)

        configuration.stage(wanted, candidate)
        argv = configuration.compiler(candidate, constants.CANDIDATE_PLAN)
        client.pending = True
        try:
            self._init.jobs.run(argv, configuration.COMPILE_SECONDS, compiled)
        except OSError as error:
            client.pending = False
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": str(error)}) from error
        self._busy = True
        return None

    def _apply(self, wanted: Files, seconds: float) -> Change:
        """Make the candidate the plan that is in force."""
        if seconds and self._revert is None:
            _copy(self._init.facts.plan, constants.PREVIOUS_PLAN)
            configuration.stage(configuration.copied(), constants.CONFIG_PREVIOUS)
        return self._take_over(wanted, {"at": loop.now() + seconds} if seconds else None)

    def _take_over(self, wanted: Files, revert: Record | None) -> Change:
        """Measure the candidate and let it be in force. With the record in the journal it is done,
        whatever befalls this PID 1.
        """
        facts, journal = self._init.facts, self._init.journal
        plan = configuration.read_plan(constants.CANDIDATE_PLAN)
        self._init.measurements.add(configuration.event(configuration.digest(wanted)))
        found = change.difference(self._plan, plan, self._init.supervisor.wanted())
        record = {**found.to_record(), _REVERT: revert}
        configuration.stage(wanted, constants.CONFIG_COPY)
        journal.put(configuration.CHANGE, record)
        configuration.enforce(facts, journal)
        self._plan = plan
        configuration.publish(plan)
        self._init.run_by(plan, found)
        self._carry_out(record)
        return found

    def _carry_out(self, found: Record) -> None:
        supervisor = self._init.supervisor
        why = "the configuration changed"
        for kind, key in ((life.STOP, "stop"), (life.RESTART, "restart"), (life.START, "start")):
            names = found[key]
            for name in names if isinstance(names, list) else ():
                if name in supervisor.units:
                    supervisor.want(name, kind, why)
        self._revert_by(found.get(_REVERT))
        self._init.journal.put(configuration.CHANGE, None)

    def _store(self, wanted: Files) -> None:
        try:
            configuration.store(wanted)
        except OSError as error:
            problem = f"the configuration in force could not be stored: {error}"
            self._init.facts.problems.append(problem)
            self._init.facts.remember(self._init.journal)
            kmsg.log(problem, kmsg.ERROR)

    def _revert_when_due(self, now: float) -> float:
        if self._revert is None:
            return 0.0
        at = self._revert["at"]
        due = at if isinstance(at, float) else now
        if now < due or self._busy:
            return due
        kmsg.log("nobody confirmed the configuration: back to the one before", kmsg.WARNING)
        _copy(constants.PREVIOUS_PLAN, constants.CANDIDATE_PLAN)
        self._take_over(configuration.gather(constants.CONFIG_PREVIOUS), None)
        return 0.0

    def _revert_by(self, revert: object) -> None:
        self._revert = revert if isinstance(revert, dict) else None
        self._init.journal.put(_REVERT, self._revert)


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as file:
        data = file.read()
    configuration.write(target, data)
