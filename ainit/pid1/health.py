"""Whether units are well while they run: probes and memory pressure, and what follows.

Leaves out watchdogs, which are part of a unit's state, and how each thing is looked at: see
``probes`` and ``resources``.
"""

from __future__ import annotations

from ..linux import kmsg, process
from ..policy import plan
from ..policy import state as life
from ..policy.state import Event
from .probes import Probes
from .resources import Pressure
from .shutdown import REBOOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.plan import Unit
    from ..policy.state import State
    from .init import Init

_PROBE = "probe "  # keys of the journal begin with this
_SIGKILL = 9
_CONDEMN: Sequence[str] = ("/usr/bin/python3", "-I", "-m", "ainit.ota", "--condemn")
_CONDEMN_SECONDS = 30.0


class Health:
    """Looks after all units that are up."""

    def __init__(self, init: Init) -> None:
        self._init = init
        self._supervisor = init.supervisor
        self._pressure = Pressure(init.loop, init.cgroups, self._under_pressure)
        self._pressure.watch_machine()
        self.probes = Probes(
            init.loop,
            spawn=self._probe,
            kill=lambda pid: process.signal(pid, _SIGKILL),
            call=init.relay.call,
            report=self._unwell,
            ready=self._ready,
            journal=init.journal.writer(_PROBE),
        )
        self.probes.resume(init.journal.under(_PROBE))
        init.loop.hook(self.probes.hook)

    def changed(self, unit: Unit, state: State, before: str) -> None:
        """A unit is in another state than ``before``."""
        if state.state in (life.STARTING, life.READY):
            self.probes.watch(unit, starting=state.state == life.STARTING)
        elif before in (life.STARTING, life.READY):
            self.probes.unwatch(unit.name)
        if state.state == life.READY:
            self._pressure.watch(unit)
        elif before == life.READY:
            self._pressure.unwatch(unit.name)

    def refresh(self, unit: Unit, state: State) -> None:
        """A unit that runs has new settings."""
        if state.state == life.READY:
            self.probes.unwatch(unit.name)
            self.changed(unit, state, life.READY)

    def findings(self) -> list[str]:
        """What cannot be watched although it was asked for."""
        return self._pressure.findings()

    def exhausted(self, unit: Unit, reason: str) -> None:
        """A unit has used up its tries, and says that the machine goes down for that."""
        self._init.say(unit.name, f"{reason}; {unit.exhausted} follows", kmsg.ERROR)
        if unit.exhausted != plan.FALLBACK:
            self._init.shutdown.begin(REBOOT)
            return

        def condemned(status: int, output: str) -> None:
            kmsg.log(f"fall back to the other slot: {output or f'status {status}'}", kmsg.WARNING)
            self._init.shutdown.begin(REBOOT)

        try:
            self._init.jobs.run(_CONDEMN, _CONDEMN_SECONDS, condemned)
        except OSError as error:
            condemned(1, str(error))

    def _probe(self, unit: Unit) -> int:
        gpu = self._supervisor.states[unit.name].gpu
        return self._init.launcher.probe(unit, unit.probe_exec, gpu)

    def _ready(self, name: str) -> None:
        self._supervisor.post(name, Event(life.NOTIFIED_READY))
        self._supervisor.run()

    def _unwell(self, name: str, words: str) -> None:
        self._init.say(name, words, kmsg.WARNING)
        self._supervisor.post(name, Event(life.TROUBLE, reason=words))
        self._supervisor.run()

    def _under_pressure(self, name: str, action: str, words: str) -> None:
        if not name:
            kmsg.log(f"the machine: {words}", kmsg.WARNING)
            return
        self._init.say(name, words, kmsg.WARNING)
        if action == plan.KILL:
            self._supervisor.post(name, Event(life.TROUBLE, reason=words))
        elif action == plan.RESTART:
            self._supervisor.want(name, life.RESTART, words)
        self._supervisor.run()
