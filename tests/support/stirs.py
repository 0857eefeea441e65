"""What happens to the machine of ``lives``: services die and speak, people ask, time passes.

Each stimulus tells the model what it gives reason for, and leaves the machine where it found it.
Leaves out faults, and waiting until all is well again: see ``lives``.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ainit import constants
from ainit.policy import plan
from ainit.policy.plan import Plan, Unit
from tests.support.kernel import Kernel, Process, lift
from tests.support.model import DONE, DOWN, HELD, RESTING, UP
from tests.support.units import make_unit

if TYPE_CHECKING:
    from tests.support.lives import World

_YEAR = 365 * 86400.0
ECHO, GPU = "org.test.Echo", "org.ainos.Gpu"


class Stirs:
    """The units of the machine and all that can happen to it, by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        kernel = world.kernel
        self._kernel = kernel
        self.directory = kernel.directory
        self.spool = f"{kernel.directory}/spool"
        self.web = f"{kernel.directory}/web"
        os.mkdir(self.spool)
        with open(f"{self.directory}/key", "w", encoding="ascii") as file:
            file.write("secret")
        self.rests = dict.fromkeys(
            ("db", "app", "side", "forker", "probed", "echo", "gpu", "agent", "careful", "last",
             "stubborn", "all"),
            UP,
        )  # fmt: skip
        self.at_boot = [name for name in self.rests if name != "all"] + ["setup"]
        self.rests |= {"setup": DONE, "rival": DOWN, "flaky": DOWN, "late": DOWN}
        self.rests |= dict.fromkeys(("once", "web", "tick", "spool", "sight", "touch"), RESTING)
        self.processless = ("all",)
        self.lines: Counter[str] = Counter({"app": 0})  # written, not looked for yet
        self.cursors: Counter[str] = Counter()
        self._spoken: Counter[str] = Counter()
        self._ill = 0
        self._changes = 0
        kernel.behaviours = {
            "setup": _ends,
            "db": self._db,
            "forker": _daemon,
            "once": _ends,
            "web": self._serve_web,
            "tick": _ends,
            "spool": self._empty_spool,
            "sight": self._take_flag,
            "touch": _ends,
            "probe": self._probe,
            "job": self._compile,
            "echo": _listens,
            "gpu": _listens,
            "stubborn": _ignores,
        }
        self.table: dict[str, Callable[[], None]] = {
            "crash": self.crash,
            "crash of what others hang on": self.crash_db,
            "crash that leaves a process": self.leave,
            "restart": lambda: self.restart("app"),
            "restart of a careful one": lambda: self.restart("careful"),
            "restart with a GPU": lambda: self.restart("agent"),
            "restart of a provider": lambda: self.restart("echo"),
            "stop and start": self.stop_and_start,
            "stubborn stop": self.stubborn,
            "reload": self.reload,
            "notifications": self.notifications,
            "oneshot": lambda: self.start_once("once"),
            "connection": self.connect,
            "timer": self.elapse,
            "path": self.fill,
            "path that exists": self.raise_flag,
            "path that changes": self.touch,
            "probe": self.probe,
            "probe that fails": self.probe_fails,
            "log": self.write_lines,
            "relay": self.relay,
            "daemon": self.daemon,
            "exhausted": self.exhaust,
            "rival": self.rival,
            "not ready": self.late,
            "watchdog": self.watchdog,
            "questions": self.questions,
            "configuration": self.configure,
            "configuration that is reverted": self.revert,
            "re-execution": self.reexecute,
            "soft reboot": self.soft_reboot,
            "power off": self.power_off,
        }

    def plan(self) -> Plan:
        """What the machine runs."""
        forever: dict[str, Any] = {
            "backoff_limit": 0, "backoff_factor": 1.0, "essential": False,
        }  # fmt: skip
        work: dict[str, Any] = {**forever, "type": plan.ONESHOT, "restart": plan.ON_FAILURE}
        off: dict[str, Any] = {**forever, "autostart": False}
        units = [
            make_unit("setup", **{**work, "stage": plan.EARLY}),
            make_unit("db", type=plan.NOTIFY, requires=["setup"], watchdog=_YEAR, fd_store_max=4,
                      reload_signal=1, **forever),
            make_unit("app", requires=["db"], **{**forever, "essential": True}),
            make_unit("side", bound_to=["db"], wants=["app"], **forever),
            make_unit("forker", type=plan.FORKING, **forever),
            make_unit("probed", probe_exec=["/bin/true"], probe_interval=900.0, probe_failures=2,
                      **forever),
            make_unit("echo", provides=[ECHO], probe_varlink=ECHO, probe_interval=1100.0,
                      **forever),
            make_unit("gpu", provides=[GPU], **forever),
            make_unit("agent", gpu_profile="1g", **forever),
            make_unit("careful", user_name="nobody", group="nogroup", umask=0o27, nice=1,
                      limits={"nofile": 9}, memory_max=1 << 20, pids_max=9, memory_pressure=20.0,
                      capabilities=["CAP_KILL"], credentials={"key": f"{self.directory}/key"},
                      **forever),
            make_unit("stubborn", survives=True, **forever),
            make_unit("all", type=plan.TARGET, wants=["app", "side"], **forever),
            make_unit("last", stage=plan.HEALTHY, **forever),
            make_unit("once", **{**work, "autostart": False}),
            make_unit("web", on_demand=True, sockets=[{"listen": f"unix:{self.web}"}],
                      **{**forever, "restart": plan.ON_FAILURE}),
            make_unit("tick", timer_every=0.9 * _YEAR, **work),
            make_unit("spool", paths=[{"not-empty": self.spool}], **work),
            make_unit("sight", paths=[{"exists": f"{self.directory}/flag"}], **work),
            make_unit("touch", paths=[{"changed": f"{self.directory}/key"}], **work),
            make_unit("rival", conflicts=["app"], **off),
            make_unit("flaky", **{**off, "backoff_limit": 1}),
            make_unit("late", type=plan.NOTIFY, restart=plan.NEVER, **off),
        ]  # fmt: skip
        for unit in units:
            unit.exec = ["/bin/sleep", "infinity"]
        return Plan(units, {"hostname": "box", "without_tpm": "start"})

    # What services do.

    def reply(self, one: Process, call: dict[str, Any]) -> dict[str, Any] | None:
        """What a service answers; None: it hangs up."""
        member = str(call["method"]).rpartition(".")[2]
        if member == "Allocate":
            return {"parameters": {"uuid": "MIG-1", "gpu": 0, "environment": {"X": "1"}}}
        if member == "GetInfo":
            return {"parameters": {"interfaces": [ECHO]}}
        return {"parameters": {"text": call.get("parameters")}}

    def _db(self, kernel: Kernel, one: Process) -> None:
        def reload() -> None:
            kernel.notify(one, constants.NOTIFY, "RELOADING=1")
            kernel.notify(one, constants.NOTIFY, "READY=1")

        one.on_signal[1] = reload
        kernel.notify(one, constants.NOTIFY, "READY=1\nSTATUS=up")

    def _serve_web(self, kernel: Kernel, one: Process) -> None:
        listener = socket.socket(fileno=os.dup(one.descriptors[0]))
        with listener:
            os.set_blocking(listener.fileno(), False)
            while True:
                try:
                    peer, _ = listener.accept()
                except BlockingIOError:
                    break
                with peer:
                    peer.send(b"x")
            os.set_blocking(listener.fileno(), True)
        kernel.die(one.pid, 0)

    def _empty_spool(self, kernel: Kernel, one: Process) -> None:
        for name in os.listdir(self.spool):
            os.unlink(f"{self.spool}/{name}")
        kernel.die(one.pid, 0)

    def _probe(self, kernel: Kernel, one: Process) -> None:
        kernel.die(one.pid, 1 if self._ill else 0)

    def _compile(self, kernel: Kernel, one: Process) -> None:
        """The compiler: the same units, and one more for each file."""
        argv = one.argv
        out, folder = argv[argv.index("--out") + 1], argv[argv.index("--units") + 1]
        compiled = self.plan()
        for name in sorted(os.listdir(folder)):
            unit: Unit = make_unit(name.removesuffix(".toml"), essential=False, backoff_limit=0)
            unit.exec = ["/bin/sleep", "infinity"]
            compiled.units.append(unit)
        import json

        with open(out, "w", encoding="utf-8") as file:
            json.dump(compiled.to_record(), file)
        kernel.die(one.pid, 0)

    # What happens.

    def ask(self, member: str, **parameters: object) -> int:
        """A person asks, and again until there is an answer; returns how often in vain."""
        answer, again = self._world.ask(member, **parameters)
        assert "error" not in answer, answer
        return again

    def _kill(self, name: str, status: int = 1) -> None:
        one = self._kernel.main(name)
        assert one is not None
        self._kernel.die(one.pid, status)

    def _restarts(self, *names: str) -> None:
        for name in names:
            self._world.model.starts(name)

    def crash(self) -> None:
        self._restarts("app")
        self._kill("app")

    def crash_db(self) -> None:
        self._restarts("db", "side")
        self._kill("db")

    def leave(self) -> None:
        self._restarts("app")
        one = self._kernel.main("app")
        assert one is not None
        self._kernel.fork(one)
        self._kernel.die(one.pid, -11)

    def restart(self, name: str) -> None:
        again = self.ask("Restart", name=name)
        self._world.model.starts(name, 1, 1 + again)

    def stop_and_start(self) -> None:
        model = self._world.model
        for name in ("db", "app", "side"):
            model.rests[name] = DOWN
        self.ask("Stop", name="db")
        self._world.rest()
        for name in ("db", "app", "side"):
            model.rests[name] = UP
            model.starts(name)
        self.ask("Start", name="all")

    def stubborn(self) -> None:
        model = self._world.model
        model.rests["stubborn"] = DOWN
        self.ask("Stop", name="stubborn")
        self._world.rest()
        model.rests["stubborn"] = UP
        self._restarts("stubborn")
        self.ask("Start", name="stubborn")

    def reload(self) -> None:
        self.ask("ReloadUnit", name="db")

    def notifications(self) -> None:
        kernel, one = self._kernel, self._kernel.main("db")
        assert one is not None
        for text in ("STATUS=busy", "WATCHDOG=1", f"MAINPID={one.pid}"):
            kernel.notify(one, constants.NOTIFY, text)
        self._send_descriptor(one, "FDSTORE=1\nFDNAME=kept")
        self._send_descriptor(one, "FDSTORE=1\nFDNAME=gone")
        kernel.notify(one, constants.NOTIFY, "FDSTOREREMOVE=1\nFDNAME=gone")
        kernel.notify(one, constants.NOTIFY, "FDSTOREREMOVE=1\nFDNAME=kept")

    def _send_descriptor(self, one: Process, text: str) -> None:
        reader, writer = os.pipe()
        self._kernel.notify(one, constants.NOTIFY, text, reader)
        os.close(reader)
        os.close(writer)

    def start_once(self, name: str) -> None:
        again = self.ask("Start", name=name)
        self._world.model.starts(name, 1, 1 + again)

    def connect(self) -> None:
        self._restarts("web")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as low:
            low.connect(self.web)
            channel = socket.socket(fileno=lift(low.detach()))
        with channel:
            channel.setblocking(False)

            def served() -> bool:
                try:
                    return channel.recv(1) == b"x"
                except BlockingIOError:
                    return False

            self._world.until(served, "the connection to be served")

    def elapse(self) -> None:
        one = self._kernel.main("db")
        assert one is not None
        self._kernel.notify(one, constants.NOTIFY, "WATCHDOG=1")
        self._world.rest()
        self._kernel.now = max(self._next_tick(), self._kernel.now)
        self._restarts("tick")

    def _next_tick(self) -> float:
        init = self._world.init
        assert init is not None
        return init.activation.timers.next("tick")

    def fill(self) -> None:
        with open(f"{self.spool}/new", "w", encoding="ascii"):
            pass
        self._restarts("spool")

    def _take_flag(self, kernel: Kernel, one: Process) -> None:
        if os.path.exists(f"{self.directory}/flag"):
            os.unlink(f"{self.directory}/flag")
        kernel.die(one.pid, 0)

    def raise_flag(self) -> None:
        with open(f"{self.directory}/flag", "w", encoding="ascii"):
            pass
        self._restarts("sight")

    def touch(self) -> None:
        with open(f"{self.directory}/key", "a", encoding="ascii") as file:
            file.write("x")
        self._restarts("touch")

    def probe(self) -> None:
        self._kernel.now += 1200.0

    def probe_fails(self) -> None:
        self._ill = 1
        self._restarts("probed")
        self._kernel.now += 900.0
        try:
            self._world.until(lambda: bool(self._kernel.born["probed"]), "the probe to fail")
        finally:
            self._ill = 0

    def write_lines(self) -> None:
        one = self._kernel.main("app")
        assert one is not None
        for _ in range(3):
            self._spoken["app"] += 1
            os.write(one.output, f"line {self._spoken['app']}\n".encode())
        self.lines["app"] += 3

    def relay(self) -> None:
        answer, _ = self._world.ask(f"{ECHO}.Say", text="x")
        if "error" in answer:
            assert answer["error"].endswith("Unavailable"), answer

    def daemon(self) -> None:
        self._restarts("forker")
        for one in self._kernel.members("forker"):
            self._kernel.die(one.pid, 1)

    def exhaust(self) -> None:
        """It may fail once. That it could not be started, or not execute, counts."""
        model = self._world.model
        model.rests["flaky"] = UP | HELD
        self.ask("Start", name="flaky")
        for _ in range(2):
            model.starts("flaky", 0, 1)
            self._world.rest()
            if self._kernel.main("flaky"):
                self._kill("flaky")
        model.rests["flaky"] = HELD
        self._world.rest()
        model.rests["flaky"] = DOWN
        self.ask("Stop", name="flaky")

    def rival(self) -> None:
        model = self._world.model
        model.rests["app"], model.rests["rival"] = DOWN, UP
        model.starts("rival")
        self.ask("Start", name="rival")
        self._world.rest()
        model.rests["app"], model.rests["rival"] = UP, DOWN
        model.starts("app")
        self.ask("Start", name="app")

    def late(self) -> None:
        model = self._world.model
        model.rests["late"] = HELD
        self.ask("Start", name="late")
        model.starts("late", 0, 1)
        self._world.rest()
        model.rests["late"] = DOWN
        self.ask("Stop", name="late")

    def watchdog(self) -> None:
        self._restarts("db", "side", "tick")
        for _ in range(3):  # whoever takes over gives it a whole year again
            executions = self._world.executions
            self._kernel.now += _YEAR
            self._world.until(
                lambda: bool(self._kernel.born["db"]) or self._world.executions > executions,  # noqa: B023
                "the watchdog to bite",
            )
            if self._kernel.born["db"]:
                break
            # Once by its timer; once more when the second fault hid how it had ended.
            self._world.model.starts("tick", 0, 2)

    def questions(self) -> None:
        for member in ("Status", "Accounting", "Measurements", "GetPlan"):
            self.ask(member)
        self.ask("Describe", name="careful")
        self.ask("Logs", unit="app", lines=5)
        self.ask("org.varlink.service.GetInfo")

    def configure(self) -> None:
        model = self._world.model
        model.rests["extra"] = UP
        model.starts("extra")
        self._configure("extra", "")
        self._world.rest()
        self._configure(None, "extra")
        del model.rests["extra"]
        self._world.until(lambda: self._is_gone("extra"), "the unit to be gone")

    def revert(self) -> None:
        model = self._world.model
        model.rests["brief"] = UP
        model.starts("brief")
        self._configure("brief", "", 300.0)
        self._world.rest()
        self._kernel.now += 300.0
        del model.rests["brief"]
        self._world.until(lambda: self._is_gone("brief"), "the configuration to be reverted")

    def _configure(self, name: str | None, gone: str, seconds: float = 0.0) -> None:
        """Have a configuration with one more unit in force; it may be refused for now."""
        files = {f"units/{gone}.toml": ""} if gone else {}
        if name:
            files[f"units/{name}.toml"] = "x"
        answers = []
        for _ in range(4):
            answer, _ = self._world.ask("Configure", files=files, revert_after_s=seconds)
            if "error" not in answer:
                return
            answers.append(answer)
        raise AssertionError(answers)

    def _is_gone(self, name: str) -> bool:
        init = self._world.init
        return init is not None and name not in init.supervisor.units

    def reexecute(self) -> None:
        before = self._world.executions
        while self._world.executions == before:
            self._world.ask("Reexec")

    def soft_reboot(self) -> None:
        before = self._world.executions
        for name in self.at_boot:
            if name != "stubborn":
                self._restarts(name)
        self._world.ask_to_leave("SoftReboot")
        self._world.until(lambda: self._world.soft_reboots > 0, "user space to begin anew")
        self._world.soft_reboots = 0
        assert self._world.executions > before

    def power_off(self) -> None:
        self._world.ask_to_leave("Shutdown")
        self._world.until(lambda: bool(self._world.left), "the machine to go down")
        alive = [one.unit for one in self._kernel.processes.values() if one.status is None]
        assert not alive, f"alive when the machine went down: {alive}"
        self._world.power_cycle()
        for name in self.at_boot:
            self._restarts(name)


def _ends(kernel: Kernel, one: Process) -> None:
    kernel.die(one.pid, 0)


def _daemon(kernel: Kernel, one: Process) -> None:
    kernel.fork(one)
    kernel.die(one.pid, 0)


def _ignores(kernel: Kernel, one: Process) -> None:
    one.on_signal[15] = lambda: None


def _listens(kernel: Kernel, one: Process) -> None:
    one.listener = socket.socket(fileno=lift(os.dup(one.descriptors[0])))
    one.listener.setblocking(False)
