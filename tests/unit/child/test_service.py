"""Server and client of the child kit, over real sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.child.client import Client
from ainit.child.notify import notify
from ainit.errors import DeadlineError, UnavailableError, WireError
from ainit.wire.protocol import VarlinkError
from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[3]
NAME = "org.example.Echo"
SERVER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from ainit.child.server import Service, VarlinkError

def echo(parameters):
    return parameters

def fail(parameters):
    raise VarlinkError("{NAME}.Failed", {{"why": "asked to"}})

def fault(parameters):
    return parameters["absent"]

def large(parameters):
    return {{"text": "x" * 3_000_000}}

text = "interface {NAME}\\nmethod Echo() -> ()\\n"
Service(text, {{"Echo": echo, "Fail": fail, "Fault": fault, "Large": large}}).serve()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ainit-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def path(directory: Path) -> Iterator[str]:
    """The socket of a service started as PID 1 does it: descriptor 3, READY=1 when it serves."""
    readiness = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    readiness.bind(str(directory / "notify"))
    readiness.settimeout(60)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(directory / "service"))
    listener.listen(8)
    launcher = (
        f"import os; os.dup2({listener.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid())"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", f"{launcher}\n{SERVER}"],
        env={"NOTIFY_SOCKET": str(directory / "notify"), "LISTEN_FDS": "1"},
        pass_fds=[listener.fileno()],
    )
    listener.close()
    assert readiness.recv(100) == b"READY=1"
    readiness.close()
    yield str(directory / "service")
    assert process.poll() is None, "the service did not outlive the test"
    process.kill()
    process.wait()


def test_calls_and_answers(path: str) -> None:
    with Client(path, timeout=60) as client:
        assert client.call(f"{NAME}.Echo", {"text": "ü", "n": [1, None]}) == {
            "text": "ü",
            "n": [1, None],
        }
        assert client.call(f"{NAME}.Echo") == {}
        assert list(client.more(f"{NAME}.Echo", {"n": 1})) == [{"n": 1}]
        assert len(str(client.call(f"{NAME}.Large")["text"])) == 3_000_000


@pytest.mark.parametrize(
    ("method", "error"),
    [
        (f"{NAME}.Fail", f"{NAME}.Failed"),
        (f"{NAME}.Fault", "org.ainos.Fault"),
        (f"{NAME}.Nothing", "org.varlink.service.MethodNotFound"),
        ("org.example.Other.Echo", "org.varlink.service.InterfaceNotFound"),
        ("org.varlink.service.Nothing", "org.varlink.service.MethodNotFound"),
        ("org.varlink.service.GetInterfaceDescription", "org.varlink.service.InvalidParameter"),
    ],
)
def test_errors_are_answers_too(path: str, method: str, error: str) -> None:
    with Client(path, timeout=60) as client:
        with pytest.raises(VarlinkError) as caught:
            client.call(method)
        assert caught.value.name == error
        assert client.call(f"{NAME}.Echo", {"n": 1}) == {"n": 1}


def test_the_service_describes_itself(path: str) -> None:
    with Client(path, timeout=60) as client:
        info = client.call("org.varlink.service.GetInfo")
        assert info["interfaces"] == ["org.varlink.service", NAME]
        describe = "org.varlink.service.GetInterfaceDescription"
        text = client.call(describe, {"interface": NAME})["description"]
        assert str(text).startswith(f"interface {NAME}\n")
        assert "GetInfo" in str(client.call(describe, {"interface": "org.varlink.service"}))


@pytest.mark.parametrize(
    "data", [b"\0", b"[]\0", b'{"method":"x"}\0', b"\xff\0", b"x" * (4 * 1024 * 1024 + 1)],
    ids=["empty", "array", "unqualified", "bytes", "endless"],
)  # fmt: skip
def test_a_bad_client_loses_its_connection_only(path: str, data: bytes) -> None:
    with Client(path, timeout=60) as other, socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        channel.settimeout(60)
        try:
            channel.sendall(data)
            assert channel.recv(1) == b""
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed while we were still talking
        assert other.call(f"{NAME}.Echo", {"n": 1}) == {"n": 1}


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_a_client_that_never_reads_is_not_served_further(path: str) -> None:
    """Else each of its calls would cost the service three megabytes."""
    with socket.socket(socket.AF_UNIX) as channel, Client(path, timeout=60) as other:
        channel.connect(path)
        for _ in range(40):
            channel.sendall(f'{{"method":"{NAME}.Large"}}\0'.encode())
            other.call(f"{NAME}.Echo")
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        listener_pid = int.from_bytes(credentials[:4], "little")
        assert listener_pid == os.getpid()  # we made the listening socket
        child = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
        assert min(resident_kib(int(pid)) for pid in child) < 64 * 1024


def test_more_clients_than_there_is_room_for(path: str) -> None:
    with Client(path, timeout=60) as first:
        assert first.call(f"{NAME}.Echo") == {}
        many = []
        for _ in range(80):
            channel = socket.socket(socket.AF_UNIX)
            channel.connect(path)
            many.append(channel)
        assert first.call(f"{NAME}.Echo") == {}
        for channel in many:
            channel.close()

    def served() -> bool:
        try:
            with Client(path, timeout=60) as client:
                return client.call(f"{NAME}.Echo") == {}
        except UnavailableError:
            return False

    wait_for(served, "room for a new client")


def test_nobody_listens(directory: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        Client(str(directory / "nothing"))


def silent(directory: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(directory / "silent"))
    listener.listen(1)
    return listener


def test_a_late_answer_is_a_deadline(directory: Path) -> None:
    with (
        silent(directory),
        Client(f"{directory}/silent", timeout=0.05) as client,
        pytest.raises(DeadlineError, match=r"no answer in 0\.05 s"),
    ):
        client.call(f"{NAME}.Echo")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", UnavailableError),
        (b"nonsense\0", WireError),
        (b'{"parameters":[]}\0', WireError),
        (b'{"error":"a.B"}\0', VarlinkError),
    ],
)
def test_answers_that_are_none(directory: Path, answer: bytes, error: type[Exception]) -> None:
    with silent(directory) as listener, Client(f"{directory}/silent", timeout=60) as client:
        channel, _ = listener.accept()
        channel.sendall(answer)
        if not answer:
            channel.close()
        with pytest.raises(error):
            client.call(f"{NAME}.Echo")
        channel.close()


def test_notify_without_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(directory: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"{directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        assert notify("STATUS=grüße") is True
        assert channel.recv(100) == "STATUS=grüße".encode()
