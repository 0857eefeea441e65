"""Operators over TLS on the loopback interface, before a control server of the test's own. The
machine's key is one in a file here; tests/contract/test_remote.py has it in a TPM.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ainit.child import tls
from ainit.child.client import Client
from ainit.constants import MESSAGE_BYTES_OTHERS
from ainit.errors import UnavailableError, WireError
from ainit.policy.remote import Operator
from ainit.remote import gateway as module
from ainit.remote.conversation import REFUSALS
from ainit.remote.gateway import STRANGERS, Allowance, Gateway
from ainit.remote.operator import Folder, Host
from ainit.remote.operators import Operators
from ainit.wire import protocol
from ainit.wire.protocol import VarlinkError
from tests.support.control import Answer, ControlServer
from tests.support.keylime import HOST, authority
from tests.support.wait import wait_for

from .certificates import operator

NAMED = {"name": "a"}
ANSWERS: dict[str, Answer] = {
    "org.ainos.Control.Restart": {},
    "org.ainos.Control.Run": {"name": "1.job"},
    "org.ainos.Attest.Activate": {"secret": "00"},
    "org.ainos.Control.Reexec": {},
    "org.ainos.Control.GetPlan": VarlinkError("org.ainos.Control.Refused", {"reason": "no"}),
}


class Stand:
    """A machine that is reached over the network, and what its control socket is asked."""

    def __init__(self, place: Path, stack: ExitStack, answers: dict[str, Answer]) -> None:
        (place / "machine").mkdir()
        authority(place / "machine")
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ainos-")))
        self.control = stack.enter_context(ControlServer(short / "control", answers))
        self.notes: list[str] = []
        self.folders: dict[str, Folder] = {}
        known: list[Operator] = []
        for name, role in (("vera", "viewer"), ("oscar", "operator"), ("ada", "admin")):
            self.folders[name], made = operator(place, name, role)
            known.append(made)
        self.folders["eve"], _ = operator(place, "eve", "admin")
        self.listener = stack.enter_context(socket.create_server((HOST, 0)))
        self.port = self.listener.getsockname()[1]
        operators = Operators.of(known)
        files = (str(place / "machine/server.crt"), str(place / "machine/server.key"))
        self.context = tls.server(*files, operators.trusted)
        self.gateway = Gateway(
            self.listener, self.context, operators, self._connect, self.notes.append
        )
        certificate = (place / "machine/server.crt").read_text()
        for folder in self.folders.values():
            folder.keep(Host("node", HOST, self.port, certificate, "00"))
        thread = threading.Thread(target=self.gateway.serve)
        thread.start()
        stack.callback(thread.join, 60)
        stack.callback(self._end)

    def _connect(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(str(self.control.path))
        return channel

    def _end(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def client(self, name: str) -> Client:
        return Client("node", 60.0, self.folders[name].connect("node"))

    def raw(self, name: str) -> socket.socket:
        return self.folders[name].connect("node")(60.0)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test makes more handshakes than one address has."""
    monkeypatch.setattr(module, "HANDSHAKES", (1e6, 1e6))
    monkeypatch.setattr(module, "HANDSHAKES_OF_ONE", (1e6, 1e6))


@pytest.fixture
def stand(tmp_path: Path, many: None) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(tmp_path, stack, ANSWERS)


def test_calls_arrive_and_answers_come_back(stand: Stand) -> None:
    with stand.client("ada") as client:
        client.call("org.ainos.Control.Restart", {"name": "a"})
        info = client.call("org.varlink.service.GetInfo")
        with pytest.raises(VarlinkError, match="Refused"):
            client.call("org.ainos.Control.GetPlan")
    assert info["vendor"] == "AINOS"
    assert stand.control.calls[0] == ("org.ainos.Control.Restart", {"name": "a"})
    assert any(line.startswith("ada (admin) from 127.0.0.1:") for line in stand.notes)
    assert "ada (admin) calls org.ainos.Control.Restart" in stand.notes


def test_a_job_is_charged_to_whoever_has_it_run(stand: Stand) -> None:
    asked = {"command": ["/usr/bin/true"], "profiles": ["2g.20gb"]}
    with stand.client("ada") as client:
        client.call("org.ainos.Control.Run", {**asked, "owner": "grace"})
    assert stand.control.calls == [("org.ainos.Control.Run", {**asked, "owner": "ada"})]


