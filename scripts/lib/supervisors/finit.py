"""finit: one process, one line of configuration a service; s6's readiness, output to /dev/null.

It has no log of its own: with ``log`` it starts a process a service and wants a syslogd.
"""

from __future__ import annotations

from pathlib import Path

from lib.supervisors.peer import RECORDS, START, Peer, write

LINE = (
    f"service [2] name:bench :{{number}} log:null respawn notify:s6 "
    f"{START} {{number}} {RECORDS} %n -- bench\n"
)


def _configure(root: Path, count: int) -> None:
    lines = "".join(LINE.format(number=number) for number in range(count))
    write(root / "etc/fstab", "# what a container mounts\n")
    write(root / "etc/finit.conf", "host bench\nrunlevel 2\n")
    write(root / "etc/finit.d/bench.conf", lines)


PEER = Peer(
    "finit",
    _configure,
    ("/usr/sbin/finit",),
    package="finit",
    note="s6's readiness, a cgroup each, output to /dev/null",
    environment={"container": "bench"},
)
