"""Children that run beside a script: they end with it, and only they are ended.

child = spawn(["swtpm", …], Path("swtpm.log")); …; end(child)
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_S = 0.02
PROC_UNIX = Path("/proc/net/unix")
LISTENING = "00010000"  # __SO_ACCEPTCON among a socket's flags
TERMINATE_DEADLINE_S = 5.0


def spawn(command: Sequence[str], log: Path, *, piped: bool = False) -> subprocess.Popen[bytes]:
    """Start a child that the kernel kills when the thread that started it ends.

    What it prints goes to ``log``; with ``piped`` its standard output is left to the caller.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            process_group=0,  # Ctrl-C is for the script, which then ends its children in order
        )


def end(child: subprocess.Popen[bytes], patience_s: float = TERMINATE_DEADLINE_S) -> None:
    """End a child: politely, then not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def listens(socket: Path) -> bool:
    """Whether somebody listens on this Unix socket: it is there a moment before that.

    Nobody is connected to for it, for some servers end with their first connection.
    """
    ending = f" {socket}"
    lines = PROC_UNIX.read_text("utf-8", "replace").splitlines()
    return any(line.endswith(ending) and line.split()[3] == LISTENING for line in lines)


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Ask until the condition holds. Returns whether it came to hold before the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