def test_a_role_is_kept_and_refusals_come_in_order(stand: Stand) -> None:
    with stand.client("oscar") as client:
        for method in ("Restart", "Reexec", "Restart"):
            client.request(f"org.ainos.Control.{method}", NAMED if method == "Restart" else {})
        assert client.reply() == {}
        with pytest.raises(VarlinkError, match="PermissionDenied"):
            client.reply()
        assert client.reply() == {}
    assert [method for method, _ in stand.control.calls] == ["org.ainos.Control.Restart"] * 2
    assert "oscar (operator) was refused org.ainos.Control.Reexec" in stand.notes
    with stand.client("vera") as client:
        with pytest.raises(VarlinkError, match="PermissionDenied"):
            client.call("org.ainos.Control.Restart", {"name": "a"})
        answer = client.call("org.ainos.Attest.Activate", {"credential": "00", "secret": "00"})
    assert answer == {"secret": "00"}


def test_what_is_no_call_ends_the_connection(stand: Stand) -> None:
    for data in (b"{}\0", b"[]\0", b"junk\0", b'{"method":3}\0'):
        with stand.raw("ada") as channel:
            channel.sendall(data)
            assert channel.recv(100) == b""
    assert stand.control.calls == []


def test_a_method_cannot_write_another_line_into_the_log(stand: Stand) -> None:
    with stand.client("vera") as client, pytest.raises(VarlinkError, match="PermissionDenied"):
        client.call("a.b\nada (admin) calls org.ainos.Control.Reboot" + "x" * 1000)
    assert not any("\n" in line or len(line) > 200 for line in stand.notes)


def test_only_operators_are_let_in(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError), stand.client("eve") as client:
        client.call("org.varlink.service.GetInfo")
    plain = ssl.create_default_context(cafile=str(tmp_path / "machine/ca.crt"))
    with (
        socket.create_connection((HOST, stand.port), 60) as channel,
        pytest.raises(OSError, match="CERTIFICATE_REQUIRED"),
        plain.wrap_socket(channel, server_hostname=HOST) as secured,
    ):
        secured.recv(1)
    assert stand.control.calls == []
    assert not any("ada" in line or "eve" in line for line in stand.notes)


def test_an_operator_speaks_to_no_other_machine(stand: Stand, tmp_path: Path) -> None:
    folder = stand.folders["ada"]
    other = (tmp_path / "machine/client.crt").read_text()  # of the same authority
    folder.keep(Host("node", HOST, stand.port, other, "00"))
    with pytest.raises(UnavailableError, match="another machine answers there"):
        stand.client("ada")


def test_a_client_that_says_nothing_is_cut(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.05)
    with socket.create_connection((HOST, stand.port), 60) as channel:
        assert channel.recv(1) == b""


def strangers(stack: ExitStack, port: int, count: int, host: str = HOST) -> list[socket.socket]:
    return [
        stack.enter_context(socket.create_connection((HOST, port), 60, source_address=(host, 0)))
        for _ in range(count)
    ]


def test_no_number_of_strangers_keeps_an_operator_out(tmp_path: Path) -> None:
    """As the machine is: nothing is set for the test."""
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, ANSWERS)
        first, *_ = strangers(stack, stand.port, 2 * STRANGERS)
        assert first.recv(1) == b""  # it made room
        with stand.client("ada") as client:
            client.call("org.ainos.Control.Restart", NAMED)


def test_who_speaks_stays_before_who_says_nothing(stand: Stand) -> None:
    with ExitStack() as stack:
        [speaking] = strangers(stack, stand.port, 1)
        speaking.sendall(b"\x16")  # a record begins so
        wait_for(lambda: stand.gateway._strangers._speaking, "the first byte")
        silent = strangers(stack, stand.port, STRANGERS + 1)
        assert silent[0].recv(1) == b""
        speaking.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            speaking.recv(1)


