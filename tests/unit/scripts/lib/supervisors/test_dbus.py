"""The bytes of D-Bus calls, against a server that answers as systemd does."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest
from lib.supervisors import dbus
from lib.supervisors.dbus import Bus, BusError

# What `systemctl show` sends for GetAll, but for the order of the header's fields.
SIGNAL_FIELDS = b"\x01\x01o\x00\x01\x00\x00\x00/\x00\x00\x00\x00\x00\x00\x00\x08\x01g\x00\x01s\x00"


def message(kind: int, serial: int, fields: bytes, body: bytes = b"") -> bytes:
    head = struct.pack("<cBBBIII", b"l", kind, 1, 1, len(body), serial, len(fields))
    data = head + fields
    return data + bytes(-len(data) % 8) + body


def serve(path: Path, answers: list[bytes], received: list[bytes]) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def work() -> None:
        with listener, listener.accept()[0] as channel:
            received.append(channel.recv(1 << 16))
            channel.sendall(b"OK 0123\r\n")
            received.append(channel.recv(1 << 16))
            for answer in answers:
                channel.sendall(answer)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_call_has_every_field_at_its_alignment() -> None:
    data = dbus.call(7, dbus.MANAGER, "Reexecute")
    kind, body, serial, size = data[1], *struct.unpack_from("<III", data, 4)
    assert (kind, body, serial) == (1, 0, 7)
    assert len(data) == 16 + size + -size % 8
    for text in (dbus.PATH, dbus.MANAGER, "Reexecute"):
        position = data.index(text.encode() + b"\0")
        assert struct.unpack_from("<I", data, position - 4) == (len(text),)
        assert (position - 8) % 8 == 0  # code, signature and length begin a field


def test_signals_before_the_answer_are_passed_over(tmp_path: Path) -> None:
    path, received = tmp_path / "bus", list[bytes]()
    answers = [
        message(4, 1, SIGNAL_FIELDS, b"\x01\x00\x00\x00x\x00"),
        message(2, 2, b"\x05\x01u\x00\x01\x00\x00\x00", b"\x01s\x00\x00\x01\x00\x00\x00y\x00"),
    ]
    thread = serve(path, answers, received)
    with Bus(str(path)) as bus:
        bus.get(dbus.MANAGER, "Version")
    thread.join(60)
    assert received[0].startswith(b"\0AUTH EXTERNAL ")
    assert received[0].endswith(b"BEGIN\r\n")
    assert b"Version\0" in received[1]


def test_an_error_and_an_end_are_errors(tmp_path: Path) -> None:
    for number, answers in enumerate([[message(3, 1, b"\x05\x01u\x00\x01\x00\x00\x00")], []]):
        path = tmp_path / f"bus{number}"
        thread = serve(path, answers, [])
        with Bus(str(path)) as bus, pytest.raises(BusError):
            bus.get(dbus.MANAGER, "Version")
        thread.join(60)
