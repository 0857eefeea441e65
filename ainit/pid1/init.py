"""The parts of a running PID 1, wired together, on fresh ground or on what a former PID 1 left.

Every part takes up what is its own from the journal when it is made; on fresh ground there is
nothing to take up. Leaves out what comes before the loop and after it: see ``main``.
"""

from __future__ import annotations

import _signal
import gc

from .. import constants
from ..linux import kmsg, libc, native, process
from ..linux.cgroup import Tree
from ..policy import phases
from ..policy import state as life
from ..policy.resources import placed
from . import loop, signals
from .activation import Activation, owner_of
from .artefacts import Artefacts
from .changes import Changes
from .control import Control
from .credentials import Credentials
from .effects import Effects
from .gate import Gate
from .gpus import Gpus
from .health import Health
from .job_methods import JobMethods
from .job_units import JobUnits
from .jobs import Jobs
from .launch import Launcher
from .logs import Logs
from .methods import Methods
from .model_directories import ModelDirectories
from .notify import Notifications
from .population import Population
from .quarantine import Quarantines
from .relay import Relay, providers, why_unanswered
from .shutdown import POWER_OFF, REBOOT, Shutdown
from .supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.change import Change
    from ..policy.plan import Plan, Unit
    from ..policy.state import State
    from .enforcement import Enforcement
    from .facts import Facts
    from .journal import Journal
    from .measure import Measurements

_HANDLED = (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGPWR)
_DEATHS_A_TURN = 4
_LOOK_AT_HEALTH_SECONDS = 0.25
_ROUTINE = (life.STARTING, life.READY, life.STOPPING, life.DRAINING, life.INACTIVE)


