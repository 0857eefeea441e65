"""Registration with a registrar that answers as it is told."""

from __future__ import annotations

import base64
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ainit.attest.tpms import MalformedError
from ainit.errors import UnavailableError, WireError
from ainit.keylime import protocol
from ainit.keylime.registrar import Registration, register
from tests.support.keylime import HOST, free_ports

BLOB = base64.b64encode(struct.pack(">IIH2sH3s", 0xBADCC0DE, 1, 2, b"id", 3, b"key")).decode()
MACHINE = Registration("name", b"ek", b"crt", b"ak", "PEM", HOST, 9002)
Answer = tuple[int, bytes]


class Registrar(HTTPServer):
    """Gives its answers in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, object]]] = []


class Handler(BaseHTTPRequestHandler):
    server: Registrar

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.command, self.path, body))
        status, data = self.server.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    with Registrar() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


def success(results: object) -> Answer:
    return 200, protocol.answer(results)


def activate(credential: bytes, secret: bytes) -> bytes:
    assert (credential, secret) == (b"\0\2id", b"\0\3key")
    return b"recovered"


def test_a_machine_registers_and_proves_its_tpm(registrar: Registrar) -> None:
    registrar.answers = [success({"blob": BLOB}), success({})]
    register(HOST, registrar.server_port, MACHINE, activate)
    (post, where, body), (put, there, proof) = registrar.asked
    assert (post, where) == ("POST", "/v2.6/agents/name")
    assert body == {
        "ek_tpm": base64.b64encode(b"ek").decode(),
        "aik_tpm": base64.b64encode(b"ak").decode(),
        "ekcert": base64.b64encode(b"crt").decode(),
        "mtls_cert": "PEM",
        "ip": HOST,
        "port": 9002,
    }
    assert (put, there) == ("PUT", "/v2.6/agents/name/activate")
    assert proof == {"auth_tag": protocol.auth_tag(b"recovered", "name")}


@pytest.mark.parametrize(
    "answers",
    [
        [(403, protocol.answer({}))],
        [(200, b"no JSON")],
        [(200, b"[]")],
        [success({"blob": BLOB}), (400, protocol.answer({}))],
    ],
    ids=["forbidden", "no-json", "no-object", "not-activated"],
)
def test_a_refusal_is_an_error(registrar: Registrar, answers: list[Answer]) -> None:
    registrar.answers = answers
    with pytest.raises(WireError):
        register(HOST, registrar.server_port, MACHINE, activate)


@pytest.mark.parametrize("results", [{}, {"blob": "!"}, None])
def test_a_challenge_that_is_none_is_an_error(registrar: Registrar, results: object) -> None:
    registrar.answers = [success(results)]
    with pytest.raises(MalformedError):
        register(HOST, registrar.server_port, MACHINE, activate)


def test_nobody_at_the_registrar_is_an_error() -> None:
    with pytest.raises(UnavailableError):
        register(HOST, free_ports(1)[0], MACHINE, activate)
