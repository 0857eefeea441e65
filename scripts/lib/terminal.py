"""Connect this terminal to a Unix socket with a shell behind it, until Ctrl-] or its end."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

LEAVE = b"\x1d"
_CHUNK = 65536


def connect(path: Path) -> None:
    """Pass bytes both ways. The terminal is raw meanwhile and restored afterwards."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(str(path))
        keyboard = sys.stdin.fileno()
        saved = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
        print("connected; Ctrl-] leaves", file=sys.stderr)
        try:
            if saved is not None:
                tty.setraw(keyboard)
            channel.sendall(b"\n")
            _pump(keyboard, channel)
        finally:
            if saved is not None:
                termios.tcsetattr(keyboard, termios.TCSADRAIN, saved)
            print("\nleft", file=sys.stderr)


def _pump(keyboard: int, channel: socket.socket) -> None:
    sources = [keyboard, channel.fileno()]
    while channel.fileno() in sources:
        readable, _, _ = select.select(sources, [], [])
        if channel.fileno() in readable:
            data = channel.recv(_CHUNK)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if keyboard in readable:
            data = os.read(keyboard, _CHUNK)
            before, leave, _ = data.partition(LEAVE)
            channel.sendall(before)
            if leave or not data:
                return
