"""An agent reaches the hosts that its manifest lists and nothing else, through the real service.

Three networks: the *machine's*, where the service runs; one outside, at the other end of a cable,
where the servers are; and the agent's own, made by its sandbox.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ainit.child.client import Client
from ainit.linux import process
from ainit.sandbox import handover
from tests.support.cable import MACHINE, METADATA, OTHER, SERVER, SERVER6, Cable
from tests.support.idl import Interface
from tests.support.probed import BLOCKED, KILLED, World
from tests.support.probes import PROBES
from tests.support.service import REPOSITORY
from tests.support.wait import DEADLINE_SECONDS, wait_for

PORT = 4443
USER = 61183
NAMED = "notes.example.org"

# The service as PID 1 starts it: another user, no privileges, the sockets from 3 on.
START = """
mount --bind "$HOSTS" /etc/hosts
exec setpriv --reuid 61183 --regid 61183 --clear-groups --no-new-privs --bounding-set=-all \
  --inh-caps=-all "$@"
"""
RUN = """
import runpy, sys
sys.path.append({!r})
runpy.run_module("ainit.egress", run_name="__main__")
"""


class Egress:
    """The service, and what PID 1 is for it: its sockets, and a store of descriptors."""

    def __init__(self, folder: Path, network: str) -> None:
        folder.chmod(0o755)
        self._folder = folder
        self._network = network
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self._output = (folder / "output").open("ab")
        self._sockets = [self._socket(kind) for kind in ("varlink", "egress", "notify")]
        self.path = str(folder / "egress")
        self.stored: list[tuple[str, int]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def _socket(self, kind: str) -> socket.socket:
        style = {
            "varlink": socket.SOCK_STREAM,
            "egress": socket.SOCK_SEQPACKET,
            "notify": socket.SOCK_DGRAM,
        }[kind]
        made = socket.socket(socket.AF_UNIX, style)
        made.bind(str(self._folder / kind))
        os.chmod(self._folder / kind, 0o666)
        if style != socket.SOCK_DGRAM:
            made.listen()
        return made

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        varlink, egress, notify = self._sockets
        names = ["varlink", "egress", *(name for name, _ in self.stored)]
        passed = [varlink.fileno(), egress.fileno(), *(number for _, number in self.stored)]
        code = RUN.format(str(REPOSITORY))
        child = process.Child(
            [
                "/usr/bin/nsenter", f"--net={self._network}",
                "/usr/bin/unshare", "--mount", "/bin/sh", "-euc", START, "sh",
                sys.executable, "-I", "-c", code,
            ],
            {
                "PATH": os.environ["PATH"],
                "HOSTS": str(self.hosts),
                "LISTEN_FDS": str(len(passed)),
                "LISTEN_FDNAMES": ":".join(names),
                "NOTIFY_SOCKET": str(self._folder / "notify"),
            },
            output=self._output.fileno(),
            descriptors=passed,
            limits={"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1]},
        )  # fmt: skip
        self._pid = process.spawn(child)
        notify.settimeout(DEADLINE_SECONDS)
        try:
            while self._hear() != b"READY=1":
                pass
        except TimeoutError:
            raise AssertionError(f"never became ready: {self.said()}") from None

    def _hear(self) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(self._sockets[2], 4096, 253)
        name = data.partition(b"FDNAME=")[2].partition(b"\n")[0].decode()
        if data.startswith(b"FDSTORE="):
            self.stored += [(name, number) for number in descriptors]
        elif data.startswith(b"FDSTOREREMOVE"):
            for one, number in [each for each in self.stored if each[0] == name]:
                self.stored.remove((one, number))
                os.close(number)
        return data

    def settle(self) -> None:
        """Do what it asked of its store."""
        self._sockets[2].setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._hear()

    def kill(self) -> None:
        """End it as a fault would."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pid = 0
        self.settle()

    def call(self, member: str, **parameters: object) -> dict[str, object]:
        """The reply of one call."""
        with Client(str(self._folder / "varlink"), timeout=DEADLINE_SECONDS) as client:
            reply = client.call(f"org.ainos.Egress.{member}", parameters)
        assert not Interface.named("org.ainos.Egress").wrong_reply(member, reply)
        return reply

    def agents(self) -> list[dict[str, object]]:
        """Those that it knows."""
        found = self.call("List")["agents"]
        assert isinstance(found, list)
        return found

    def said(self) -> str:
        """What it wrote."""
        return (self._folder / "output").read_text()

    def close(self) -> None:
        """End it, and close everything."""
        if self._pid:
            self.kill()
        for _, number in self.stored:
            os.close(number)
        for each in self._sockets:
            each.close()
        self._output.close()


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    with Cable() as made:
        for host in (SERVER, SERVER6, OTHER, METADATA):
            made.listen(host, PORT)
        made.listen(SERVER, PORT + 1)
        yield made


@contextmanager
def running(cable: Cable) -> Iterator[Egress]:
    with tempfile.TemporaryDirectory() as folder:  # one that another user may pass through
        made = Egress(Path(folder), cable.machine)
        try:
            made.start()
            yield made
        finally:
            made.close()


