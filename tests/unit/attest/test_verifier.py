"""A verifier that is asked over HTTPS: each nonce and each challenge once, and nothing believed of
whoever carries the conversation.
"""

from __future__ import annotations

import datetime
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from ainit.attest import verifier as service
from ainit.attest.acceptance import Policy
from ainit.attest.register import LIFETIME, Register
from ainit.attest.server import BODY_BYTES, Server
from ainit.attest.submit import Https, submit
from ainit.attest.verifier import Verifier
from ainit.child import tls
from ainit.errors import (
    AinosError,
    ConfigError,
    Finding,
    RefusedError,
    UnavailableError,
    WireError,
)
from tests.support.keylime import HOST, authority

from .machine import Machine, golden


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now


def files(place: Path, name: str) -> tuple[str, str, str]:
    """Paths of certificate and key, and the authority's certificate."""
    return (
        str(place / f"{name}.crt"),
        str(place / f"{name}.key"),
        tls.authorities(str(place / "ca.crt")),
    )


class Stand:
    """A verifier that accepts one machine as it was built, and the files of its authority."""

    def __init__(self, machine: Machine, place: Path, stack: ExitStack) -> None:
        self.machine = machine
        self.place = place
        self.clock = Clock()
        self.broken: AinosError | None = None
        self.verifier = Verifier(self._accepted, Register(str(place / "reg")), now=self.clock)
        authority(place)
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        self.port = listener.getsockname()[1]
        server = Server(listener, tls.server(*files(self.place, "server")), self.verifier)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)

    def _accepted(self) -> tuple[Policy, bytes]:
        if self.broken:
            raise self.broken
        return Policy((golden(),)), self.machine.tpm.manufacturers

    def client(self) -> ssl.SSLContext:
        return tls.client(*files(self.place, "client"))

    def https(self) -> Https:
        return Https(HOST, self.port, self.client())

    def raw(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, object]:
        channel = http.client.HTTPSConnection(HOST, self.port, timeout=60, context=self.client())
        try:
            channel.request(method, path, body, headers or {})
            reply = channel.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        finally:
            channel.close()


@pytest.fixture
def stand(machine: Machine, tmp_path: Path) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(machine, tmp_path, stack)


def codes(verdict: Mapping[str, object]) -> set[str]:
    findings = verdict["findings"]
    assert isinstance(findings, list | tuple)
    return {finding["code"] for finding in findings}


def test_a_machine_as_built_is_accepted_and_remembered(stand: Stand) -> None:
    verdict = submit(stand.machine.client(), stand.https(), "node1")
    assert (verdict["accepted"], codes(verdict)) == (True, set())
    status, machines = stand.raw("GET", "/v1/machines")
    assert (status, machines) == (200, {"machines": ["node1"]})
    status, known = stand.raw("GET", "/v1/machines/node1")
    assert isinstance(known, dict)
    assert (status, known["version"], set(known)) == (200, "0.1", {"ek", "ak", "version", "at"})
    assert stand.raw("GET", "/v1/machines/node2")[0] == 404


def test_another_boot_is_refused_and_not_remembered(stand: Stand) -> None:
    stand.machine.boot(events=[])
    verdict = submit(stand.machine.client(), stand.https(), "node1")
    assert verdict["accepted"] is False
    assert codes(verdict)
    assert stand.raw("GET", "/v1/machines")[1] == {"machines": []}


class Carrier:
    """Carries a conversation, and may change what it carries."""

    def __init__(self, inner: Https, change: Callable[[str, dict[str, object]], object]) -> None:
        self._inner = inner
        self._change = change

    def post(self, path: str, record: Mapping[str, object]) -> Mapping[str, object]:
        changed = dict(record)
        self._change(path, changed)
        return self._inner.post(path, changed)


def test_who_does_not_recover_the_secret_is_refused(stand: Stand) -> None:
    def change(path: str, record: dict[str, object]) -> None:
        if path.endswith("answer"):
            record["secret"] = "00" * 32

    verdict = submit(stand.machine.client(), Carrier(stand.https(), change), "node1")
    assert codes(verdict) == {"unbound"}


def test_each_step_is_good_once(stand: Stand) -> None:
    https, seen = stand.https(), dict[str, dict[str, object]]()
    carrier = Carrier(https, lambda path, record: seen.__setitem__(path, dict(record)))
    assert submit(stand.machine.client(), carrier, "node1")["accepted"]
    for path, said in (("/v1/answer", "no such challenge"), ("/v1/challenge", "used before")):
        with pytest.raises(RefusedError, match=said):
            https.post(path, seen[path])


