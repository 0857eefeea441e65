"""runit: ``runsvdir`` as PID 1 (as its stage 2 executes it), with runsv and svlogd for a service.

It knows no readiness.
"""

from __future__ import annotations

from pathlib import Path

from lib.supervisors.peer import RECORDS, SERVICE, Peer, write

RUN = f"#!/bin/sh\nexec {SERVICE} {{number}} {RECORDS}\n"
LOG = "#!/bin/sh\nexec svlogd /var/log/{number}\n"


def _configure(root: Path, count: int) -> None:
    for number in range(count):
        folder = root / f"service/{number}"
        write(folder / "run", RUN.format(number=number), 0o755)
        write(folder / "log/run", LOG.format(number=number), 0o755)
        (root / f"var/log/{number}").mkdir(parents=True, exist_ok=True)


PEER = Peer(
    "runit",
    _configure,
    ("/usr/bin/runsvdir", "-P", "/service"),
    package="runit",
    note="no readiness; runsv and svlogd a service; no cgroup",
)
