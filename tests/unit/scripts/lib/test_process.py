"""Who listens on a Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path

from lib.process import listens


def test_a_bound_socket_does_not_listen_yet(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        assert not listens(path)
        server.bind(str(path))
        assert path.exists()
        assert not listens(path)
        server.listen()
        assert listens(path)
        assert not listens(path.with_name("et"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            server.accept()[0].close()
    assert not listens(path)
