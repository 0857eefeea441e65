"""Listening sockets: addresses, owners, and names that are in the way."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ainit.linux import listener
from tests.support import descriptors

KINDS = {
    "unix": socket.SOCK_STREAM,
    "unix-datagram": socket.SOCK_DGRAM,
    "unix-seqpacket": socket.SOCK_SEQPACKET,
}


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short directory: the name of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="ainit-") as directory:
        yield Path(directory)


@contextmanager
def opened(address: str, mode: int = 0o660, uid: int = 0, gid: int = 0) -> Iterator[socket.socket]:
    descriptor = listener.open_listener(address, backlog=4, mode=mode, uid=uid, gid=gid)
    with socket.socket(fileno=descriptor) as channel:
        yield channel


def free_port(family: socket.AddressFamily, kind: socket.SocketKind) -> int:
    with socket.socket(family, kind) as probe:
        probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_unix_socket_of_each_kind_takes_what_is_sent(sockets: Path, kind: str) -> None:
    path = str(sockets / "deep" / "er" / "x")
    with opened(f"{kind}:{path}") as channel, socket.socket(socket.AF_UNIX, KINDS[kind]) as client:
        assert channel.type == KINDS[kind]
        assert not os.get_inheritable(channel.fileno())
        assert channel.getblocking()
        client.connect(path)
        client.send(b"hello")
        peer = channel if kind == "unix-datagram" else channel.accept()[0]
        assert peer.recv(16) == b"hello"
        if peer is not channel:
            peer.close()


def test_it_has_its_mode_and_owner_whatever_the_mask(sockets: Path) -> None:
    mask = os.umask(0)
    try:
        with opened(f"unix:{sockets}/x", mode=0o640, uid=12, gid=34):
            found = (sockets / "x").stat()
            assert os.umask(0) == 0
    finally:
        os.umask(mask)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 12, 34)


def test_nobody_else_may_connect_before_it_has_its_owner(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def look(path: str, mode: int, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(os.stat(path).st_mode))

    monkeypatch.setattr(listener, "own", look)
    with opened(f"unix:{sockets}/x", mode=0o666):
        assert seen == [0o600]


def test_a_stale_socket_is_replaced_and_a_file_is_not(sockets: Path) -> None:
    with opened(f"unix:{sockets}/x"):
        pass
    with opened(f"unix:{sockets}/x"):
        pass
    (sockets / "file").write_text("precious")
    with pytest.raises(FileExistsError, match=r"file: a file is there that is no socket"):
        listener.open_listener(f"unix:{sockets}/file", backlog=4)
    with pytest.raises(FileExistsError):
        listener.unlink(f"{sockets}/file")
    (sockets / "link").symlink_to(sockets / "x")
    with pytest.raises(FileExistsError):
        listener.open_listener(f"unix:{sockets}/link", backlog=4)
    with pytest.raises(OSError, match="no socket"):
        listener.own(f"{sockets}/link", 0o777, 1, 1)
    assert (sockets / "file").read_text() == "precious"


def test_a_name_is_taken_away_once(sockets: Path) -> None:
    with opened(f"unix:{sockets}/x"):
        assert listener.is_socket(f"{sockets}/x")
        listener.unlink(f"{sockets}/x")
        listener.unlink(f"{sockets}/x")
        assert not listener.is_socket(f"{sockets}/x")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_tcp_takes_connections_again_at_once(family: socket.AddressFamily) -> None:
    port = free_port(family, socket.SOCK_STREAM)
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    address = f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
    for _ in range(2):  # the second time over a connection that still ends
        with opened(address) as channel, socket.create_connection((host, port)):
            channel.accept()[0].close()


def test_an_ipv6_port_leaves_that_of_ipv4_to_others() -> None:
    port = free_port(socket.AF_INET6, socket.SOCK_STREAM)
    with opened(f"tcp:[::]:{port}"), opened(f"tcp:0.0.0.0:{port}"):
        pass


def test_a_port_for_datagrams_is_not_shared() -> None:
    port = free_port(socket.AF_INET, socket.SOCK_DGRAM)
    with (
        opened(f"udp:127.0.0.1:{port}") as channel,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief,
    ):
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", port))
        thief.sendto(b"hello", ("127.0.0.1", port))
        assert channel.recv(16) == b"hello"


def test_an_address_that_the_network_has_not_yet_can_be_listened_on() -> None:
    with opened("tcp:192.0.2.7:4711") as channel:
        assert channel.getsockname() == ("192.0.2.7", 4711)
    with opened("tcp:[2001:db8::7]:4711") as channel:
        assert channel.getsockname()[:2] == ("2001:db8::7", 4711)


def test_an_error_names_the_address_and_leaves_nothing_open() -> None:
    port = free_port(socket.AF_INET, socket.SOCK_STREAM)
    with opened(f"tcp:127.0.0.1:{port}"):
        before = len(descriptors.at_first())
        with pytest.raises(OSError, match=rf"tcp:127\.0\.0\.1:{port}: Address already in use"):
            listener.open_listener(f"tcp:127.0.0.1:{port}", backlog=4)
        assert len(descriptors.now()) == before


def test_a_name_is_a_socket_s_until_it_is_gone_or_another_s(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    descriptor = listener.open_listener(f"unix:{path}", backlog=1)
    try:
        assert listener.has_name(descriptor, path)
        os.unlink(path)
        assert not listener.has_name(descriptor, path)
        other = listener.open_listener(f"unix:{path}", backlog=1)
        assert listener.has_name(other, path)
        os.close(other)
        assert not listener.has_name(descriptor, path)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EPERM, True), (errno.ENOTTY, True), (errno.EMFILE, None)]
)
def test_a_kernel_that_does_not_say_whose_a_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: bool | None
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "no")

    path = str(tmp_path / "x")
    descriptor = listener.open_listener(f"unix:{path}", backlog=1)
    monkeypatch.setattr("fcntl.ioctl", refuse)
    try:
        if expected is None:
            with pytest.raises(OSError, match="no"):
                listener.has_name(descriptor, path)
        else:
            assert listener.has_name(descriptor, path) is expected
    finally:
        os.close(descriptor)
