"""PID 1's control socket as a plain process: the real PID 1 from its loop on, with effects that
only pretend to start processes.

    python3 tests/support/control_host.py DIR     serves DIR/control until Shutdown, then exits 0

Units: ``echo`` provides org.ainos.agent.Echo and is ready; ``worker`` is ready; ``unsigned`` is
refused. It prints ``ready`` when the socket is there.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ainit import constants

FOLDER = Path(sys.argv[1])
RUNTIME = constants.RUNTIME
for _name, _path in vars(constants).copy().items():
    if isinstance(_path, str) and _path.startswith(RUNTIME):
        setattr(constants, _name, f"{FOLDER}{_path.removeprefix(RUNTIME)}")
constants.CGROUP_ROOT = f"{FOLDER}/cgroup"
constants.STATE = constants.CONFIG = constants.MACHINE = f"{FOLDER}/state"
constants.TIMERS = f"{FOLDER}/timers"

from ainit.child.server import Service  # noqa: E402 - the paths come first
from ainit.errors import RefusedError  # noqa: E402
from ainit.linux import kmsg  # noqa: E402
from ainit.linux.tpm import Tpm  # noqa: E402
from ainit.pid1.effects import Effects  # noqa: E402
from ainit.pid1.enforcement import Enforcement  # noqa: E402
from ainit.pid1.facts import Facts  # noqa: E402
from ainit.pid1.init import Init  # noqa: E402
from ainit.pid1.journal import Journal  # noqa: E402
from ainit.pid1.measure import Measurements  # noqa: E402
from ainit.policy import phases  # noqa: E402
from ainit.policy import state as life  # noqa: E402
from ainit.policy.plan import AGENT, SERVICE, Plan, Record, Unit  # noqa: E402
from ainit.policy.state import Event  # noqa: E402

ECHO = """\
# Says what it hears.
interface org.ainos.agent.Echo

method Echo(text: string) -> (text: string)
"""
FIRST_PID = 1 << 23  # above the kernel's highest process ID: signals to it go nowhere


class MemoryTpm(Tpm):
    """PCRs in memory, with the TPM's arithmetic."""

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend one PCR."""
        self.values[pcr] = phases.fold(self.values.get(pcr, phases.ZERO), digest)

    def read(self, pcrs: Iterable[int]) -> dict[int, bytes]:
        """The values of some PCRs."""
        return {pcr: self.values.get(pcr, phases.ZERO) for pcr in pcrs}

    def counters(self) -> tuple[int, int]:
        """Never reset."""
        return 0, 0

    def close(self) -> None:
        """Nothing is open."""


def units() -> list[Unit]:
    """The units of the plan."""
    echo, worker, unsigned = Unit("echo", AGENT), Unit("worker", SERVICE), Unit("unsigned", AGENT)
    echo.description = "says what it hears"
    echo.provides = ["org.ainos.agent.Echo"]
    unsigned.models = ["magika"]
    unsigned.essential = False
    return [worker, echo, unsigned]


class Host(Init):
    """PID 1 whose processes are not there."""

    def __init__(self) -> None:
        self._next_pid = FIRST_PID
        journal = Journal.create(os.open("/dev/null", os.O_RDONLY))
        facts = Facts()
        facts.root, facts.state, facts.configuration = "verified", "ready", "default"
        plan = Plan(units(), {"hostname": "ainos-test"})
        measurements = Measurements(journal, MemoryTpm, constants.MEASUREMENTS)
        super().__init__(plan, facts, journal, measurements, Enforcement(journal))

    def _effects(self) -> Effects:
        effects = super()._effects()
        effects.spawn, effects.signal, effects.measure = self._pretend, self._died, self._measure
        effects.allocate = lambda _unit, done: done(
            Event(life.NOT_ALLOCATED, reason="there is no GPU")
        )
        effects.release = lambda _unit: None
        return effects

    def _pretend(self, unit: Unit, _gpu: Record | None) -> tuple[int, int]:
        if unit.name == "unsigned":
            raise RefusedError("model magika: the signature does not match")
        for _, descriptor in self.activation.inherited(unit):
            serve_echo(socket.socket(fileno=os.dup(descriptor)))
        self._next_pid += 1
        return self._next_pid, 1

    def _died(self, pid: int, _number: int) -> None:
        self.supervisor.exited(pid, 15)

    def _measure(self) -> None:
        config = phases.measured(phases.MACHINE_CONFIG, "default", "sha256:" + "11" * 32)
        agent = phases.measured(phases.AGENT, "echo", "sha256:" + "22" * 32)
        refusal = phases.refused(phases.MODEL, "magika", "the signature does not match")
        for event in phases.boot_set(config, [refusal], [agent]):
            self.measurements.add(event)


def serve_echo(listener: socket.socket) -> None:
    """The unit ``echo``, in a thread."""
    listener.setblocking(True)
    service = Service(ECHO, {"Echo": lambda parameters: {"text": parameters["text"]}})
    threading.Thread(target=service.serve, args=(listener,), daemon=True).start()


def main() -> None:
    """Run until Shutdown; the last answer still goes out."""
    kmsg._descriptor = os.open("/dev/null", os.O_WRONLY)
    Path(constants.SOCKETS).mkdir()
    host = Host()
    host.begin()
    print("ready", flush=True)
    host.run()


if __name__ == "__main__":
    main()
