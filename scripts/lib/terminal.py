"""This terminal, joined to a machine's shell port: every key goes there, until Ctrl-].

attach(machine.socket("shell"))
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host import HostError

ESCAPE = b"\x1d"  # Ctrl-]
CHUNK = 1 << 16


def attach(path: Path, hint: str = "Ctrl-] leaves") -> None:
    """Join standard input and output to a Unix socket until Ctrl-], or until either side ends.

    Raises HostError when nobody listens there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(str(path))
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}; is the machine running?") from error
        print(f"[{hint}]", file=sys.stderr)
        with _raw(sys.stdin.fileno()):
            relay(sys.stdin.fileno(), sys.stdout.fileno(), line)


def relay(source: int, sink: int, line: socket.socket) -> None:
    """Copy both ways until the escape key, or the end of the line. The end of a source that is no
    terminal ends only what is sent: the answers are still to come."""
    sources: list[int | socket.socket] = [source, line]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if line in readable:
            data = line.recv(CHUNK)
            if not data:
                return
            os.write(sink, data)
        if source in readable:
            data = os.read(source, CHUNK)
            line.sendall(data.split(ESCAPE)[0])
            if ESCAPE in data:
                return
            if not data:
                line.shutdown(socket.SHUT_WR)
                sources.remove(source)


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Let a terminal pass on each key as it is pressed, Ctrl-C included."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        print()