def test_a_flood_from_one_address_delays_nobody_at_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them begins a handshake, which the TPM would sign."""
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 1.0)
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, ANSWERS)
        flood = 0
        for channel in strangers(stack, stand.port, 3 * STRANGERS, "127.0.0.2"):
            stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            stranger.check_hostname = False
            stranger.verify_mode = ssl.CERT_NONE
            try:
                with stranger.wrap_socket(channel) as secured:
                    flood += secured.version() == "TLSv1.3"
            except OSError:
                pass
        assert flood <= 2 * module.HANDSHAKES_OF_ONE[0]
        with stand.client("ada") as client:
            client.call("org.ainos.Control.Restart", NAMED)


def test_an_operator_may_come_as_often_as_he_likes(tmp_path: Path) -> None:
    """A script of his is no flood. As the machine is: nothing is set for the test."""
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, ANSWERS)
        for _ in range(3 * int(module.HANDSHAKES_OF_ONE[0])):
            with stand.client("ada") as client:
                client.call("org.varlink.service.GetInfo")


def test_what_is_cut_is_not_read_without_tls(stand: Stand) -> None:
    """An alarm that comes too late must not have what lies on the wire taken for an operator's."""
    with socket.create_server((HOST, 0)) as listener, ExitStack() as stack:
        outer = stack.enter_context(socket.create_connection(listener.getsockname(), 60))
        inner = stack.enter_context(listener.accept()[0])
        client = tls.stranger(stand.folders["ada"].key, stand.folders["ada"].key)
        made: list[ssl.SSLSocket] = []
        thread = threading.Thread(
            target=lambda: made.append(stand.context.wrap_socket(inner, server_side=True))
        )
        thread.start()
        secured = stack.enter_context(client.wrap_socket(outer))
        thread.join(60)
        [served] = made
        stack.enter_context(served)
        socket.socket.send(secured, b"plain")
        wait_for(lambda: socket.socket.recv(served, 5, socket.MSG_PEEK) == b"plain", "the bytes")
        module._cut(served)
        try:
            found = served.recv(100)
        except OSError:
            found = b""
        assert found == b""


