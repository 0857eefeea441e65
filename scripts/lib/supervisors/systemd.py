"""systemd as the system manager of a container, with its journal: what ainit's log rings stand for.

Units have no default dependencies and there are no generators, which is all in systemd's favour.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from lib.host import HostError
from lib.supervisors import dbus
from lib.supervisors.dbus import TIMEOUT_S
from lib.supervisors.peer import RECORDS, SERVICE, START, Peer, write

UNIT = f"""\
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart={START} {{number}} {RECORDS}
Restart=always
RestartSec=0
"""
DONE = f"""\
[Unit]
DefaultDependencies=no
After={{all}}
[Service]
Type=oneshot
ExecStart={SERVICE} once 4294967294 {RECORDS}
"""
TARGET = """\
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service systemd-journald.socket bench-done.service {all}
"""
JOURNAL = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\n"
CLIENT = "/usr/lib/bench-dbus.py"


def _configure(root: Path, count: int) -> None:
    folder = root / "etc/systemd/system"
    names = [f"bench-{number}.service" for number in range(count)]
    for number, name in enumerate(names):
        write(folder / name, UNIT.format(number=number))
    write(folder / "bench-done.service", DONE.format(all=" ".join(names)))
    write(folder / "bench.target", TARGET.format(all=" ".join(names)))
    write(root / "etc/systemd/journald.conf", JOURNAL)
    write(root / CLIENT.lstrip("/"), Path(dbus.__file__).read_text())


class _Inside:
    """The client of ``dbus``, in the namespaces of PID 1."""

    def __init__(self, pid: int) -> None:
        enter = ["nsenter", "--target", str(pid), "--pid", "--mount"]
        command = [*enter, "/usr/bin/python3", "-I", "-S", CLIENT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT_S)

    def ask(self, verb: str) -> None:
        """Have it carried out. Raises HostError."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(verb.encode() + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"done\n":
            raise HostError(f"systemd's private socket: {verb} failed")


@contextmanager
def _control(pid: int) -> Iterator[Callable[[], None]]:
    with _Inside(pid) as client:
        yield lambda: client.ask("get")


def _reexec(pid: int) -> None:
    with _Inside(pid) as client:
        client.ask("reexec")


NAME = "systemd"
PEER = Peer(
    NAME,
    _configure,
    ("/usr/lib/systemd/systemd", "--system", "--unit=bench.target", "--show-status=no"),
    package="systemd",
    note="Type=notify, a cgroup each, output to journald (volatile)",
    done=True,
    environment={"container": "bench"},
    control=_control,
    reexec=_reexec,
)
