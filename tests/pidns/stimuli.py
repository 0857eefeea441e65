"""What makes PID 1 get to its lines: services die, people ask, files change, time passes.

Each stimulus ends when what it leads to has come, whatever befalls PID 1 meanwhile: what a fault
cut off is asked for again, as a person would, but never what was done. Leaves out faults and what
must hold: see ``sweep``.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ainit.child.client import Client
from ainit.errors import AinosError
from tests.pidns.machine import ACTOR, toml

if TYPE_CHECKING:
    from tests.pidns.sweep import World

FAST = {"first_s": 0.01, "factor": 1.0, "max_s": 0.01, "limit": 0}
SLEEPER = ["/bin/sleep", "1000000"]
# A service that writes down each start before anything else, and says one line.
RECORDER = 'echo "$AINOS_UNIT $$" >>%s; echo started; exec sleep 1000000'
# A service that writes a numbered line for each line that comes through a FIFO.
CHATTER = 'n=0; while read -r x; do n=$((n+1)); echo "line $n"; done <%s'
# One that never stops to talk.
COUNTER = """
import os, time
number = 0
while True:
    number += 1
    os.write(1, b"%d %s\\n" % (number, b"x" * 100))
    time.sleep(0.05)
"""
# One that says something of everything to the notification socket when it gets SIGUSR1 or SIGHUP.
SPEAKER = """
import os, signal, socket
path, number = os.environ["NOTIFY_SOCKET"], 0
def say(text, *descriptors):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(path)
        socket.send_fds(channel, [text.encode()], descriptors)
def speak(signum, frame):
    global number
    number += 1
    say("WATCHDOG=1\\nEXTEND_TIMEOUT_USEC=1000000\\nMAINPID=%d" % os.getpid())
    say("FDSTORE=1\\nFDNAME=null", 0)
    say("FDSTORE=1\\nFDNAME=two", 0, 1)
    say("FDSTOREREMOVE=1\\nFDNAME=two")
    say("RELOADING=1")
    say("READY=1\\nSTATUS=%d" % number)
signal.signal(signal.SIGUSR1, speak)
signal.signal(signal.SIGHUP, speak)
say("READY=1\\nSTATUS=0")
while True:
    signal.pause()
