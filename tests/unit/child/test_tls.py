"""TLS contexts: who is let in, and which file is wrong."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from ainit.child import tls
from ainit.errors import ConfigError
from tests.support.keylime import authority


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls")
    for name in ("ours", "theirs"):
        (place / name).mkdir()
        authority(place / name)
    return place


def files(folder: Path, name: str) -> tuple[str, str]:
    return str(folder / f"{name}.crt"), str(folder / f"{name}.key")


def speak(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> str:
    """What the client hears."""
    here, there = socket.socketpair()
    here.settimeout(60)
    there.settimeout(60)

    def serve() -> None:
        try:
            with server.wrap_socket(here, server_side=True) as channel:
                channel.sendall(str(channel.version()).encode())
        except OSError:
            here.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(there, server_hostname=name) as channel:
            return channel.recv(100).decode()
    finally:
        there.close()
        thread.join(60)


def test_both_sides_are_believed_by_their_authority(place: Path) -> None:
    ours = tls.authorities(str(place / "ours/ca.crt"))
    server = tls.server(*files(place / "ours", "server"), ours)
    client = tls.client(*files(place / "ours", "client"), ours)
    assert speak(server, client, "127.0.0.1") == "TLSv1.3"


def test_a_certificate_can_be_believed_by_itself(place: Path) -> None:
    ours = place / "ours"
    server = tls.server(*files(ours, "server"), (ours / "client.crt").read_text())
    pinned = (ours / "server.crt").read_text()
    client = tls.client(*files(ours, "client"), pinned, by_name=False)
    assert speak(server, client) == "TLSv1.3"
    other = tls.client(*files(ours, "server"), pinned, by_name=False)
    with pytest.raises(ssl.SSLError):  # of the same authority, and not the one that is trusted
        speak(server, other)


def test_strangers_are_not_let_in(place: Path) -> None:
    ours = tls.authorities(str(place / "ours/ca.crt"))
    server = tls.server(*files(place / "ours", "server"), ours)
    for stranger in (
        tls.client(*files(place / "theirs", "client"), ours),
        ssl.create_default_context(cafile=str(place / "ours/ca.crt")),
    ):
        with pytest.raises(ssl.SSLError):
            speak(server, stranger, "127.0.0.1")


def test_a_server_that_is_not_trusted_is_not_spoken_to(place: Path) -> None:
    ours = tls.authorities(str(place / "ours/ca.crt"))
    server = tls.server(*files(place / "theirs", "server"), ours)
    client = tls.client(*files(place / "ours", "client"), ours)
    with pytest.raises(ssl.SSLCertVerificationError):
        speak(server, client, "127.0.0.1")
    stranger = tls.stranger(*files(place / "ours", "client"))
    assert speak(server, stranger) == "TLSv1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_oldest_version_is_kept(place: Path, version: ssl.TLSVersion) -> None:
    ours = tls.authorities(str(place / "ours/ca.crt"))
    server = tls.server(*files(place / "ours", "server"), ours, oldest=version)
    client = tls.stranger(*files(place / "ours", "client"))
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2
    if version is ssl.TLSVersion.TLSv1_2:
        assert speak(server, client) == "TLSv1.2"
    else:
        with pytest.raises(ssl.SSLError):
            speak(server, client)


@pytest.mark.parametrize("index", range(2))
def test_a_file_that_cannot_be_used_is_named(place: Path, tmp_path: Path, index: int) -> None:
    bad = tmp_path / "bad.pem"
    given = list(files(place / "ours", "server"))
    given[index] = str(bad)
    with pytest.raises(ConfigError, match=r"bad\.pem.*No such file"):
        tls.server(given[0], given[1], "")
    bad.write_text("nothing")
    with pytest.raises(ConfigError, match=r"bad\.pem"):
        tls.server(given[0], given[1], "")


@pytest.mark.parametrize("data", [None, b"", b"nothing", b"\xff", b"-----BEGIN CERTIFICATE-----"])
def test_authorities_that_are_none_are_named(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        tls.authorities(str(path))


def test_trusting_nothing_is_an_error_and_not_trust_in_all(place: Path) -> None:
    with pytest.raises(ConfigError, match="the certificates to trust"):
        tls.server(*files(place / "ours", "server"), "")
