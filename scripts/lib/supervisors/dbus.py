"""As much of D-Bus as two calls on systemd's private socket need, without a process for each call.

with Bus("/run/systemd/private") as bus: bus.get("org.freedesktop.systemd1.Manager", "Version")
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from types import TracebackType
from typing import Self

SOCKET = "/run/systemd/private"
MANAGER = "org.freedesktop.systemd1.Manager"
PATH = "/org/freedesktop/systemd1"
TIMEOUT_S = 60.0
_HEADER = struct.Struct("<cBBBIII")
_CALL, _REPLY, _ERROR = 1, 2, 3
# Header fields: code and signature of the value.
_FIELDS = {"path": (1, "o"), "interface": (2, "s"), "member": (3, "s"), "signature": (8, "g")}


class BusError(Exception):
    """The peer refused, closed the connection, or answered with an error."""


def _aligned(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def _string(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


def call(serial: int, interface: str, member: str, *arguments: str) -> bytes:
    """A method call whose arguments are strings."""
    body = b""
    for argument in arguments:
        body = _aligned(body, 4) + _string(argument)
    values = {"path": PATH, "interface": interface, "member": member}
    if arguments:
        values["signature"] = "s" * len(arguments)
    fields = b""
    for name, value in values.items():
        code, kind = _FIELDS[name]
        fields = _aligned(fields, 8) + bytes((code, 1)) + kind.encode() + b"\0"
        if kind == "g":
            fields += bytes((len(value),)) + value.encode() + b"\0"
        else:
            fields = _aligned(fields, 4) + _string(value)
    head = _HEADER.pack(b"l", _CALL, 0, 1, len(body), serial, len(fields))
    return _aligned(head + fields, 8) + body


class Bus:
    """One connection. Raises BusError and OSError."""

    def __init__(self, path: str) -> None:
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(path)
            # All at once: systemd overlooks a message that arrives together with BEGIN.
            name = str(os.getuid()).encode().hex().encode()
            self._socket.sendall(b"\0AUTH EXTERNAL %s\r\nBEGIN\r\n" % name)
            if not self._line().startswith(b"OK"):
                raise BusError("not let in")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def get(self, interface: str, name: str) -> None:
        """Ask for a property and wait for the answer."""
        serial = self.send("org.freedesktop.DBus.Properties", "Get", interface, name)
        while True:
            kind, answered = self._message()
            if answered == serial:
                if kind != _REPLY:
                    raise BusError(f"{interface}.{name} was refused")
                return

    def send(self, interface: str, member: str, *arguments: str) -> int:
        """Send a call; returns its serial number."""
        self._serial += 1
        self._socket.sendall(call(self._serial, interface, member, *arguments))
        return self._serial

    def wait_closed(self) -> None:
        """Read until the other side closes."""
        try:
            while self._socket.recv(1 << 16):
                pass
        except ConnectionError:
            pass

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise BusError("the connection was closed")
            data += part
        return data

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._exactly(1)
        return line

    def _message(self) -> tuple[int, int]:
        """Its type, and the serial that it answers (0: none)."""
        head = self._exactly(_HEADER.size)
        _, kind, _, _, body, _, size = _HEADER.unpack(head)
        fields = self._exactly(size + -size % 8)
        self._exactly(body)
        return kind, _reply_serial(fields[:size])


def _reply_serial(fields: bytes) -> int:
    position = 0
    while position + 8 <= len(fields):
        position += -position % 8
        code, length = fields[position], fields[position + 1]
        kind = fields[position + 2 : position + 2 + length]
        position += 2 + length + 1
        if kind == b"g":
            position += 2 + fields[position]
            continue
        position += -position % 4
        (value,) = struct.unpack_from("<I", fields, position)
        if code == 5:
            return int(value)
        position += 4 + (value + 1 if kind in (b"s", b"o") else 0)
    return 0


def reexec() -> None:
    """As `systemctl daemon-reexec`: ask, wait until the connection ends, then until it answers."""
    with Bus(SOCKET) as bus:
        bus.send(MANAGER, "Reexecute")
        bus.wait_closed()
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with Bus(SOCKET) as bus:
                bus.get(MANAGER, "Version")
                return
        except (BusError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def main() -> None:
    """Carry out what each line of standard input says."""
    bus = None
    for line in sys.stdin:
        if line.strip() == "reexec":
            bus = None
            reexec()
        else:
            bus = bus or Bus(SOCKET)
            bus.get(MANAGER, "Version")
        print("done", flush=True)


if __name__ == "__main__":
    main()
