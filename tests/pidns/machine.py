"""A machine of namespaces: units in a directory, a real PID 1 of its own, and a client.

Leaves out what needs a kernel of its own: mounts, disks and power, which ``tests/qemu`` covers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ainit.child.client import Client
from ainit.child.compile import compile_plan
from ainit.errors import AinosError
from ainit.linux import fsverity
from ainit.policy import model_files
from ainit.wire.codec import dumps
from tests.support.wait import wait_for

HERE = Path(__file__).resolve().parent
ACTOR = ["/usr/bin/python3", "-I", str(HERE / "actor.py")]
NAMESPACES = ["unshare", "--pid", "--mount", "--fork", "--kill-child"]
CONTROL = "org.ainos.Control"

Section = Mapping[str, object]
Record = dict[str, object]


@dataclass(frozen=True)
class Process:
    """One process of the machine: its pid inside, its pid outside, and its state as in proc(5)."""

    pid: int
    host_pid: int
    parent: int
    state: str
    command: str


def toml(sections: Mapping[str, Section]) -> str:
    """TOML text of tables of plain values, whose form JSON shares."""
    lines = []
    for name, section in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in section.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


class Machine:
    """Write units, ``boot``, look and act, ``destroy``. ``network`` is the one that it is in."""

    def __init__(self) -> None:
        # A short path, for a socket's has 107 characters at most; one that agents may pass through.
        self.directory = Path(tempfile.mkdtemp(prefix="ainit-"))
        self.directory.chmod(0o755)
        for name in ("units", "agents", "cgroup", "state/config", "run", "models"):
            (self.directory / name).mkdir(parents=True)
        self.configure("[machine]\nhostname = 'test'\n", image=True)
        self._admitted: list[Record] = []
        self.guest = "guest.py"
        self.network = "/proc/self/ns/net"
        self._unshare: subprocess.Popen[bytes] | None = None
        self.init_host_pid = 0

    def configure(self, text: str, *, image: bool = False) -> None:
        """Write the machine configuration, or with ``image`` the default that the image carries."""
        where = "machine.toml" if image else "state/config/machine.toml"
        (self.directory / where).write_text(text, encoding="utf-8")

    def unit(self, name: str, *verb: str, **keys: object) -> None:
        """A service that runs a verb of the actor, or ``command`` (a list) when given.

        ``backoff`` and ``resources`` are tables, the other keys are those of [service].
        """
        command = keys.pop("command", [*ACTOR, *verb])
        service = {"exec": command, "stop_timeout_s": 30, **keys}
        sections: dict[str, Section] = {}
        for table in ("backoff", "resources"):
            if table in keys:
                sections[table] = _section(service.pop(table))
        text = toml({"service": service, **sections})
        (self.directory / f"units/{name}.toml").write_text(text, encoding="utf-8")

    def agent(
        self,
        name: str,
        code: str,
        *,
        gpu: str = "",
        sandbox: Section | None = None,
        **keys: object,
    ) -> Path:
        """An agent whose bundle holds ``main.py``; returns the packed bundle."""
        source = self.directory / f"agents/{name}"
        source.mkdir()
        (source / "main.py").write_text(code, encoding="utf-8")
        agent = {"exec": ["/usr/bin/python3", "-I", "main.py"], "type": "simple", **keys}
        sections: dict[str, Section] = {"agent": agent}
        if gpu:
            sections["gpu"] = {"profile": gpu}
        if sandbox:
            sections["sandbox"] = sandbox
        (source / "manifest.toml").write_text(toml(sections), encoding="utf-8")
        bundle = self.directory / f"agents/{name}.erofs"
        subprocess.run(
            ["mkfs.erofs", "--quiet", "--all-root", bundle, source],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return bundle

    def model(self, name: str, content: str, *, state: str = "admitted", reason: str = "") -> Path:
        """A model that the store admitted or refused."""
        path = self.directory / f"models/{name}"
        path.write_text(content, encoding="utf-8")
        digest = fsverity.text(fsverity.digest_file(str(path)))
        entry: Record = {"name": name, "kind": "model", "path": str(path), "digest": digest}
        self._admitted.append({**entry, "state": state, "reason": reason, "signer": ""})
        text = json.dumps({"models": self._admitted})
        (self.directory / "run/admitted.json").write_text(text, encoding="utf-8")
        return path

    def model_of_several(self, name: str, contents: dict[str, str]) -> Path:
        """A model of several files that the store admitted, in place of what had the name."""
        folder = self.directory / f"models/{name}"
        folder.mkdir(exist_ok=True)
        found = {}
        for file, content in contents.items():
            (folder / f"{file}.new").write_text(content, encoding="utf-8")
            (folder / f"{file}.new").rename(folder / file)
            digest = fsverity.text(fsverity.digest_file(str(folder / file)))
            found[file] = len(content), digest
        entry: Record = {"name": name, "kind": "model", "path": str(folder), "state": "admitted"}
        entry |= {"digest": model_files.digest(found), "files": sorted(contents), "reason": ""}
        self._admitted = [each for each in self._admitted if each["name"] != name] + [entry]
        text = json.dumps({"models": self._admitted})
        (self.directory / "run/admitted.json").write_text(text, encoding="utf-8")
        return folder

    def tpm(self) -> None:
        """Give the machine a TPM."""
        (self.directory / "tpm").touch()

    def boot(self) -> None:
        """Compile the plan, start PID 1 and wait until its control socket answers."""
        plan = compile_plan(
            self.directory / "machine.toml",
            units=self.directory / "units",
            agents=self.directory / "agents",
        )
        for unit in plan.units:
            if unit.bundle:
                unit.bundle = f"{self.directory}/agents/{unit.name}.erofs"
        text = dumps(plan.to_record())
        (self.directory / "plan.json").write_text(text, encoding="ascii")
        with open(self.directory / "console", "wb") as console:
            self._unshare = subprocess.Popen(
                [*self._python(), "-I", "-S", HERE / self.guest, self.directory],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        wait_for(self._answers, "the control socket")
        self.init_host_pid = next((one.host_pid for one in self.processes() if one.pid == 1), 0)
        assert self.init_host_pid, "it went down at once"

    def _python(self) -> list[str]:
        return ["nsenter", f"--net={self.network}", *NAMESPACES, sys.executable]

    def _answers(self) -> bool:
        assert self._unshare is not None
        assert self._unshare.poll() is None, (self.directory / "console").read_text()
        if not (self.directory / "run/control").exists():
            return False
        try:
            self.call("Status")
        except AinosError:
            return False
        return True

    @property
    def control(self) -> str:
        """The path of the control socket."""
        return f"{self.directory}/run/control"

    def call(self, member: str, **parameters: object) -> Record:
        """A call of org.ainos.Control, or of any interface when ``member`` is qualified."""
        method = member if "." in member else f"{CONTROL}.{member}"
        with Client(self.control, timeout=60.0) as client:
            return client.call(method, parameters)

    def describe(self, name: str) -> Record:
        """The state of one unit."""
        unit = self.call("Describe", name=name)["unit"]
        assert isinstance(unit, dict)
        return unit

    def state(self, name: str) -> str:
        """The name of a unit's state."""
        return str(self.describe(name)["state"])

    def wait_state(self, name: str, *states: str) -> Record:
        """Wait until a unit is in one of ``states``."""

        def reached() -> Record | None:
            found = self.describe(name)
            return found if found["state"] in states else None

        found = wait_for(reached, f"{name} to be {' or '.join(states)}: {self.describe(name)}")
        assert found is not None
        return found

    def pid(self, name: str) -> int:
        """The pid of a unit's main process, inside the machine."""
        pid = self.describe(name)["pid"]
        assert isinstance(pid, int)
        return pid

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process of the machine."""
        os.kill(next(one.host_pid for one in self.processes() if one.pid == pid), number)

    def log(self, name: str) -> list[str]:
        """The last lines of a unit."""
        lines = self.call("Logs", unit=name, lines=10_000)["lines"]
        assert isinstance(lines, list)
        return [str(line["text"]) for line in lines]

    def wait_log(self, name: str, text: str) -> None:
        """Wait until a unit printed a line that holds ``text``."""
        wait_for(lambda: any(text in line for line in self.log(name)), f"{name} to say {text}")

    def processes(self) -> list[Process]:
        """Every process of the machine's pid namespace, zombies included."""
        assert self._unshare is not None
        namespace = _namespace(_first_child(self._unshare.pid))
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and namespace and _namespace(int(entry)) == namespace:
                try:
                    found.append(_process(int(entry)))
                except OSError:
                    continue  # it ended while we looked
        return found

    def left(self) -> str:
        """Wait until PID 1 has left; returns how: ``power-off`` or ``reboot``."""
        unshare = self._unshare
        assert unshare is not None
        wait_for(lambda: unshare.poll() is not None, "PID 1 to leave")
        return (self.directory / "left").read_text(encoding="ascii")

    def destroy(self) -> None:
        """End every process of the machine and remove what it left."""
        if self._unshare is not None:
            child = _first_child(self._unshare.pid)
            if child:
                os.kill(child, signal.SIGKILL)  # takes its pid namespace along
            self._unshare.wait(60)
        script = 'mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d -exec rmdir {} +'
        if list((self.directory / "run").iterdir()) and self._unshare is not None:
            group = ["sh", "-c", script, "sh", f"{self.directory}/cgroup", self.directory.name]
            subprocess.run(["unshare", "--mount", *group], check=True)
        shutil.rmtree(self.directory)


def _section(value: object) -> Section:
    assert isinstance(value, dict)
    return value


def _first_child(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return int((file.read().split() or ["0"])[0])
    except OSError:
        return 0


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _process(host_pid: int) -> Process:
    fields = {}
    with open(f"/proc/{host_pid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            fields[key] = value.split()
    with open(f"/proc/{host_pid}/cmdline", encoding="utf-8", errors="replace") as file:
        command = file.read().replace("\0", " ").strip()
    return Process(
        int(fields["NSpid"][-1]), host_pid, int(fields["PPid"][0]), fields["State"][0], command
    )
