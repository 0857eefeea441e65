"""The agent over real TLS connections; the TPM is a fake that the real parser reads."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from ainit.attest import pcrs
from ainit.child import tls
from ainit.child.http import CONNECTIONS
from ainit.errors import TpmError
from ainit.keylime.agent import Agent
from ainit.keylime.identity import Identity, IdentityError, identity
from ainit.keylime.server import Server
from tests.support.keylime import HOST, authority
from tests.support.wait import wait_for

LOG = b"firmware log"


class FakeTpm:
    """Quotes what was extended; ``moving`` makes the PCRs change before each of so many quotes."""

    def __init__(self) -> None:
        self.values = {pcr: bytes(32) for pcr in range(24)}
        self.moving = 0

    def bind(self, pcr: int, digest: bytes) -> None:
        self.values[pcr] = hashlib.sha256(bytes(32) + digest).digest()

    def pcr_values(self, pcrs: tuple[int, ...]) -> dict[int, bytes]:
        return {pcr: self.values[pcr] for pcr in pcrs}

    def quote(self, nonce: bytes, selection: tuple[int, ...]) -> tuple[bytes, bytes]:
        if self.moving:
            self.moving -= 1
            self.values[16] = b"\xff" * 32
        mask = sum(1 << pcr for pcr in selection).to_bytes(3, "little")
        digest = pcrs.composite(self.pcr_values(selection))
        message = struct.pack(">IHHH", 0xFF544347, 0x8018, 0, len(nonce)) + nonce
        message += struct.pack(">QIIBQIHB3sH", 1, 0, 0, 1, 0, 1, 0x000B, 3, mask, 32) + digest
        return message, b"signature"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keylime")
    authority(place)
    (place / "firmware.log").write_bytes(LOG)
    return place


@pytest.fixture(scope="module")
def own(place: Path) -> Identity:
    return identity(str(place / "state"), HOST)


@pytest.fixture
def tpm() -> FakeTpm:
    return FakeTpm()


@pytest.fixture
def server(place: Path, own: Identity, tpm: FakeTpm) -> Iterator[Server]:
    agent = Agent("name", own.public_key, lambda: nullcontext(tpm), str(place / "firmware.log"))
    with socket.create_server((HOST, 0)) as listener:
        trusted = tls.authorities(str(place / "ca.crt"))
        server = Server(listener, tls.server(own.path, own.path, trusted), agent)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)
        assert not thread.is_alive()


def context(place: Path, own: Identity, *, known: bool = True) -> ssl.SSLContext:
    """As Keylime's verifier: the agent's certificate is trusted, and its own is shown."""
    context = ssl.create_default_context(cadata=own.certificate)
    if known:
        context.load_cert_chain(place / "client.crt", place / "client.key")
    return context


class Client:
    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        address = server.server_address
        assert isinstance(address, tuple)
        self.port = int(address[1])
        self.context = context

    def ask(self, method: str, target: str) -> tuple[int, dict[str, object]]:
        channel = http.client.HTTPSConnection(HOST, self.port, timeout=60, context=self.context)
        try:
            channel.request(method, target)
            response = channel.getresponse()
            return response.status, json.loads(response.read())
        finally:
            channel.close()


@pytest.fixture
def client(server: Server, place: Path, own: Identity) -> Client:
    return Client(server, context(place, own))


def results(client: Client, target: str) -> dict[str, object]:
    status, reply = client.ask("GET", target)
    assert (status, reply["code"]) == (200, 200)
    found = reply["results"]
    assert isinstance(found, dict)
    return found


def test_the_versions(client: Client) -> None:
    assert results(client, "/version")["supported_versions"] == ["2.5", "2.6"]


def test_the_machine_is_named(client: Client) -> None:
    assert results(client, "/v2.6/agent/info")["agent_uuid"] == "name"


def test_an_identity_quote_binds_the_key_of_the_channel(client: Client, own: Identity) -> None:
    found = results(client, "/v2.6/quotes/identity?nonce=abc")
    assert found["pubkey"] == own.public_key
    assert str(found["quote"]).startswith("r")
    values = pcrs.parse(base64.b64decode(str(found["quote"])[1:].split(":")[2]))
    digest = hashlib.sha256(own.public_key.encode()).digest()
    assert values == {16: hashlib.sha256(bytes(32) + digest).digest()}
    assert "mb_measurement_list" not in found


def test_a_verifier_of_the_boot_gets_the_log(client: Client) -> None:
    found = results(client, "/v2.6/quotes/integrity?nonce=abc&mask=0x11&partial=1")
    assert base64.b64decode(str(found["mb_measurement_list"])) == LOG
    assert "pubkey" not in found


def test_a_missing_log_is_an_empty_one(client: Client, server: Server, tpm: FakeTpm) -> None:
    server.agent = Agent("name", "key", lambda: nullcontext(tpm), "/nonexistent")
    found = results(client, "/v2.6/quotes/integrity?nonce=abc&mask=0x1&partial=0")
    assert found["mb_measurement_list"] == ""


def test_pcrs_that_move_are_quoted_again(client: Client, tpm: FakeTpm) -> None:
    tpm.moving = 2
    results(client, "/v2.6/quotes/identity?nonce=abc")
    tpm.moving = 100
    assert client.ask("GET", "/v2.6/quotes/identity?nonce=abc")[0] == 500


def test_a_tpm_that_fails_is_an_answer(
    client: Client, tpm: FakeTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TpmError("no TPM")

    monkeypatch.setattr(tpm, "bind", broken)
    assert client.ask("GET", "/v2.6/quotes/identity?nonce=abc")[0] == 500
    monkeypatch.undo()
    results(client, "/v2.6/quotes/identity?nonce=abc")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v2.6/quotes/identity?nonce=a-b", 400),
        ("GET", "/elsewhere", 404),
        ("POST", "/v2.6/keys/ukey", 501),
        ("PUT", "/version", 405),
        ("GET", "/version?" + "a" * 1024, 414),
    ],
)
def test_requests_are_refused_with_their_status(
    client: Client, method: str, target: str, status: int
) -> None:
    found, reply = client.ask(method, target)
    assert (found, reply["code"]) == (status, status)
    results(client, "/version")  # and others are served


def test_an_endless_request_is_cut_off(client: Client) -> None:
    try:
        assert client.ask("GET", "/version?" + "a" * (1 << 20))[0] == 414
    except (OSError, http.client.HTTPException):
        pass  # the connection ended while the request was still being written, or the answer read
    results(client, "/version")


def test_nobody_without_a_certificate_is_answered(
    server: Server, place: Path, own: Identity
) -> None:
    stranger = Client(server, context(place, own, known=False))
    with pytest.raises(OSError):  # noqa: PT011 - an alert, or a connection that ends
        stranger.ask("GET", "/version")


def test_there_is_a_bounded_number_of_connections(client: Client) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection((HOST, client.port), 60))
        with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end within the handshake
            client.ask("GET", "/version")
    wait_for(lambda: is_served(client), "an answer once the others are gone")


def is_served(client: Client) -> bool:
    try:
        return client.ask("GET", "/version")[0] == 200
    except OSError:
        return False


def test_identity_outlives_a_restart(place: Path, own: Identity) -> None:
    assert identity(str(place / "state"), HOST) == own
    assert (place / "state/agent.pem").stat().st_mode & 0o777 == 0o600


def test_a_spoilt_identity_is_named(tmp_path: Path) -> None:
    (tmp_path / "agent.pem").write_text("nothing")
    with pytest.raises(IdentityError, match=r"agent\.pem"):
        identity(str(tmp_path), HOST)
