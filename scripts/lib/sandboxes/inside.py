"""In the peers' root, under systemd: every probe in every sandbox, and how long a start takes.

    python3 -I run.py probes RESULT            {column: {probe: outcome} or a reason}
    python3 -I run.py starts RESULT ROUNDS     {kind: [seconds of one start, the round's median]}

Standard library only. The result is JSON, in one piece.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ainit.linux import bpf, process
from ainit.policy import sandbox, seccomp
from ainit.sandbox import features
from ainit.sandbox.compose import compose
from ainit.sandbox.facts import Facts
from lib.sandboxes import peers
from tests.support import probes
from tests.support.probed import (
    BARE,
    BLOCKED,
    KILLED,
    THROUGH,
    USER,
    World,
    control_groups,
)

ROOT = "no sandbox, root"
NONE = "no sandbox"
OURS = "ainit"
BWRAP = "bubblewrap"
BWRAP_FILTERED = "bubblewrap + our filter"
SYSTEMD = "systemd"
GVISOR = "gVisor"
DEADLINE_S = 60.0
STARTS = 20
TRUE = "/usr/bin/true"
# What a machine has in /dev and this root does not: name → mode, major, minor.
NODES = {
    "ptmx": (stat.S_IFCHR | 0o666, 5, 2),
    "mem": (stat.S_IFCHR | 0o640, 1, 1),
    "fuse": (stat.S_IFCHR | 0o666, 10, 229),
    "net/tun": (stat.S_IFCHR | 0o666, 10, 200),
}
_WORDS = {
    probes.THROUGH: THROUGH, probes.BLOCKED: BLOCKED,
    -signal.SIGSYS: KILLED, 128 + signal.SIGSYS: KILLED,
}  # fmt: skip
_ENVIRONMENT = "/run/probe.env"
_PATH = {"PATH": "/usr/bin:/usr/sbin"}
_BOUNDED = ("/usr/bin/timeout", "--signal=KILL", str(DEADLINE_S))

Run = Callable[[str, str], str]  # a script and its argument: what became of it


def _nodes() -> None:
    os.makedirs("/dev/net", exist_ok=True)
    for name, (mode, *number) in NODES.items():
        if not os.path.exists(f"/dev/{name}"):
            os.mknod(f"/dev/{name}", mode, os.makedev(*number))
            os.chmod(f"/dev/{name}", mode & 0o777)
    with open("/proc/partitions", encoding="ascii") as file:
        disks = [line.split() for line in file.readlines()[2:]]
    for major, minor, _, name in disks:  # all: a loop device of somebody else's may go again
        if not os.path.exists(f"/dev/{name}"):
            os.mknod(f"/dev/{name}", stat.S_IFBLK | 0o660, os.makedev(int(major), int(minor)))


def _outcome(status: int, said: str) -> str:
    return _WORDS.get(status, f"status {status}: {' '.join(said.split())[-200:]}")


class Columns:
    """The sandboxes of one world. Each is a function from a script to what became of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bundle = str(world.directory / "bundle")
        self._told = json.dumps(world.told("/tmp"))
        self._readable = [*peers.FILES, *peers.programs(peers.PYTHON), self._bundle]
        self._number = 0
        self.all: dict[str, Run] = {
            ROOT: lambda script, name: self._ours(script, name, BARE, user=0, capabilities=None),
            NONE: lambda script, name: self._ours(script, name, BARE),
            OURS: lambda script, name: self._ours(script, name, world.sandbox()),
            BWRAP: lambda script, name: self._bubblewrap(script, name, b""),
            BWRAP_FILTERED: lambda script, name: self._bubblewrap(
                script, name, seccomp.program((), os.uname().machine)
            ),
            SYSTEMD: self._systemd,
            GVISOR: self._gvisor,
        }

    def _ours(self, script: str, name: str, locked: object, **more: object) -> str:
        return self._world.run(name, locked, script=script, **more)  # type: ignore[arg-type]

    def _argv(self, script: str, name: str) -> list[str]:
        return [peers.PYTHON, "-I", "-S", script, name]

    def _root(self, name: str) -> str:
        """A directory to be a root."""
        root = Path("/run/roots") / name
        if not root.exists():
            root.mkdir(parents=True)
            for path, target in peers.LINKS.items():
                (root / path[1:]).symlink_to(target)
        return str(root)

    def _bubblewrap(self, script: str, name: str, program: bytes) -> str:
        """As the user itself, which is how it is used."""
        with _memory(program) as filtered:
            wrap = peers.bubblewrap(USER, self._readable, 4 if program else None)
            return _outcome(
                *self._world.start(
                    [*_BOUNDED, *wrap, *self._argv(script, name)],
                    None,
                    capabilities=None,
                    environment={"PROBED": self._told},
                    descriptors=[self._world.terminal, filtered],
                )
            )

    def _systemd(self, script: str, name: str) -> str:
        unit = Path("/run/systemd/system") / peers.UNIT
        if not unit.exists():
            unit.parent.mkdir(parents=True, exist_ok=True)
            terminal = os.ttyname(self._world.terminal)
            unit.write_text(
                peers.systemd(self._root(unit.stem), self._readable, terminal, _ENVIRONMENT)
            )
            subprocess.run(["systemctl", "daemon-reload"], timeout=DEADLINE_S, check=True)
        Path(_ENVIRONMENT).write_text(f"SCRIPT={script}\nNAME={name}\nPROBED='{self._told}'\n")
        begun = subprocess.run(
            ["systemctl", "start", peers.UNIT], capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        keys = ["-p", "ExecMainCode", "-p", "ExecMainStatus", "-p", "Result"]
        shown = subprocess.run(
            ["systemctl", "show", *keys, peers.UNIT], capture_output=True, text=True,
            timeout=DEADLINE_S, check=True,
        ).stdout  # fmt: skip
        said = dict(line.split("=", 1) for line in shown.splitlines())
        code, status = int(said["ExecMainCode"]), int(said["ExecMainStatus"])
        ended = status if code == os.CLD_EXITED else -status
        return _WORDS.get(ended, f"status {ended}, {said['Result']}: {begun.stderr.strip()[-200:]}")

    def _gvisor(self, script: str, name: str) -> str:
        bundle = self._world.directory / "oci"
        bundle.mkdir(exist_ok=True)
        environment = [f"PROBED={self._told}"]
        argv = self._argv(script, name)
        root = self._root("root")
        record = peers.gvisor(USER, argv, environment, root, self._readable)
        (bundle / "config.json").write_text(json.dumps(record))
        self._number += 1
        command = [*_BOUNDED, *peers.runsc(str(bundle), 3, f"probe-{self._number}")]
        started = self._world.start(command, None, user=0, capabilities=None, environment=_PATH)
        return _outcome(*started)


def probe(names: list[str]) -> dict[str, dict[str, str] | str]:
    """Every probe in each of these sandboxes, all for none; a sandbox in which not even a control
    succeeds has the reason instead.
    """
    found: dict[str, dict[str, str] | str] = {}
    with World() as world:
        control = world.directory / "bundle/control.py"
        control.write_text(f"raise SystemExit({probes.THROUGH})\n")
        script = str(world.directory / "bundle/probes.py")
        columns = Columns(world).all
        for column in names or columns:
            began = time.monotonic()
            try:
                ran = columns[column](str(control), "control")
                found[column] = (
                    {name: columns[column](script, name) for name in probes.PROBES}
                    if ran == THROUGH
                    else ran
                )
            except (OSError, subprocess.SubprocessError) as error:
                found[column] = str(error)
            print(f"{column}: {time.monotonic() - began:.1f} s", flush=True)
    return found


@contextmanager
def _memory(content: bytes) -> Iterator[int]:
    """A file in memory, to be read from its beginning."""
    descriptor = os.memfd_create("filter")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _started(child: process.Child) -> None:
    _, status = os.waitpid(process.spawn(child), 0)
    if status:
        raise OSError(f"{child.argv[0]} ended with {os.waitstatus_to_exitcode(status)}")


@contextmanager
def _group(name: str) -> Iterator[int]:
    """A control group of its own: a descriptor of its directory."""
    tree = control_groups()
    name = f"ainos-starts-{os.getpid()}-{name}"
    os.mkdir(name, dir_fd=tree)
    group = os.open(name, os.O_RDONLY, dir_fd=tree)
    try:
        yield group
    finally:
        os.close(group)
        os.rmdir(name, dir_fd=tree)
        os.close(tree)


def starts(rounds: int) -> dict[str, list[float]]:
    """Seconds of /usr/bin/true to its end, each kind in turn: without a sandbox; in ours, composed
    anew each time as PID 1 does, with a filter of devices; in bubblewrap with the same namespaces,
    files and filter of system calls.
    """
    program = seccomp.program((), os.uname().machine)
    profile, kernel = sandbox.Profile({}), features.read()
    os.makedirs("/run/root", exist_ok=True)
    readable = [*peers.FILES, *peers.programs(TRUE)]
    wrapped = [*peers.bubblewrap(USER, readable, 3), TRUE]
    with (
        open("/dev/null", "w", encoding="ascii") as nowhere,
        _memory(program) as filtered,
        _group("ours") as group,
        _group("others") as others,
    ):
        output = nowhere.fileno()

        def plain() -> None:
            _started(process.Child([TRUE], {}, output=output, user=USER, cgroup=others))

        def ours() -> None:
            facts = Facts("probe", USER, free=3, root="/run/root", program=TRUE)
            locked = compose(profile, facts, kernel, program)
            bpf.filter_devices(group, locked.devices)
            child = process.Child([TRUE], {}, output=output, user=USER, cgroup=group)
            child.capabilities, child.sandbox = (), locked
            _started(child)

        def bubblewrap() -> None:
            os.lseek(filtered, 0, os.SEEK_SET)
            child = process.Child(wrapped, {}, output=output, user=USER, cgroup=others)
            child.descriptors = [filtered]
            _started(child)

        kinds = {"plain": plain, OURS: ours, BWRAP: bubblewrap}
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(rounds + 1):
            taken: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(STARTS):
                for name, start in kinds.items():
                    began = time.perf_counter()
                    start()
                    taken[name].append(time.perf_counter() - began)
            for name, seconds in taken.items():
                found[name].append(statistics.median(seconds))
    return {name: seconds[1:] for name, seconds in found.items()}  # the first warms up


def main(what: str, result: str, argument: str = "") -> None:
    """Run one part, and leave the result under its name when it is whole."""
    os.environ.setdefault("PATH", "/usr/bin:/usr/sbin")
    _nodes()
    found: object
    try:
        if what == "starts":
            found = starts(int(argument))
        else:
            found = probe([name for name in argument.split(",") if name])
    except Exception as error:  # noqa: BLE001 - it is told outside
        found = f"{type(error).__name__}: {error}"
    with open(f"{result}.new", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(f"{result}.new", result)


if __name__ == "__main__":
    main(*sys.argv[1:])