@pytest.fixture
def egress(cable: Cable) -> Iterator[Egress]:
    with running(cable) as made:
        yield made


@pytest.fixture(scope="module")
def lasting(cable: Cable) -> Iterator[Egress]:
    with running(cable) as made:
        yield made


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        yield made


def run(
    world: World,
    egress: Egress,
    code: str,
    network: Sequence[str],
    *arguments: str,
    name: str = "probe",
) -> tuple[int, str]:
    """Run Python as an agent with this network to its end."""
    channel = handover.connect(egress.path)
    sandbox = world.sandbox({"network": [*network]}, channels={"egress": channel})
    try:
        return world.start(["/usr/bin/python3", "-I", "-c", code, *arguments], sandbox)
    finally:
        os.close(channel)


ASKS = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        channel = socket.create_connection((host.strip("[]"), int(port)), 30)
        channel.sendall(b"and bye")
        channel.shutdown(socket.SHUT_WR)
        said = b""
        while part := channel.recv(4096):
            said += part
        print(place, said.decode())
    except OSError as error:
        print(place, type(error).__name__)
"""


def test_what_is_listed_is_reached_and_nothing_else(world: World, egress: Egress) -> None:
    egress.hosts.write_text(f"{SERVER} {NAMED}\n")
    listed = [f"{SERVER}:{PORT}", f"[{SERVER6}]:{PORT}", f"{NAMED}:{PORT}"]
    others = [
        f"{SERVER}:{PORT + 1}", f"{NAMED}:{PORT + 1}", f"{OTHER}:{PORT}", f"{MACHINE}:{PORT}",
        f"[2001:db8::8]:{PORT}", f"169.254.169.254:{PORT}", f"127.0.0.1:{PORT}",
        f"other.example.org:{PORT}",
    ]  # fmt: skip
    status, said = run(world, egress, ASKS, listed, *listed, *others)
    assert status == 0, said
    lines = said.splitlines()
    assert lines[:3] == [f"{place} hello and bye" for place in listed]
    assert len(lines) == 3 + len(others)
    refused = {"ConnectionRefusedError", "OSError", "gaierror"}
    assert {line.split()[-1] for line in lines[3:]} <= refused, said
    wait_for(lambda: egress.said().count("7 bytes out, 13 back\n") == 3, "its log")
    assert f"probe to {NAMED}:{PORT} at {SERVER}: 7 bytes out" in egress.said()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1", "is a loopback address"),
        ("::1", "is a loopback address"),
        ("169.254.169.254", "is a link-local address"),
        ("fe80::1", "is a link-local address"),
        ("::ffff:169.254.169.254", "is "),
        ("0.0.0.0", "is not one machine"),
        (MACHINE, "is the machine's own address"),
        ("2001:db8::1", "is the machine's own address"),
        ("fd00:ec2::254", "is where a cloud gives out"),
    ],
)
def test_a_name_that_leads_to_the_machine_is_refused(
    world: World, egress: Egress, address: str, words: str
) -> None:
    egress.hosts.write_text(f"{address} {NAMED}\n")
    place = f"{NAMED}:{PORT}"
    status, said = run(world, egress, ASKS, [place], place)
    assert (status, said) == (0, f"{place} ConnectionResetError\n")
    wait_for(lambda: f"<4>probe to {place}: " in egress.said(), "its log")
    assert words in egress.said()


def test_each_address_of_a_name_is_tried(world: World, egress: Egress) -> None:
    egress.hosts.write_text(f"127.0.0.1 {NAMED}\n192.0.2.1 {NAMED}\n{SERVER} {NAMED}\n")
    place = f"{NAMED}:{PORT}"
    assert run(world, egress, ASKS, [place], place) == (0, f"{place} hello and bye\n")


def test_a_host_that_is_not_there_is_an_error_at_once(world: World, egress: Egress) -> None:
    place = f"{SERVER}:{PORT + 2}"
    assert run(world, egress, ASKS, [place], place) == (0, f"{place} ConnectionResetError\n")
    wait_for(lambda: f"<4>probe to {place}: {SERVER}: Connection refused" in egress.said(), "log")


def test_what_an_agent_has_of_it(world: World, egress: Egress) -> None:
    """No descriptor is left to it, no socket of the service, and its hosts file is read-only."""
    code = """
import os, socket
print(sorted(map(int, os.listdir("/proc/self/fd")))[:-1], open("/etc/hosts").read().split()[-2:])
for path in ("/etc/hosts", "/run/hosts"):
    try:
        open(path, "w")
    except OSError as error:
        print(path, type(error).__name__)
print(os.path.exists("/run/ainit"))
flags = socket.AI_ADDRCONFIG  # which many programs ask with: addresses of families that are there
print(socket.getaddrinfo("notes.example.org", 80, type=socket.SOCK_STREAM, flags=flags)[0][4])
"""
    status, said = run(world, egress, code, [f"{NAMED}:{PORT}"])
    assert (status, said.splitlines()) == (
        0,
        [
            f"[0, 1, 2, 3] ['127.64.0.1', '{NAMED}']",
            "/etc/hosts OSError",
            "/run/hosts OSError",
            "False",
            "('127.64.0.1', 80)",
        ],
    )


def test_much_goes_both_ways_at_once_and_an_end_is_told(world: World, egress: Egress) -> None:
    code = f"""