def test_nobody_has_more_than_a_few_places_and_some_are_for_admins(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPERATORS", 3)
    monkeypatch.setattr(module, "KEPT_FOR_ADMINS", 1)
    monkeypatch.setattr(module, "OF_ONE_OPERATOR", 2)

    def come(stack: ExitStack, name: str) -> bool:
        try:
            client = stack.enter_context(stand.client(name))
            return bool(client.call("org.varlink.service.GetInfo"))
        except UnavailableError:
            return False

    with ExitStack() as stack:
        assert [come(stack, "vera") for _ in range(3)] == [True, True, False]
        assert not come(stack, "oscar")
        assert [come(stack, "ada") for _ in range(2)] == [True, False]
    assert any("too many are here already" in line for line in stand.notes)

    def again() -> bool:
        with ExitStack() as stack:
            return come(stack, "oscar")

    wait_for(again, "the room that they left")


def test_a_call_is_as_long_as_the_role_may(stand: Stand) -> None:
    long = {"name": "a", "more": "x" * (MESSAGE_BYTES_OTHERS + 1)}
    with stand.client("ada") as client:
        client.call("org.varlink.service.GetInfo", long)
    for name in ("vera", "oscar"):
        with pytest.raises(UnavailableError), stand.client(name) as client:
            client.call("org.varlink.service.GetInfo", long)


def test_who_is_refused_again_and_again_has_to_go(stand: Stand) -> None:
    with stand.client("vera") as client:
        for _ in range(REFUSALS):
            client.request("org.ainos.Control.Reexec")
        for _ in range(REFUSALS):
            with pytest.raises(VarlinkError, match="PermissionDenied"):
                client.reply()
        with pytest.raises(UnavailableError):
            client.call("org.ainos.Control.Reexec")
    assert len([line for line in stand.notes if "was refused" in line]) == REFUSALS


def test_an_operator_cannot_shut_the_door_behind_him(stand: Stand) -> None:
    with stand.client("oscar") as client:
        for unit in ("remote", "network"):
            with pytest.raises(VarlinkError, match="PermissionDenied"):
                client.call("org.ainos.Control.Stop", {"name": unit})
        client.call("org.ainos.Control.Stop", {"name": "speech"})
    with stand.client("ada") as client:
        client.call("org.ainos.Control.Stop", {"name": "remote"})


def test_a_certificate_that_expired_is_said(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the machine's clock, which is not the test's to set: so one that was never valid."""
    from ainit.remote import operator as operators_end

    monkeypatch.setattr(operators_end, "_YEARS", -1)
    monkeypatch.setattr("ainit.remote.operator._BEFORE_DAYS", 800)
    late, known = operator(Path(stand.folders["ada"].path).parent, "late", "admin")
    stand.context.load_verify_locations(cadata=known.certificate)
    late.keep(stand.folders["ada"].host("node"))
    with pytest.raises(UnavailableError), Client("node", 60.0, late.connect("node")) as client:
        client.call("org.varlink.service.GetInfo")
    wait_for(lambda: any("certificate has expired" in line for line in stand.notes), "a note")


@pytest.mark.parametrize("more", [False, True])
def test_a_stream_ends_when_its_client_leaves(tmp_path: Path, more: bool) -> None:
    """The machine would say more, some day: nobody waits for it in vain. Nor when the client has
    asked for more by then, which nobody reads yet.
    """
    here, there = socket.socketpair()
    ended = threading.Event()
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, {})
        stand.gateway._connect = lambda: there
        client = stack.enter_context(stand.client("ada"))
        replies = client.more("org.ainos.Control.Logs", {"follow": True})
        stack.enter_context(here)

        def answer() -> None:
            here.recv(65536)
            here.sendall(protocol.reply({"entries": []}, continues=True))
            assert here.recv(1) == b""  # the gateway closed its end
            ended.set()

        thread = threading.Thread(target=answer)
        thread.start()
        assert next(replies) == {"entries": []}
        if more:
            client.request("org.varlink.service.GetInfo")
        client.close()
        thread.join(60)
        assert ended.is_set()


def test_a_control_socket_that_is_not_there(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, {})

        def nobody() -> socket.socket:
            raise FileNotFoundError("control")

        stand.gateway._connect = nobody
        with pytest.raises(UnavailableError), stand.client("ada") as client:
            client.call("org.varlink.service.GetInfo")


def test_an_allowance_is_used_up_and_comes_again() -> None:
    now = [0.0]
    allowance = Allowance(3, 0.5, lambda: now[0])
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 1.9
    assert not allowance.take()
    now[0] = 2.0
    assert [allowance.take() for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]


def test_handshakes_of_strangers_are_counted_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANDSHAKES", (1.0, 0.0))
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.3)
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, ANSWERS)
        with stand.client("ada") as client:
            client.call("org.varlink.service.GetInfo")
        with pytest.raises(UnavailableError), stand.client("eve") as client:
            client.call("org.varlink.service.GetInfo")
        with pytest.raises(UnavailableError), stand.client("ada") as client:
            client.call("org.varlink.service.GetInfo")


CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                protocol.call("org.ainos.Control.Reboot", {}),
                protocol.call("org.ainos.Control.Restart", {"name": "a"}),
                protocol.call("org.varlink.service.GetInfo", {}),
                b'{"method":"org.ainos.Control.Reexec","oneway":true}\0',
                b'{"method":"org.ainos.Control.Status","method":"org.ainos.Control.Reboot"}\0',
                b'{"method":"org.ainos.Control.Status\\u0000","more":1}\0',
            ]
        ),
    ),
    max_size=8,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chunks=CHUNKS, cut=st.integers(0, 60))
def test_no_bytes_of_a_viewer_change_the_machine(
    stand: Stand, chunks: list[bytes], cut: int
) -> None:
    data = b"".join(chunks)
    with stand.raw("vera") as channel:
        channel.sendall(data[: len(data) - cut] or b"\0")
        try:
            channel.unwrap()  # type: ignore[attr-defined]
        except OSError:
            pass  # what was no call ended the connection
    with stand.client("vera") as client:  # the gateway goes on
        assert client.call("org.varlink.service.GetInfo")["vendor"] == "AINOS"
    reading = {"org.ainos.Control.Status", "org.ainos.Control.Status\0"}
    assert {method for method, _ in stand.control.calls} <= reading


def test_what_the_machine_says_wrongly_ends_the_connection(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    with ExitStack() as stack:
        stand = Stand(tmp_path, stack, {})
        stand.gateway._connect = lambda: there
        stack.enter_context(here)
        here.sendall(b"junk\0")
        with pytest.raises((UnavailableError, WireError)), stand.client("ada") as client:
            client.call("org.varlink.service.GetInfo")