"""
ANSWERER = """
import socket
peer, _ = socket.socket(fileno=3).accept()
peer.sendall(b"x")
peer.close()
"""
AGENT = "import signal\nsignal.pause()\n"
EXTRA = '[service]\nexec = ["/bin/sleep", "1000000"]\nautostart = false\n'
TICK = """[service]
exec = ["/bin/true"]
type = "oneshot"
[timer]
boot_s = 0.01
every_s = 0.3
calendar = "*-*-* *:*:*"
"""
REST = ("inactive", "ready", "exited", "failed", "refused")
SURVIVORS = ("chatter", "counter")
OTHERS = ("speaker", "echo", "gpu")


def python(code: str) -> list[str]:
    return ["/usr/bin/python3", "-I", "-S", "-c", code]


class Stimuli:
    """All of them, for one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turn = 0
        self._spool = world.directory / "spool"
        self._touched = world.directory / "touched"
        self._flag = world.directory / "flag"
        self._fifo = -1
        self.spoken = 0  # lines that chatter was made to write
        self.table: dict[str, Callable[[], None]] = {
            "crash": self.crash,
            "restart": self.restart,
            "log": self.log,
            "notify": self.notify,
            "malformed": self.malformed,
            "ask": self.ask,
            "oneshot": lambda: self.up_and_down("once", "exited"),
            "careful": lambda: self.up_and_down("careful", "exited"),
            "fork": lambda: self.up_and_down("forker", "ready"),
            "leave": lambda: self.act("Start", "leaver", "failed"),
            "late": lambda: self.act("Start", "late", "failed"),
            "watchdog": lambda: self.act("Start", "watched", "failed"),
            "refuse": lambda: self.act("Start", "lacking", "refused"),
            "unwell": lambda: self.act("Start", "ill", "failed"),
            "probe": self.probe,
            "stop": self.stop,
            "agent": lambda: self.up_and_down("worker", "ready"),
            "provide": self.provide,
            "follow": self.follow,
            "reload": self.reload,
            "path": self.path,
            "demand": self.demand,
            "trigger": self.trigger,
            "configure": self.configure,
            "timer": self.timer,
            "revert": self.revert,
            "reexec": self.reexec,
            "soft-reboot": self.soft_reboot,
        }

    def units(self) -> None:
        """Write the units that the stimuli need. The machine is not booted yet."""
        world, machine = self._world, self._world.machine
        directory = world.directory
        for path in (self._spool,):
            path.mkdir()
        self._touched.touch()
        (directory / "secret").write_text("secret")
        os.mkfifo(directory / "fifo")
        self._fifo = os.open(directory / "fifo", os.O_RDWR | os.O_CLOEXEC)
        for name in world.names:
            script = ["/bin/sh", "-c", RECORDER % world.starts]
            self._unit(name, script, backoff=FAST, restart="always", survives=True)
        script = ["/bin/sh", "-c", CHATTER % (directory / "fifo")]
        self._unit("chatter", script, backoff=FAST, survives=True)
        self._unit("counter", python(COUNTER), backoff=FAST, survives=True)
        self._unit(
            "speaker", python(SPEAKER), type="notify", backoff=FAST, fd_store_max=4,
            reload_signal="HUP", notify_access="all",
        )  # fmt: skip
        off = {"autostart": False, "restart": "never"}
        leaver = "trap '' TERM; sleep 1000000 & exit 1"
        self._unit("leaver", ["/bin/sh", "-c", leaver], **off)
        forker = "sleep 1000000 & exit 0"
        self._unit("forker", ["/bin/sh", "-c", forker], type="forking", autostart=False)
        self._unit("once", ["/bin/true"], type="oneshot", **off)
        self._unit("needed", SLEEPER, autostart=False)
        self._unit("needing", SLEEPER, autostart=False, requires=["needed"])
        self._unit("bound", SLEEPER, autostart=False, bound_to=["needed"])
        self._unit("rival", SLEEPER, autostart=False, conflicts=["needed"])
        self._unit("late", [*ACTOR, "pause"], type="notify", start_timeout_s=0.3, **off)
        self._unit("watched", [*ACTOR, "ready"], type="notify", watchdog_s=0.2, **off)
        self._unit("lacking", SLEEPER, models=["absent"], **off)
        probe: dict[str, object] = {"exec": ["/bin/false"], "interval_s": 0.1, "failures": 2}
        self._unit("ill", SLEEPER, probe=probe, **off)
        probe = {"exec": ["/bin/true"], "interval_s": 0.1, "readiness": True}
        self._unit("well", SLEEPER, probe=probe, **off)
        probe = {"connect": f"unix:{machine.control}", "interval_s": 0.1, "readiness": True}
        self._unit("reached", SLEEPER, probe=probe, **off)
        probe = {"varlink": "org.ainos.Asked", "interval_s": 0.1, "readiness": True}
        asked = [*ACTOR, "provide", "org.ainos.Asked", "/dev/null"]
        self._unit("asked", asked, probe=probe, provides=["org.ainos.Asked"], **off)
        self._unit(
            "careful", ["/bin/true"], type="oneshot", user="nobody", group="nogroup", nice=1,
            oom_score=10, umask="027", directory="/tmp", groups=["daemon"], **off,
            capabilities=["CAP_NET_BIND_SERVICE"], limits={"nofile": 100},
            credentials={"key": f"{directory}/secret"}, environment={"A": "b"},
        )  # fmt: skip
        for name in ("echo", "gpu"):
            interface = f"org.ainos.{name.title()}"
            provide = [*ACTOR, "provide", interface, "/dev/null"]
            self._unit(name, provide, type="notify", provides=[interface], backoff=FAST)
        machine.model("speech", "a model")
        machine.agent("worker", AGENT, gpu="1g.10gb", models=["speech"], autostart=False)
        trigger = {"type": "oneshot", "backoff": FAST}
        self._unit("changing", ["/bin/true"], path={"changed": str(self._touched)}, **trigger)
        empty = ["/bin/sh", "-c", f"rm -f {self._spool}/*"]
        self._unit("spooler", empty, path={"not_empty": str(self._spool)}, **trigger)
        remove = ["/bin/rm", "-f", str(self._flag)]
        self._unit("flagged", remove, path={"exists": str(self._flag)}, **trigger)
        listen = {"listen": f"unix:{directory}/demand"}
        self._unit("demand", python(ANSWERER), socket=listen, restart="on-failure", backoff=FAST)
        machine.tpm()

    def close(self) -> None:
        """Give back what they hold."""
        if self._fifo >= 0:
            os.close(self._fifo)

    def _unit(self, name: str, command: list[str], **keys: object) -> None:
        service: dict[str, object] = {"exec": command, "stop_timeout_s": 30}
        tables: dict[str, dict[str, object]] = {}
        for key, value in keys.items():
            if key in ("backoff", "probe", "path", "socket"):
                assert isinstance(value, dict)
                tables[f"[{key}]" if key in ("path", "socket") else key] = value
            else:
                service[key] = value
        if "[socket]" in tables:
            tables["activation"] = {"on_demand": True}
        path = self._world.directory / f"units/{name}.toml"
        path.write_text(toml({"service": service, **tables}), encoding="utf-8")

    # What several of them do.

    def act(self, member: str, name: str, *states: str) -> None:
        """Ask for it until the unit came anew into one of ``states``."""
        world = self._world
        before = world.describe(name)["since"]

        def reached() -> bool:
            unit = world.peek(name)
            if not unit:
                return False
            anew = unit["since"] != before
            if anew and unit["state"] in states:
                return True
            if (unit["state"] in REST and unit["state"] not in states) or not anew:
                world.call(member, name=name)
            return False

        world.until(reached, f"{name} to be {' or '.join(states)} by {member}")

    def up_and_down(self, name: str, up: str) -> None:
        """Start a unit and stop it."""
        self.act("Start", name, up)
        self.act("Stop", name, "inactive")

    def _victim(self) -> str:
        self._turn += 1
        return self._world.names[self._turn % len(self._world.names)]

    # The stimuli.

    def crash(self) -> None:
        """A service dies."""
        name, world = self._victim(), self._world
        pid = world.pid(name)
        world.expected[name] += 1
        world.kill(pid)
        world.until(lambda: world.is_anew(name, pid), f"{name} to be back")

    def restart(self) -> None:
        """Somebody restarts a service; again only if PID 1 does not know of it."""
        name, world = self._victim(), self._world
        pid = world.pid(name)
        world.expected[name] += 1

        def restarted() -> bool:
            unit = world.peek(name)
            if unit and unit["state"] == "ready" and unit["pid"] == pid:
                world.call("Restart", name=name)
            return world.is_anew(name, pid)

        world.until(restarted, f"{name} to be restarted")

    def stop(self) -> None:
        """Units that hang on one another, and one that does not bear another."""
        self.act("Start", "needing", "ready")
        self.act("Start", "bound", "ready")
        self.act("Restart", "needed", "ready")
        self.act("Start", "rival", "ready")
        for name in ("needing", "bound", "needed", "rival"):
            if self._world.describe(name)["state"] != "inactive":
                self.act("Stop", name, "inactive")

    def log(self) -> None:
        """A service says a line."""
        os.write(self._fifo, b"x\n")
        self.spoken += 1
        wanted, world = f"line {self.spoken}", self._world
        world.until(lambda: wanted in world.lines("chatter", 5), f"{wanted} to be in the log")

    def follow(self) -> None:
        """Somebody reads along; cut off, he does not come back."""
        try:
            with Client(self._world.machine.control, timeout=5.0) as client:
                parameters = {"unit": "chatter", "lines": 1, "follow": True}
                for index, answer in enumerate(client.more("org.ainos.Control.Logs", parameters)):
                    if index == 0:
                        os.write(self._fifo, b"x\n")
                        self.spoken += 1
                    elif answer["lines"]:
                        break
        except AinosError:
            pass
        self.log()

    def notify(self) -> None:
        """A service says how it is."""
        self._speak(lambda pid: self._world.kill(pid, signal.SIGUSR1))

    def reload(self) -> None:
        """Somebody has a service read its configuration anew."""
        self._speak(lambda pid: self._world.call("ReloadUnit", name="speaker"))

    def _speak(self, ask: Callable[[int], object]) -> None:
        world = self._world
        before = world.describe("speaker")
        pid = world.pid("speaker")
        told = [bool(ask(pid)), 0]

        def spoken() -> bool:
            unit = world.peek("speaker")
            if not unit or unit["state"] != "ready":
                return False
            if (unit["pid"], unit["status_text"]) != (pid, before["status_text"]):
                return True
            told[1] += 1
            if told[1] % 1000 == 0:  # the call was cut off before PID 1 had done it
                ask(pid)
            return False

        world.until(spoken, "the speaker to be heard")

    def ask(self) -> None:
        """Somebody wants to know."""
        world = self._world
        world.call("Status")
        world.call("Logs", unit="chatter", lines=10)
        world.call("Logs", lines=10)
        world.call("Logs", cursors={"chatter": 0}, unit="chatter")
        world.call("Measurements")
        world.call("Accounting")
        world.call("Accounting", names=["chatter"])
        world.call("GetPlan")
        world.call("org.varlink.service.GetInfo")
        world.call("org.varlink.service.GetInterfaceDescription", interface="org.ainos.Control")

    def provide(self) -> None:
        """Somebody calls a service."""
        world = self._world
        world.call("org.ainos.Echo.Echo", text="hello")
        world.call("org.varlink.service.GetInterfaceDescription", interface="org.ainos.Echo")
        world.call("org.ainos.Asked.Echo", text="nobody is there")

    def malformed(self) -> None:
        """Somebody asks what has no answer."""
        world = self._world
        for member in ("NoSuchMethod", "Describe", "Logs", "Confirm", "Kexec", "ReloadUnit"):
            world.call(member, name="nobody", unit="nobody")
        world.call("ReloadUnit", name="chatter")
        world.call("Describe", name=7)
        world.call("Configure", files={"../passwd": ""})
        world.call("Configure", files={}, revert_after_s=-1.0)
        world.call("org.example.Nobody.Ask")
        world.call("org.varlink.service.Ask")
        world.call("org.varlink.service.GetInterfaceDescription", interface="org.example.Nobody")
        for data in (b"garbage\0", b"{}\0", b'{"method": 1}\0', b""):
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(10)
                try:
                    channel.connect(world.machine.control)
                    channel.sendall(data)
                    channel.shutdown(socket.SHUT_WR)
                    channel.recv(100)
                except OSError:
                    continue

    def probe(self) -> None:
        """Units whose probes make them ready."""
        for name in ("well", "reached", "asked"):
            self.up_and_down(name, "ready")

    def trigger(self) -> None:
        """A device appears."""
        world = self._world
        self.act("Start", "once", "exited")
        world.call("Trigger", name="once", reason="a device appeared")
        self.act("Stop", "once", "inactive")

    def path(self) -> None:
        """Files appear and change, and that is never missed."""
        world = self._world
        before = world.describe("changing")["since"]
        os.utime(self._touched)
        (self._spool / "file").touch()
        self._flag.touch()

        def seen() -> bool:
            unit = world.peek("changing")
            done = unit and unit["since"] != before and unit["state"] == "exited"
            return bool(done) and not self._flag.exists() and not os.listdir(self._spool)

        world.until(seen, "paths to start their units")
        for name in ("spooler", "flagged"):
            world.until(lambda name=name: world.peek(name).get("state") == "exited", name)  # type: ignore[misc]

    def demand(self) -> None:
        """A client comes to a service that is down."""
        world = self._world
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(60)
            channel.connect(f"{world.directory}/demand")
            assert channel.recv(1) == b"x"  # it waits there until somebody answers
        world.until(lambda: world.peek("demand").get("state") == "exited", "the service to leave")

    def configure(self) -> None:
        """Another unit comes and goes."""
        self._configured("extra", EXTRA)
        self.up_and_down("extra", "ready")
        self._configured("extra", "")
        self._world.call("ReloadConfiguration")
        self._world.call("Configure", files={"units/extra.toml": "[service]\n"})

    def timer(self) -> None:
        """A unit that is started at a time."""
        world = self._world
        self._configured("tick", TICK)
        since: set[object] = set()

        def ticked() -> bool:
            unit = world.peek("tick")
            if unit.get("state") == "exited":
                since.add(unit["since"])
            return len(since) > 2

        world.until(ticked, "the timer to elapse")
        self._configured("tick", "")

    def revert(self) -> None:
        """A configuration that is confirmed, and one that nobody confirms."""
        world = self._world
        files = {"units/extra.toml": EXTRA}
        world.call("Configure", files=files, revert_after_s=60.0)
        world.call("Confirm")
        self._configured("extra", "")
        world.call("Configure", files=files, revert_after_s=0.2)
        world.until(lambda: "error" in world.call("Describe", name="extra"), "the way back")

    def _configured(self, name: str, text: str) -> None:
        world = self._world

        def done() -> bool:
            answer = world.call("Describe", name=name)
            if not answer:
                return False
            if ("unit" in answer) == bool(text):
                return True
            world.call("Configure", files={f"units/{name}.toml": text})
            return False

        world.until(done, f"{name} to be {'there' if text else 'gone'}")

    def reexec(self) -> None:
        """PID 1 executes itself."""
        self._world.call("Reexec")

    def soft_reboot(self) -> None:
        """User space begins anew, all but the survivors."""
        world = self._world
        before = {name: world.pid(name) for name in OTHERS}

        def rebooted() -> bool:
            unit = world.peek(OTHERS[0])
            if unit and unit["state"] == "ready" and unit["pid"] == before[OTHERS[0]]:
                world.call("SoftReboot")
            return all(world.is_anew(name, pid) for name, pid in before.items())

        world.until(rebooted, "user space to begin anew")
