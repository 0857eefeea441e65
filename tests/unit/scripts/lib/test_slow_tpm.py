from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lib.slow_tpm import SlowTpm

SET_DATAFD = b"\0\0\0\x10"


class Fake:
    """What swtpm is to the proxy: control messages are answered, commands are sent back."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.control: list[bytes] = []
        self._stack = stack
        self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        channel, _ = self._listener.accept()
        with channel:
            while True:
                data, descriptors, _, _ = socket.recv_fds(channel, 100, 1)
                if not data:
                    return
                self.control.append(data)
                for descriptor in descriptors:
                    commands = socket.socket(fileno=descriptor)
                    threading.Thread(target=self._echo, args=(commands,), daemon=True).start()
                channel.sendall(b"done")

    @staticmethod
    def _echo(commands: socket.socket) -> None:
        with commands:
            while data := commands.recv(100):
                commands.sendall(data[::-1])


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_every_command_is_held_up_and_arrives(
    tmp_path: Path, slept: list[float], stack: ExitStack
) -> None:
    fake = Fake(tmp_path / "back", stack)
    proxy = SlowTpm(tmp_path / "front", tmp_path / "back", 0.02)
    proxy.start()
    stack.callback(proxy.stop)
    machine = stack.enter_context(socket.socket(socket.AF_UNIX))
    machine.settimeout(60)
    machine.connect(str(tmp_path / "front"))
    machine.sendall(b"init")
    assert machine.recv(100) == b"done"
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    ours.settimeout(60)
    socket.send_fds(machine, [SET_DATAFD], [theirs.fileno()])
    theirs.close()
    assert machine.recv(100) == b"done"
    for command in (b"extend", b"quote"):
        ours.sendall(command)
        assert ours.recv(100) == command[::-1]
    assert fake.control == [b"init", SET_DATAFD]
    assert slept == [0.02, 0.02]
    assert proxy.commands == 2


def test_it_ends_before_anybody_came(tmp_path: Path) -> None:
    proxy = SlowTpm(tmp_path / "front", tmp_path / "back", 0.02)
    proxy.start()
    proxy.stop()
    assert not (tmp_path / "front").exists()
