"""From the kernel's exec to the event loop, in a straight line, and down again.

    early mounts → TPM → which disk → state partition → plan → control socket → loop → shutdown

Only this module exits, reboots or powers off.
"""

from __future__ import annotations

import _signal
import os
import sys
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    SO_PASSCRED,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    socket,
)

from .. import __version__, constants
from ..errors import AinosError
from ..linux import kmsg, process
from ..linux.cgroup import Tree
from ..linux.watchdog import Watchdog
from ..policy import machine, phases
from ..policy.machine import Event
from ..policy.plan import Plan, Unit
from ..wire import protocol
from . import configuration, loop
from .control import Control
from .launch import Launcher
from .logs import Logs
from .measure import Measurements
from .methods import POWER_OFF, REBOOT, Facts, Methods
from .platform import Platform
from .relay import Relay, problem_of
from .supervisor import Effects, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.plan import Record

_GPU = "org.ainos.Gpu"
_NOTIFICATIONS_A_TURN = 64
_CREDENTIALS_SPACE = CMSG_SPACE(12)  # and nothing more: descriptors sent along are not taken
_HANDLED = (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGPWR)


class Init:
    """The parts of a running PID 1, wired together."""

    def __init__(
        self, plan: Plan, facts: Facts, measurements: Measurements, config: phases.Event
    ) -> None:
        self.loop = loop.Loop()
        self.logs = Logs(self.loop)
        self.cgroups = Tree(f"{constants.CGROUP_ROOT}/{constants.SERVICE_SLICE}")
        self.measurements = measurements
        self.ending = ""
        self._ending_deadline = 0.0
        self._config_event = config
        without_tpm = str(plan.machine.get("without_tpm", "refuse"))
        self.launcher = Launcher(measurements, self.cgroups, self.logs, without_tpm=without_tpm)
        self.relay = Relay(self.loop, constants.SOCKETS, self._why_unanswered)
        effects = Effects(
            spawn=self.launcher.spawn,
            signal=_send_signal,
            allocate=self._allocate,
            release=self._release,
            measure=self._measure_boot_set,
            say=self._say,
            now=loop.now,
        )
        self.supervisor = Supervisor(plan, effects, self.cgroups)
        self.providers = {
            interface: unit.name for unit in plan.units for interface in unit.provides
        }
        methods = Methods(
            plan, facts, self.supervisor, measurements, self.logs, self.cgroups, self.loop, self.end
        )
        self.methods = methods
        self.control = Control(
            self.loop, self.relay, constants.CONTROL, methods.table(), self.providers
        )
        methods.control = self.control
        self._health = ""
        self._watch_signals()
        self._listen_for_readiness()
        self.loop.hook(self.supervisor.tick)
        self.loop.hook(self._shutdown_deadline)
        self.loop.hook(self._announce)

    def end(self, how: str) -> None:
        """Begin to power off or reboot; asking again changes nothing but the urgency."""
        if not self.ending:
            kmsg.log(f"{how}: stopping every unit")
            self.ending = how
            self._ending_deadline = loop.now() + constants.SHUTDOWN_SECONDS
            self.supervisor.stop_all()

    def run(self) -> str:
        """Turn until the machine is to go down; returns how."""
        while not (self.ending and (self.supervisor.stopped or self._overdue())):
            self.loop.turn()
        return self.ending

    def _overdue(self) -> bool:
        return loop.now() >= self._ending_deadline

    def _shutdown_deadline(self, now: float) -> float:
        return self._ending_deadline

    def _announce(self, now: float) -> float:
        health, findings = self.methods.health()
        if health != self._health and not self.ending:
            self._health = health
            kmsg.log(f"the machine is {health}")
            if health != "starting":
                for finding in findings:
                    kmsg.log(f"  {finding}", kmsg.WARNING)
        return 0.0

    def _say(self, unit: str, text: str) -> None:
        self.logs.say(unit, text)
        kmsg.log(f"{unit}: {text}", kmsg.INFO)

    def _measure_boot_set(self) -> None:
        models, agents = self.launcher.boot_events(list(self.supervisor.units.values()))
        for event in phases.boot_set(self._config_event, models, agents):
            self.measurements.add(event)
        kmsg.log(f"boot set closed: {len(self.measurements.records)} measurements")

    def _allocate(self, unit: Unit, done: Callable[[Record | None, str], None]) -> None:
        def on_reply(message: protocol.Message | None, problem: str) -> None:
            why = problem if message is None else problem_of(message)
            parameters = None if message is None else message.get("parameters")
            if why or not isinstance(parameters, dict):
                done(None, f"no GPU instance: {why or 'malformed answer'}")
            else:
                done(parameters, "")

        provider = self.providers.get(_GPU)
        if provider is None:
            done(None, "no GPU instance: no unit provides org.ainos.Gpu")
            return
        parameters = {"agent": unit.name, "profile": unit.gpu_profile}
        self.relay.call(provider, protocol.call(f"{_GPU}.Allocate", parameters), on_reply)

    def _release(self, unit: Unit) -> None:
        def on_reply(message: protocol.Message | None, problem: str) -> None:
            why = problem if message is None else problem_of(message)
            if why:
                self._say(unit.name, f"its GPU instance was not released: {why}")

        request = protocol.call(f"{_GPU}.Release", {"agent": unit.name})
        self.relay.call(self.providers[_GPU], request, on_reply)

    def _why_unanswered(self, unit: str) -> str:
        """Why a unit will not answer: it is down for good. One on its way up finds its calls."""
        state = self.supervisor.states[unit]
        down = state.state in (machine.INACTIVE, machine.FAILED, machine.REFUSED, machine.EXITED)
        reason = f": {state.reason}" if state.reason else ""
        return f"{unit} is {state.state}{reason}" if down else ""

    def _watch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in _HANDLED:
            _signal.signal(number, lambda number, frame: None)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.loop.add(reader, loop.READ, lambda _: self._on_signals(reader))

    def _on_signals(self, reader: int) -> None:
        numbers = os.read(reader, 4096)
        while (death := process.reap()) is not None:
            self.supervisor.exited(*death)
        if _signal.SIGINT in numbers:
            self.end(REBOOT)
        if _signal.SIGTERM in numbers or _signal.SIGPWR in numbers:
            self.end(POWER_OFF)

    def _listen_for_readiness(self) -> None:
        channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
        try:
            os.unlink(constants.NOTIFY)
        except FileNotFoundError:
            pass
        channel.bind(constants.NOTIFY)
        os.chmod(constants.NOTIFY, 0o666)
        channel.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
        self._notify = channel
        self.loop.add(channel.fileno(), loop.READ, lambda _: self._on_notify())

    def _on_notify(self) -> None:
        for _ in range(_NOTIFICATIONS_A_TURN):
            try:
                data, ancillary, _flags, _address = self._notify.recvmsg(4096, _CREDENTIALS_SPACE)
            except BlockingIOError:
                return
            self._on_notification(data, ancillary)

    def _on_notification(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        if not ancillary or b"READY=1" not in data.split(b"\n"):
            return
        pid = int.from_bytes(ancillary[0][2][:4], "little")
        unit = self.supervisor.unit_of(pid)
        if unit is not None:
            self.supervisor.post(unit, Event(machine.NOTIFIED_READY))
            self.supervisor.run()


def _send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # already dead, not reaped yet: the pid cannot have been given to another


def _start(platform: Platform, facts: Facts) -> tuple[Init, bool]:
    """Everything before the loop; the flag says whether the machine is refused."""
    platform.prepare()
    kmsg.log(f"ainit {__version__} is PID {os.getpid()}")
    measurements = platform.measurements()
    platform.find_disk(facts)
    refused = bool(facts.problems)
    plan, config = configuration.load(measurements, facts)
    measurements.add(config)  # first in the boot set, and before anything of it is used
    platform.name(str(plan.machine.get("hostname", "ainos")))
    init = Init(plan, facts, measurements, config)
    lacking = init.cgroups.prepare()
    if lacking:
        facts.problems.append(f"the kernel lacks cgroup controllers: {', '.join(lacking)}")
    return init, refused


def main(platform: Platform | None = None) -> None:
    """PID 1. Never returns and never raises: a fault before the loop reboots, so that the boot
    counter can fall back to the other slot.
    """
    platform = platform or Platform()
    facts = Facts()
    facts.started = loop.now()
    how = REBOOT
    try:
        watchdog = Watchdog(constants.WATCHDOG_SECONDS)
        init, refused = _start(platform, facts)

        def pet(now: float) -> float:
            watchdog.pet()
            return now + constants.WATCHDOG_SECONDS / 3 if watchdog.armed else 0.0

        init.loop.hook(pet)
        init.supervisor.start_all(rescue=refused)
        how = init.run()
        kmsg.log(f"{how} after {loop.now():.1f} s, peak memory {process.peak_memory() >> 10} KiB")
        watchdog.pet()
    except BaseException as error:  # noqa: BLE001 - an exception that leaves PID 1 is a panic
        kmsg.log(f"ainit cannot go on, rebooting: {loop.describe(error)}", 2)
        if isinstance(error, AinosError):
            kmsg.log(str(error), 2)
        sys.stderr.flush()
    try:
        platform.leave(how)
    finally:
        while True:  # the kernel is on its way down, or the watchdog will see to it
            _signal.pause()