class Init:
    """PID 1 itself. ``facts`` are what ``main`` found out about the machine."""

    def __init__(
        self,
        plan_: Plan,
        facts: Facts,
        journal: Journal,
        measurements: Measurements,
        enforcement: Enforcement,
    ) -> None:
        self.loop = loop.Loop()
        self.journal = journal
        self.facts = facts
        self.measurements = measurements
        self.enforcement = enforcement
        self.logs = Logs(self.loop, journal)
        self.job_units = JobUnits(journal)
        self.logs.configure(plan_.units)
        self.logs.resume({**journal.of("pipe"), **journal.of("ring")})
        self.cgroups = Tree(f"{constants.CGROUP_ROOT}/{constants.SERVICE_SLICE}")
        self.jobs = Jobs(self.loop, self.cgroups)
        directories = ModelDirectories(directory=constants.MODEL_DIRECTORIES)
        self.artefacts = Artefacts(measurements, self.logs, journal, directories=directories)
        self.launcher = Launcher(
            measurements,
            self.cgroups,
            self.logs,
            journal,
            self.artefacts,
            enforcement,
            machine=plan_.machine,
        )
        self.relay = Relay(
            self.loop,
            constants.SOCKETS,
            lambda of: why_unanswered(self.supervisor.states[of], self.supervisor.units[of]),
        )
        self.providers = providers(plan_.units)
        self.gpus = Gpus(self.relay, self.providers, self.say)
        whole = self.job_units.beside(plan_)
        self.supervisor: Supervisor = Supervisor(whole, self._effects(), self.cgroups, journal)
        self.gpus.supervisor = self.supervisor
        self.gate = Gate(self.logs.say, self.supervisor.units.values())
        self.population = Population(self.loop, self.cgroups, self.supervisor.emptied)
        self.quarantines = Quarantines(self)
        self.health = Health(self)
        self.shutdown = Shutdown(self.loop, journal, self.supervisor)
        self.notifications = Notifications(self.loop, journal, self.supervisor, constants.NOTIFY)
        self.activation = Activation(self, plan_)
        self.launcher.inherited = (self.activation.inherited, self._stored)
        self.credentials = Credentials(owner=owner_of, directory=constants.CREDENTIALS)
        self.launcher.prepare = (self.credentials.prepare,)
        self.methods = Methods(self, plan_)
        self.changes = Changes(self, plan_)
        self.jobs_asked = JobMethods(self)
        parts = (self.methods, self.changes, self.jobs_asked, self.quarantines)
        table = {name: method for part in parts for name, method in part.table().items()}
        self.control = Control(
            self.loop, self.relay, constants.CONTROL, table, self.providers, journal, self.gate
        )
        self.methods.control = self.control
        self._leaving: set[str] = set()  # units that are no longer in the plan
        self._left: list[str] = []
        self._announced = ""
        self._look_at = self._look_again_at = 0.0
        self._reexec = ""
        self._dying = False  # more of the dead are left than one turn buries
        signals.watch(self.loop, _HANDLED, self._on_signals)
        self.loop.hook(self._bury_more)
        self.loop.hook(self.supervisor.tick)
        self.loop.hook(self._announce)
        self.loop.hook(self._tidy)

    def begin(self) -> None:
        """Go on with the units of a former PID 1, or start them all."""
        journal = self.journal
        vanished = self.supervisor.resume(journal.units, journal.intent)
        self.activation.configure(list(self.supervisor.units.values()))
        for name in vanished:
            if not self.cgroups.kill(name) and self.cgroups.populated(name):
                raise OSError(f"{name}, which is no unit any more, cannot be killed")
        journal.compact(self.supervisor.records())
        journal.units.clear()
        self.quarantines.resume()
        if not journal.values.get("begun"):
            self.supervisor.start_all(rescue=self.facts.refused)
            journal.put("begun", True)
        self.changes.resume()
        self.jobs_asked.resume()
        self.shutdown.go_on()
        self._bury()
        self.supervisor.run()
        _settle()

    def run(self) -> str:
        """Turn until the machine is to go down; returns how."""
        while not self.shutdown.is_due:
            self.loop.turn()
            native.turned()
            if self._reexec:
                native.reexec(self._reexec)
        return self.shutdown.how

    def run_by(self, plan_: Plan, change: Change) -> None:
        """Another plan is in force. Units that left it are stopped by ``change``."""
        units = self.job_units.beside(plan_).units
        self.supervisor.replace(units)
        self._leaving = set(self.supervisor.units) - {unit.name for unit in units}
        self.providers.clear()
        self.providers.update(providers(plan_.units))
        self.gate.configure(self.supervisor.units.values())
        self.logs.configure(plan_.units)
        self.activation.configure(list(self.supervisor.units.values()))
        self.quarantines.hold()
        for name in change.refresh:
            unit, state = self.supervisor.units[name], self.supervisor.states[name]
            if state.is_alive:
                self.health.refresh(unit, state)
                try:
                    self.cgroups.apply(placed(unit, state.gpu))
                except OSError as error:
                    self.say(name, f"its new limits cannot be set: {error}", kmsg.ERROR)

    def reexec(self, reason: str) -> None:
        """Start PID 1 anew in place once this turn is done."""
        self._reexec = reason

    def _stored(self, unit: Unit) -> list[tuple[str, int]]:
        return self.notifications.stored(unit.name)

    def _effects(self) -> Effects:
        return Effects(
            spawn=self.launcher.spawn,
            signal=process.signal,
            allocate=self.gpus.allocate,
            release=self.gpus.release,
            measure=self._measure_boot_set,
            say=self.say,
            now=loop.now,
            changed=self._changed,
            watch=self._watch_emptiness,
            exhausted=lambda *what: self.health.exhausted(*what),  # noqa: PLW0108 - made later
            is_probe=lambda pid: self.health.probes.owns(pid),  # noqa: PLW0108
            isolate=lambda name, action: self.quarantines.isolate(name, action),  # noqa: PLW0108
        )

    def _changed(self, unit: Unit, state: State, before: str) -> None:
        """A unit has come into another state: what hangs on that begins or ends."""
        self.health.changed(unit, state, before)
        if state.is_down:
            self.launcher.confine_no_more(unit)
            if unit.credentials:
                self.credentials.remove(unit.name)
        if state.is_stopped:
            self.notifications.forget(unit.name)
            if unit.name in self._leaving:
                self._left.append(unit.name)
        self.jobs_asked.changed(state)
        self.activation.changed(unit, state, before)
        self.quarantines.changed(unit, state)
        self._look_at = self._look_at or max(loop.now(), self._look_again_at)

    def _watch_emptiness(self, name: str, wanted: bool) -> bool:
        if wanted:
            return self.population.watch(name)
        self.population.unwatch(name)
        return True

    def _announce(self, now: float) -> float:
        """Say it when the machine's health changes; looked at four times a second, for it costs."""
        if not self._look_at or now < self._look_at:
            return self._look_at
        self._look_at, self._look_again_at = 0.0, now + _LOOK_AT_HEALTH_SECONDS
        health, findings = self.methods.health()
        if health != self._announced and not self.shutdown.how:
            kmsg.log(f"the machine is {health}")
            if health != "starting":
                for finding in findings:
                    kmsg.log(f"  {finding}", kmsg.WARNING)
                if self._announced in ("", "starting"):
                    _settle()
                    libc.trim()  # what the start took besides
            self._announced = health
        if health == "starting":
            self._look_at = self._look_again_at
        return self._look_at

    def _tidy(self, now: float) -> float:
        busy = self._dying or self.supervisor.busy
        self.journal.compact_if_long(self.supervisor.records, busy=busy)
        while self._left:
            name = self._left.pop()
            self._leaving.discard(name)
            self.supervisor.retire(name)
            self.cgroups.remove(name)
        return 0.0

    def say(self, unit: str, text: str, level: int = kmsg.INFO) -> None:
        """Say something about a unit in its log, and if it is no routine, to the operator."""
        self.logs.say(unit, text)
        if not text.startswith(_ROUTINE):
            kmsg.log(f"{unit}: {text}", level)

    def _measure_boot_set(self) -> None:
        models, agents = self.artefacts.boot_events(list(self.supervisor.units.values()))
        for event in phases.boot_set(self.facts.config_event(), models, agents):
            self.measurements.add(event)
        self.enforcement.hold()  # before there is an agent that could remove the names
        kmsg.log(f"boot set closed: {len(self.measurements.records)} measurements")

    def _on_signals(self, numbers: bytes) -> None:
        self._bury()
        if _signal.SIGINT in numbers:
            self.shutdown.begin(REBOOT)
        if _signal.SIGTERM in numbers or _signal.SIGPWR in numbers:
            self.shutdown.begin(POWER_OFF)

    def _bury(self) -> None:
        """Act upon each death, and only then take it off the kernel's list. Of many, some now and
        the rest in the next turns.
        """
        for _ in range(_DEATHS_A_TURN):
            death = process.peek_death()
            if death is None:
                self._dying = False
                return
            pid, status = death
            if not self.health.probes.exited(pid, status) and not self.jobs.exited(pid, status):
                self.supervisor.exited(pid, status)
            process.bury(pid)
        self._dying = True

    def _bury_more(self, now: float) -> float:
        if self._dying:
            self._bury()
        return now if self._dying else 0.0


def _settle() -> None:
    """What is there by now stays: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