def test_each_step_is_good_for_a_while(stand: Stand) -> None:
    https = stand.https()

    def late(wanted: str) -> Carrier:
        def change(path: str, record: dict[str, object]) -> None:
            if path.endswith(wanted):
                stand.clock.now += LIFETIME + datetime.timedelta(seconds=1)

        return Carrier(https, change)

    for step, said in (("challenge", "good until"), ("answer", "too long ago")):
        with pytest.raises(RefusedError, match=said):
            submit(stand.machine.client(), late(step), "node1")
    assert submit(stand.machine.client(), https, "node1")["accepted"]


def test_without_a_policy_nobody_is_accepted(stand: Stand) -> None:
    stand.broken = ConfigError([Finding("policy.toml", 3, "no such image")])
    with pytest.raises(RefusedError, match=r"policy cannot be used: policy.toml:3"):
        submit(stand.machine.client(), stand.https(), "node1")
    assert stand.verifier.register.names() == []


def test_a_verifier_whose_disk_fails_says_so(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> list[str]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stand.verifier.register, "names", failing)
    reason = {"error": "the verifier's own files fail it"}
    assert stand.raw("GET", "/v1/machines") == (500, reason)
    assert "no verdict: [Errno 5] Input/output error" in capsys.readouterr().err


def test_nobody_can_fill_the_memory(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PENDING", 1)
    https, kept = stand.https(), list[dict[str, object]]()

    def leave(path: str, record: dict[str, object]) -> None:
        if path.endswith("answer"):
            kept.append(record)
            raise RefusedError("gone")

    with pytest.raises(RefusedError, match="gone"):
        submit(stand.machine.client(), Carrier(https, leave), "node1")
    with pytest.raises(RefusedError, match="too many challenges"):
        submit(stand.machine.client(), https, "node2")
    assert https.post("/v1/answer", kept[0])["accepted"]
    assert submit(stand.machine.client(), https, "node2")["accepted"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", b"", 404),
        ("GET", "/v1/machines/../reg", b"", 400),
        ("POST", "/v2/nonce", b"{}", 404),
        ("POST", "/v1/nonce", b"[]", 400),
        ("POST", "/v1/nonce", b"{", 400),
        ("POST", "/v1/nonce", b"\xff", 400),
        ("POST", "/v1/challenge", b"{}", 400),
        ("POST", "/v1/challenge", b'{"machine": "a", "files": 3}', 400),
        ("POST", "/v1/challenge", b'{"machine": "a", "files": {}}', 409),
        ("POST", "/v1/challenge", b'{"machine": "../a", "files": {}}', 400),
        ("POST", "/v1/answer", b'{"challenge": "", "secret": "0"}', 400),
        ("POST", "/v1/answer", b'{"challenge": "", "secret": "00"}', 409),
        ("PUT", "/v1/nonce", b"{}", 501),
    ],
)
def test_other_requests_are_answered_with_a_reason(
    stand: Stand, method: str, path: str, body: bytes, status: int
) -> None:
    found, answer = stand.raw(method, path, body)
    assert (found, list(answer)) == (status, ["error"])  # type: ignore[call-overload]


def test_a_request_says_how_long_it_is_and_is_not_too_long(stand: Stand) -> None:
    for length, status in ((str(BODY_BYTES + 1), 413), ("-1", 411), ("1e3", 411)):
        assert stand.raw("POST", "/v1/nonce", b"", {"Content-Length": length})[0] == status


def test_only_clients_of_the_authority_are_answered(stand: Stand, tmp_path: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    authority(strangers)
    for made in (
        tls.client(*files(strangers, "client")[:2], files(stand.place, "client")[2]),
        ssl.create_default_context(cafile=str(stand.place / "ca.crt")),
    ):
        with pytest.raises(UnavailableError, match="cannot be asked"):
            Https(HOST, stand.port, made).post("/v1/nonce", {})
    ours = tls.client(*files(stand.place, "client")[:2], files(strangers, "client")[2])
    with pytest.raises(UnavailableError, match="cannot be asked"):  # a verifier that we do not know
        Https(HOST, stand.port, ours).post("/v1/nonce", {})


@pytest.mark.parametrize("answer", [{}, {"nonce": 3}])
def test_a_verifier_that_says_something_else(answer: dict[str, object], stand: Stand) -> None:
    class Other:
        def post(self, path: str, record: Mapping[str, object]) -> Mapping[str, object]:
            return answer

    with pytest.raises(WireError, match="has no nonce"):
        submit(stand.machine.client(), Other(), "node1")
