"""The floors: loops that only fork and execute. No cgroup, log, readiness or dependency."""

from __future__ import annotations

from pathlib import Path

from lib.supervisors.peer import RECORDS, START, Peer, write

SHELL = f"""\
i=0
while [ $i -lt {{count}} ]; do
	{START} $i {RECORDS} >/dev/null &
	i=$((i + 1))
done
while :; do wait; done
"""

PYTHON = f"""\
import os

COUNT = {{count}}
null = os.open("/dev/null", os.O_RDWR)
files = [(os.POSIX_SPAWN_DUP2, null, 1)]
running = {{{{}}}}


def start(number):
    argv = ["{START}", str(number), "{RECORDS}"]
    running[os.posix_spawn(argv[0], argv, {{{{}}}}, file_actions=files)] = number


for number in range(COUNT):
    start(number)
while True:
    pid, status = os.wait()
    if pid in running:
        start(running.pop(pid))
"""


def _shell(root: Path, count: int) -> None:
    write(root / "floor.sh", SHELL.format(count=count))


def _python(root: Path, count: int) -> None:
    write(root / "floor.py", PYTHON.format(count=count))


FLOOR = "sh loop"
SH = Peer(FLOOR, _shell, ("/usr/bin/dash", "/floor.sh"), note="fork and exec only", restarts=False)
LOOP = Peer(
    "python loop",
    _python,
    ("/usr/bin/python3", "-I", "-S", "/floor.py"),
    note="posix_spawn and wait only, 20 lines",
)
