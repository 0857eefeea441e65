"""PID 1's control socket as a plain process: the real loop, supervisor, relay and methods, with
effects that only pretend to start processes.

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

from ainit.child.server import Service
from ainit.errors import RefusedError
from ainit.linux import kmsg
from ainit.linux.cgroup import Tree
from ainit.linux.tpm import Tpm
from ainit.pid1 import loop
from ainit.pid1.control import Control
from ainit.pid1.logs import Logs
from ainit.pid1.measure import Measurements
from ainit.pid1.methods import Facts, Methods
from ainit.pid1.relay import Relay
from ainit.pid1.supervisor import Effects, Supervisor
from ainit.policy import machine, phases
from ainit.policy.machine import Event
from ainit.policy.plan import AGENT, SERVICE, Plan, Record, Unit

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


class Host:
    """The parts, wired as ``ainit.pid1.main`` wires them."""

    def __init__(self, folder: Path) -> None:
        self.loop = loop.Loop()
        self.logs = Logs(self.loop)
        self.ending = False
        self._next_pid = FIRST_PID
        plan = Plan(units(), {"hostname": "ainos-test"})
        self.measurements = Measurements(MemoryTpm, str(folder / "measurements.cel"))
        cgroups = Tree(str(folder / "cgroup"))
        effects = Effects(
            spawn=self._spawn,
            signal=lambda pid, _number: self._died(pid),
            allocate=lambda _unit, done: done(None, "there is no GPU"),
            release=lambda _unit: None,
            measure=self._measure,
            say=self.logs.say,
            now=loop.now,
        )
        self.supervisor = Supervisor(plan, effects, cgroups)
        facts = Facts()
        facts.root, facts.state, facts.configuration = "verified", "ready", "default"
        methods = Methods(
            plan,
            facts,
            self.supervisor,
            self.measurements,
            self.logs,
            cgroups,
            self.loop,
            self._end,
        )
        providers = {name: unit.name for unit in plan.units for name in unit.provides}
        relay = Relay(self.loop, str(folder / "sockets"))
        methods.control = Control(
            self.loop, relay, str(folder / "control"), methods.table(), providers
        )
        self.loop.hook(self.supervisor.tick)

    def _spawn(self, unit: Unit, _gpu: Record | None) -> tuple[int, int]:
        if unit.name == "unsigned":
            raise RefusedError("model magika: the signature does not match")
        self._next_pid += 1
        return self._next_pid, 1

    def _died(self, pid: int) -> None:
        for state in self.supervisor.states.values():
            if state.pid == pid:
                self.supervisor.post(state.name, Event(machine.EXIT, pid=pid, status=15))

    def _measure(self) -> None:
        config = phases.measured(phases.MACHINE_CONFIG, "default", "sha256:" + "11" * 32)
        agent = phases.measured(phases.AGENT, "echo", "sha256:" + "22" * 32)
        refusal = phases.refused(phases.MODEL, "magika", "the signature does not match")
        for event in phases.boot_set(config, [refusal], [agent]):
            self.measurements.add(event)

    def _end(self, _how: str) -> None:
        self.ending = True

    def run(self) -> None:
        """Serve until asked to go down."""
        self.supervisor.start_all(rescue=False)
        print("ready", flush=True)
        while not self.ending:
            self.loop.turn()


def serve_echo(path: Path) -> None:
    """The unit ``echo``, in a thread."""
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    service = Service(ECHO, {"Echo": lambda parameters: {"text": parameters["text"]}})
    threading.Thread(target=service.serve, args=(listener,), daemon=True).start()


def main() -> None:
    """Run until Shutdown; the last answer still goes out."""
    folder = Path(sys.argv[1])
    kmsg._descriptor = os.open("/dev/null", os.O_WRONLY)
    serve_echo(folder / "sockets" / "echo")
    Host(folder).run()


if __name__ == "__main__":
    main()
