"""``python3 -m ainit.child.background``: a daemon that puts itself into the background, in the
foreground, where PID 1 can see it live and die.

    exec = ["/usr/bin/python3", "-I", "-S", "-m", "ainit.child.background",
            "--if", "/dev/nvidiactl", "/usr/bin/nvidia-persistenced"]

With ``--if PATH``, which may be repeated, there is nothing to do without PATH, and the exit
status is 0. The daemon is whatever the command leaves behind: it is ready when the command itself
has ended well, and its end ends this process with the same status. SIGTERM goes on to it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from ..linux import libc
from .notify import notify


def supervise(command: Sequence[str]) -> int:
    """Run ``command`` and everything that it leaves behind; the status of what ended last.

    Raises OSError when the command cannot be run.
    """
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    awaited = {signal.SIGTERM, signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # from here on none can be missed
    starter = os.posix_spawn(command[0], list(command), os.environ, setsigmask=mask)
    status, asked = 0, False
    while True:
        asked |= signal.sigwait(awaited) == signal.SIGTERM
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
                status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                if ended.si_pid == starter and status == 0:
                    notify("READY=1")
        except ChildProcessError:
            return status
        if asked:
            _end_children()  # also what the one that ended has left behind


def _end_children() -> None:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        for pid in file.read().split():
            os.kill(int(pid), signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Look whether there is anything to do, and do it."""
    parser = argparse.ArgumentParser(prog="background", description=__doc__)
    parser.add_argument("--if", dest="wanted", action="append", default=[], metavar="PATH")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    for path in options.wanted:
        if not os.path.exists(path):
            print(f"nothing to do: there is no {path}", flush=True)
            return 0
    status = supervise(options.command)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
