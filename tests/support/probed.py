"""What a probe goes for: a bystander outside the sandbox, and what it and the machine have.

`World` makes it, `World.run` starts a probe in a sandbox, or in none.

>>> with World() as world:                                           # doctest: +SKIP
...     world.run("read_file_of_another", world.sandbox())
'BLOCKED'
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.linux import bpf, libc, namespaces, native, process
from ainit.policy import seccomp
from ainit.policy.sandbox import Profile
from ainit.sandbox import features
from ainit.sandbox.compose import Sandbox, compose
from ainit.sandbox.facts import Facts
from ainit.sandbox.operation import MASKS, MEMORY, SEALED, VIEW, Operation
from tests.support import probes
from tests.support.wait import wait_for

USER = 61184
THROUGH, BLOCKED, KILLED = "THROUGH", "BLOCKED", "KILLED"
_WORDS = {probes.THROUGH: THROUGH, probes.BLOCKED: BLOCKED, -signal.SIGSYS: KILLED}
_BYSTANDER = [
    *("/usr/bin/python3", "-I", "-S", "-c"),
    "import signal; print('up', flush=True); signal.pause()",
]
_LIBC = ctypes.CDLL(None, use_errno=True)
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_FSOPEN, _FSCONFIG, _FSMOUNT, _CREATE = 430, 431, 432, 6

DEVICES = "devices"  # no step, but a program on the control group
_EVERY_DEVICE = bytes.fromhex("b7000000010000009500000000000000")  # R0 = 1, and return

# What cannot be, or would reach the machine itself, without another mechanism.
_REST_ON = {"pid": {MEMORY}, VIEW: {MASKS, MEMORY, SEALED}}

# No sandbox, but that mounts stay its own.
BARE = Sandbox(
    0,
    [
        Operation(
            VIEW,
            "mounts of its own",
            (
                (native.UNSHARE, namespaces.NEW_MOUNT),
                (native.MOUNT, "none", "/", 0, libc.MS_REC | libc.MS_PRIVATE, 0),
            ),
        )
    ],
    [],
)


def without(sandbox: Sandbox, mechanism: str) -> Sandbox:
    """The same without one mechanism, and without what rests on it."""
    gone = {mechanism} | _REST_ON.get(mechanism, set())
    first, last = (
        [step for step in steps if step.mechanism not in gone]
        for steps in (sandbox.first, sandbox.last)
    )
    devices = b"" if mechanism == DEVICES else sandbox.devices
    kept = 0 if mechanism == "pid" else sandbox.namespaces
    return Sandbox(kept, first, last, sandbox.descriptors, devices)


class World:
    """What is outside. Everything of it is readable and writable for everybody."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ainos-probes-"))
        self.directory.chmod(0o755)
        for name in ("bundle", "root", "scratch"):
            (self.directory / name).mkdir()
        shutil.copy(probes.__file__, self.directory / "bundle/probes.py")
        self.features = features.read()
        self._secret = self.directory / "secret"
        self._secret.write_text("a model")
        self._listeners = [self._listen(each) for each in ("tcp", "abstract", "path")]
        self._segment = _LIBC.shmget(self.directory.stat().st_ino, 4096, _IPC_CREAT | 0o666)
        self._bystander = subprocess.Popen(
            _BYSTANDER, user=USER, group=USER, stdout=subprocess.PIPE
        )
        assert self._bystander.stdout is not None
        self._bystander.stdout.read(3)  # it is what it will be
        self._terminal = os.openpty()
        self._groups = control_groups()
        self._group = self.directory.name
        os.mkdir(self._group, dir_fd=self._groups)

    def _listen(self, kind: str) -> socket.socket:
        if kind == "tcp":
            return socket.create_server(("127.0.0.1", 0))
        path = str(self.directory / "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path if kind == "path" else f"\0{self.directory.name}")
        listener.listen()
        if kind == "path":
            os.chmod(path, 0o666)
            threading.Thread(target=self._hand_out, args=[listener], daemon=True).start()
        return listener

    def _hand_out(self, listener: socket.socket) -> None:
        """A descriptor of its own for everybody who connects, if he waits for it."""
        while True:
            try:
                channel, _ = listener.accept()
            except OSError:
                return
            with channel, self._secret.open() as file, suppress(OSError):
                socket.send_fds(channel, [b"x"], [file.fileno()])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        _LIBC.shmctl(self._segment, _IPC_RMID, None)
        self._bystander.kill()
        self._bystander.communicate()
        self._end_group()
        for descriptor in (*self._terminal, self._groups):
            os.close(descriptor)
        shutil.rmtree(self.directory)

    def _end_group(self) -> None:
        """A sandbox may have left helpers behind (gVisor's end after it)."""
        group = f"/proc/self/fd/{self._groups}/{self._group}"
        Path(group, "cgroup.kill").write_text("1")
        wait_for(lambda: not Path(group, "cgroup.procs").read_text(), "its processes to end")
        os.rmdir(group)

    @property
    def terminal(self) -> int:
        """The end of a terminal that a program would have."""
        return self._terminal[1]

    def told(self, scratch: str) -> dict[str, object]:
        """What a probe is told in PROBED; it may write in ``scratch``."""
        return {
            "abstract": self.directory.name,
            "bystander": self._bystander.pid,
            "disk": _disk(),
            "group": self._group,
            "hostname": socket.gethostname(),
            "port": self._listeners[0].getsockname()[1],
            "scratch": scratch,
            "secret": str(self._secret),
            "segment": self.directory.stat().st_ino & 0x7FFFFFFF,
            "socket": str(self.directory / "socket"),
            "terminal": 3,
        }

    def sandbox(
        self,
        record: Mapping[str, object] | None = None,
        *,
        user: int = USER,
        files: Sequence[int] = (),
        channels: Mapping[str, int] | None = None,
        directories: Sequence[str] = (),
    ) -> Sandbox:
        """What an agent with this profile is locked into."""
        profile = Profile(record or {})
        facts = Facts(
            "probe",
            user,
            free=4,
            root=str(self.directory / "root"),
            bundle=str(self.directory / "bundle"),
            files=files,
            directories=directories,
            program="/usr/bin/python3",
            channels=channels,
        )
        program = seccomp.program(profile.calls, os.uname().machine)
        return compose(profile, facts, self.features, program)

    def run(
        self,
        name: str,
        sandbox: Sandbox,
        *,
        user: int = USER,
        capabilities: Sequence[str] | None = (),
        script: str = "",
    ) -> str:
        """THROUGH, BLOCKED or KILLED, or what else became of a probe, or of another script."""
        scratch = str(self.directory / "scratch") if sandbox is BARE else "/tmp"
        script = script or str(self.directory / "bundle/probes.py")
        status, said = self.start(
            ["/usr/bin/python3", "-I", "-S", script, name],
            sandbox,
            user=user,
            capabilities=capabilities,
            environment={"PROBED": json.dumps(self.told(scratch))},
        )
        return _WORDS.get(status, f"status {status}: {said}")

    def start(
        self,
        argv: Sequence[str],
        sandbox: Sandbox | None,
        *,
        user: int = USER,
        capabilities: Sequence[str] | None = (),
        environment: dict[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> tuple[int, str]:
        """Run a program to its end: its status, or minus the signal, and what it said. It has one
        descriptor, a terminal unless another one is given.
        """
        reader, writer = os.pipe()
        group = os.open(self._group, os.O_RDONLY, dir_fd=self._groups)
        bpf.filter_devices(group, (sandbox.devices if sandbox else b"") or _EVERY_DEVICE)
        child = process.Child(
            argv,
            environment or {},
            output=writer,
            descriptors=descriptors or [self.terminal],
            user=user,
            capabilities=capabilities,
            cgroup=group,
            sandbox=sandbox,
        )
        try:
            pid = process.spawn(child)
        finally:
            os.close(writer)
            os.close(group)
        with open(reader, "rb") as output:
            said = output.read().decode("utf-8", "replace")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def control_groups() -> int:
    """The tree of control groups, opened without a mount that anybody sees: a descriptor."""
    context = _checked(_LIBC.syscall(_FSOPEN, b"cgroup2", 1))
    _checked(_LIBC.syscall(_FSCONFIG, context, _CREATE, None, None, 0))
    tree = _checked(_LIBC.syscall(_FSMOUNT, context, 1, 0))
    os.close(context)
    return tree


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _disk() -> str:
    """The node of the first disk."""
    with open("/proc/partitions", encoding="ascii") as file:
        names = [line.split()[3] for line in file.readlines()[2:]]
    return next(f"/dev/{name}" for name in names if os.path.exists(f"/dev/{name}"))
