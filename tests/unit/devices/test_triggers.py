"""Devices that start units: what matches, and that each does so once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ainit.child.client import VarlinkError
from ainit.devices import triggers
from ainit.devices.triggers import Triggers
from ainit.errors import UnavailableError
from ainit.linux import files
from ainit.wire import interface_text, protocol

TTY = ("/devices/x/ttyS0", {"SUBSYSTEM": "tty", "DEVNAME": "ttyS0", "MAJOR": "4"})
DISK = ("/devices/x/sda", {"SUBSYSTEM": "block", "DEVTYPE": "disk"})


class Pid1:
    """Notes what it is told; refuses or is away when asked to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[str, str]] = []
        self.problem: Exception | None = None
        self.asked = 0

    def tell(self, unit: str, reason: str) -> None:
        self.asked += 1
        if self.problem:
            raise self.problem
        self.told.append((unit, reason))

    def wants(self, **matches: object) -> None:
        files.replace(str(self.folder / "devices.json"), json.dumps(matches).encode())

    @contextmanager
    def child(self) -> Iterator[Triggers]:
        found = Triggers(
            self.tell,
            matches=str(self.folder / "devices.json"),
            told=str(self.folder / "told.json"),
        )
        found.reload()
        yield found
        found.close()


@pytest.fixture
def pid1(tmp_path: Path) -> Pid1:
    return Pid1(tmp_path)


def test_all_properties_of_one_match_must_fit(pid1: Pid1) -> None:
    pid1.wants(
        a=[{"SUBSYSTEM": "tty", "MAJOR": "5"}],
        b=[{"SUBSYSTEM": "net"}, {"SUBSYSTEM": "tty", "MAJOR": "4"}],
        c=[{"DEVTYPE": "disk"}],
        d=[{}],
    )
    with pid1.child() as child:
        child.look([TTY, DISK])
    assert pid1.told == [
        ("b", "the device ttyS0 appeared"),
        ("c", "the device /devices/x/sda appeared"),
    ]


def test_a_device_starts_a_unit_once_until_it_comes_again(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    with pid1.child() as child:
        child.look([TTY])
        child.look([TTY])
        child.event("change", *TTY)
        assert len(pid1.told) == 1
        child.event("remove", *TTY)
        child.event("add", *TTY)
        assert len(pid1.told) == 2
        child.look([])  # it went away unheard
        child.look([TTY])
    assert len(pid1.told) == 3


def test_a_restart_of_the_service_starts_nothing_anew(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    for _ in range(2):
        with pid1.child() as child:
            child.look([TTY])
    assert len(pid1.told) == 1


def test_what_pid_1_could_not_hear_is_told_again(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}], b=[{"SUBSYSTEM": "tty"}], c=[{"SUBSYSTEM": "block"}])
    pid1.problem = UnavailableError("away")
    with pid1.child() as child:
        child.look([TTY])
        child.event("add", *DISK)
        assert pid1.asked == 1  # who is away is not asked for each device
        assert child.retry() == triggers.RETRY_S
        pid1.problem = None
        assert child.retry() == -1
        assert sorted(name for name, _ in pid1.told) == ["a", "b", "c"]
    with pid1.child() as child:
        child.look([TTY, DISK])
    assert len(pid1.told) == 3


def test_what_pid_1_refuses_is_not_repeated(pid1: Pid1, capsys: pytest.CaptureFixture[str]) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    pid1.problem = VarlinkError("org.ainos.Control.NoSuchUnit", {})
    with pid1.child() as child:
        child.look([TTY])
        assert child.retry() == -1
    assert pid1.asked == 1
    assert "a is not started by /devices/x/ttyS0: " in capsys.readouterr().out


def test_a_device_that_is_gone_before_it_could_be_told_starts_nothing(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    pid1.problem = UnavailableError("away")
    with pid1.child() as child:
        child.event("add", *TTY)
        child.event("remove", *TTY)
        pid1.problem = None
        assert child.retry() == -1
    assert pid1.told == []


def test_other_matches_are_noticed(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    with pid1.child() as child:
        child.look([TTY])
        files.replace(str(pid1.folder / "other.json"), b"")
        assert not child.was_changed()
        pid1.wants(a=[{"SUBSYSTEM": "tty"}])  # written anew, the same
        assert not child.was_changed()
        pid1.wants(b=[{"SUBSYSTEM": "tty"}])
        assert child.was_changed()
        child.look([TTY])
        pid1.wants()
        assert child.was_changed()
        child.look([TTY])
    assert [name for name, _ in pid1.told] == ["a", "b"]
    assert json.loads((pid1.folder / "told.json").read_text()) == []


@pytest.mark.parametrize(
    "text", ["", "x", "5", '{"a": 5}', '{"a": ["x"]}', "[1, [2]]", '{"a": [{}]}']
)
def test_files_that_say_nothing_do_no_harm(pid1: Pid1, text: str) -> None:
    (pid1.folder / "devices.json").write_text(text)
    (pid1.folder / "told.json").write_text(text)
    with pid1.child() as child:
        child.look([TTY])
        child.event("add", *DISK)
    assert pid1.told == []


def test_devices_that_come_and_go_while_nobody_hears_are_bounded(pid1: Pid1) -> None:
    pid1.wants(a=[{"SUBSYSTEM": "tty"}])
    pid1.problem = UnavailableError("away")
    with pid1.child() as child:
        for number in range(triggers._WAITING_MAX + 10):
            child.event("add", f"/devices/{number}", {"SUBSYSTEM": "tty"})
        assert len(child._waiting) == triggers._WAITING_MAX


def test_pid_1_is_told_over_its_control_socket(pid1: Pid1, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(pid1.folder / "control")
    monkeypatch.setattr(triggers, "CONTROL", path)
    with pytest.raises(UnavailableError, match="control"):
        triggers.tell("a", "why")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(triggers.tell, "a", "why")
            peer = server.accept()[0]
            with peer:
                (call,) = protocol.Inbox().feed(peer.recv(4096))
                peer.sendall(protocol.reply({}))
                told.result(60)
    assert call == {
        "method": "org.ainos.Control.Trigger",
        "parameters": {"name": "a", "reason": "why"},
    }
    assert "method Trigger(name: string, reason: string)" in interface_text("org.ainos.Control")
