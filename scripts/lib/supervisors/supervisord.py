"""supervisord, the Python peer: no readiness, output by pipes into files that it writes itself."""

from __future__ import annotations

from pathlib import Path

from lib.supervisors.peer import RECORDS, START, Peer, write

HEAD = (
    "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\nminfds=9000\n"
)
HEAD += "pidfile=/run/supervisord.pid\nchildlogdir=/var/log\nstrip_ansi=false\n"
PROGRAM = f"""\
[program:{{number}}]
command={START} {{number}} {RECORDS}
startsecs=0
autorestart=true
startretries=1000000
redirect_stderr=true
stdout_logfile=/var/log/{{number}}
"""


def _configure(root: Path, count: int) -> None:
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    programs = "".join(PROGRAM.format(number=number) for number in range(count))
    write(root / "etc/supervisord.conf", HEAD + programs)


PEER = Peer(
    "supervisord",
    _configure,
    ("/usr/bin/python3", "/usr/bin/supervisord", "-c", "/etc/supervisord.conf"),
    package="supervisor",
    note="no readiness, no cgroup",
)