import socket, threading
channel = socket.create_connection(("{SERVER}", {PORT}), 60)
def send():
    for _ in range(64):
        channel.sendall(bytes(1 << 18))
    channel.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
size = 0
while part := channel.recv(1 << 16):
    size += len(part)
print(size)
"""
    status, said = run(world, egress, code, [f"{SERVER}:{PORT}"])
    assert (status, said) == (0, f"{(16 << 20) + 6}\n")


WAITS = f"""
import socket
try:
    channel = socket.create_connection(("{SERVER}", {PORT}), 60)
    while channel.recv(6):
        pass
except (ConnectionResetError, BrokenPipeError):
    pass
print("end")
try:
    socket.create_connection(("{SERVER}", {PORT}), 60)
except OSError as error:
    print(type(error).__name__)
"""


def test_an_agent_that_is_dropped_has_nobody_any_more(world: World, egress: Egress) -> None:
    done: list[tuple[int, str]] = []
    thread = threading.Thread(
        target=lambda: done.append(run(world, egress, WAITS, [f"{SERVER}:{PORT}"]))
    )
    thread.start()
    wait_for(lambda: [each["connections"] for each in egress.agents()] == [1], "its connection")
    assert egress.call("Drop", agent="another") == {"endpoints": 0, "connections": 0}
    assert egress.call("Drop", agent="probe") == {"endpoints": 1, "connections": 1}
    thread.join(DEADLINE_SECONDS)
    assert done == [(0, "end\nConnectionRefusedError\n")]
    assert egress.agents() == []
    assert run(world, egress, ASKS, [f"{SERVER}:{PORT}"], f"{SERVER}:{PORT}")[0] == 0


def test_a_service_that_starts_anew_keeps_what_agents_listen_on(
    world: World, egress: Egress
) -> None:
    code = f"""
import socket
channel = socket.create_connection(("{SERVER}", {PORT}), 60)
print(channel.recv(6), flush=True)
try:
    channel.recv(1)
except OSError:
    pass
channel = socket.create_connection(("{SERVER}", {PORT}), 60)
print(channel.recv(6), flush=True)
"""
    done: list[tuple[int, str]] = []
    thread = threading.Thread(
        target=lambda: done.append(run(world, egress, code, [f"{SERVER}:{PORT}"]))
    )
    thread.start()
    wait_for(lambda: [each["connections"] for each in egress.agents()] == [1], "its connection")
    egress.settle()
    assert len(egress.stored) == 3
    egress.kill()
    egress.start()
    thread.join(DEADLINE_SECONDS)
    assert done[0][0] == 0
    assert done[0][1].splitlines()[-1] == "b'hello '"
    wait_for(lambda: egress.agents() == [], "the agent's end to be seen")
    egress.settle()
    assert egress.stored == []


def test_who_died_meanwhile_is_forgotten(world: World, egress: Egress) -> None:
    egress.kill()
    channel = handover.connect(egress.path)
    sandbox = world.sandbox({"network": [f"{SERVER}:{PORT}"]}, channels={"egress": channel})
    assert world.start(["/usr/bin/python3", "-I", "-c", "pass"], sandbox)[0] == 0
    os.close(channel)
    egress.start()
    wait_for(lambda: egress.agents() == [], "the agent's end to be seen")
    egress.settle()
    assert egress.stored == []


def test_an_agent_has_its_share_of_connections_and_no_more(world: World, egress: Egress) -> None:
    code = f"""
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
held = []
for _ in range(300):
    try:
        channel = socket.create_connection(("{SERVER}", {PORT}), 60)
        assert channel.recv(6) == b"hello "
        held.append(channel)
    except OSError:
        pass
print(len(held))
"""
    status, said = run(world, egress, code, [f"{SERVER}:{PORT}"])
    assert (status, said) == (0, "256\n")
    assert "too many connections" in egress.said()


def test_others_than_root_hand_nothing_over(egress: Egress) -> None:
    code = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
    channel.connect(sys.argv[1])
    channel.settimeout(60)
    try:
        print(channel.recv(1))
    except OSError as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", code, egress.path],
        user=61184,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "b''\n"


# What is no way out in a network of its own.
IN_ITS_OWN_NETWORK = {"listen_on_the_network", "send_a_datagram", "sixth_version"}


@pytest.mark.parametrize("name", sorted(PROBES.keys() - IN_ITS_OWN_NETWORK))
def test_a_list_lets_no_probe_out(world: World, lasting: Egress, name: str) -> None:
    channel = handover.connect(lasting.path)
    listed = [f"{SERVER}:{PORT}", f"{NAMED}:{PORT}"]
    sandbox = world.sandbox({"network": listed}, channels={"egress": channel})
    try:
        assert world.run(name, sandbox) in (BLOCKED, KILLED)
    finally:
        os.close(channel)
