"""s6: a supervisor process for every service and one for every log, as its documentation has it."""

from __future__ import annotations

from pathlib import Path

from lib.supervisors.peer import RECORDS, SERVICE, Peer, write

RUN = f"#!/bin/sh\nexec {SERVICE} {{number}} {RECORDS} 3\n"
LOG = "#!/bin/sh\nexec s6-log -b n1 s100000 /var/log/{number}\n"


def _configure(root: Path, count: int) -> None:
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        folder = root / f"service/{number}"
        write(folder / "run", RUN.format(number=number), 0o755)
        write(folder / "notification-fd", "3\n")
        write(folder / "log/run", LOG.format(number=number), 0o755)


PEER = Peer(
    "s6",
    _configure,
    ("/usr/bin/s6-svscan", "-t0", "-C", "4000", "/service"),
    package="s6",
    note="notification-fd; s6-supervise and s6-log a service; no cgroup",
)
