"""What is handed over is taken or closed, and each agent has its share."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.egress import agents as module
from ainit.egress.service import Egress
from tests.support import descriptors


class Bench:
    """A service that nobody has serve, its other end, and the store that it asks."""

    def __init__(self, folder: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(folder / "egress"))
        self.listener.listen()
        self.store = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.store.bind(str(folder / "notify"))
        self.store.setblocking(False)
        self.egress = Egress(self.listener)

    def hand_over(self, record: object, count: int = 1, name: str = "notes") -> None:
        """As the child of PID 1 does, which here is this process."""
        made = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            channel.setsockopt(socket.SOL_SOCKET, 76, 1)  # SO_PASSPIDFD
            channel.connect(self.listener.getsockname())
            content = record if isinstance(record, bytes) else json.dumps(record).encode()
            socket.send_fds(channel, [content], [each.fileno() for each in made])
        for each in made:
            each.close()

    def heard(self) -> list[str]:
        """What the store was asked, without labels."""
        found: list[str] = []
        while True:
            try:
                data, received, _, _ = socket.recv_fds(self.store, 4096, 253)
            except BlockingIOError:
                return found
            for number in received:
                os.close(number)
            found.append(f"{data.partition(b'=')[0].decode()} {len(received)}")

    def names(self) -> list[object]:
        """Of the agents that are known."""
        agents = self.egress.list({})["agents"]
        assert isinstance(agents, list)
        return [each["name"] for each in agents]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    made = Bench(tmp_path)
    yield made
    made.listener.close()
    made.store.close()


def test_what_is_taken_is_stored_and_forgotten_when_it_is_dropped(bench: Bench) -> None:
    before = descriptors.at_first()
    bench.hand_over({"agent": "notes", "endpoints": ["192.0.2.7:1", "192.0.2.7:2"]}, 2)
    assert bench.names() == ["notes"]
    assert bench.heard() == ["FDSTORE 4"]
    assert bench.egress.drop({"agent": "notes"}) == {"endpoints": 2, "connections": 0}
    assert bench.heard() == ["FDSTOREREMOVE 0"]
    assert bench.names() == []
    assert descriptors.now() == before


def test_what_waits_when_an_agent_is_dropped_is_dropped_with_it(bench: Bench) -> None:
    for _ in range(2):
        bench.hand_over({"agent": "notes", "endpoints": ["192.0.2.7:1"]})
    assert bench.egress.drop({"agent": "notes"}) == {"endpoints": 2, "connections": 0}


@pytest.mark.parametrize(
    "record",
    [
        b"\xff", b"{", [], {}, {"agent": "notes"}, {"agent": "notes", "endpoints": []},
        {"agent": "notes", "endpoints": ["192.0.2.7:1", "192.0.2.7:2"]},
        {"agent": "notes", "endpoints": 7},
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_is_closed(
    bench: Bench, record: object, capsys: pytest.CaptureFixture[str]
) -> None:
    before = descriptors.at_first()
    bench.hand_over(record)
    assert bench.names() == []
    assert bench.heard() == ["FDSTORE 3", "FDSTOREREMOVE 0"]
    assert "makes no sense" in capsys.readouterr().out
    assert descriptors.now() == before


def test_nobody_takes_another_s_share(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 4)
    monkeypatch.setattr(module, "CONNECTIONS_OF_ALL", 9)
    shares = []
    for number in range(11):
        name = f"agent-{number}"
        bench.hand_over({"agent": name, "endpoints": ["192.0.2.7:1"]})
        bench.names()
        bench.heard()
        shares.append(bench.egress._agents._share())
    assert shares == [4, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    for number in range(11):
        bench.egress.drop({"agent": f"agent-{number}"})
        bench.heard()


def test_a_store_that_does_not_answer_keeps_nothing_open(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.hand_over({"agent": "notes", "endpoints": ["192.0.2.7:1"]})
    bench.store.close()
    assert bench.names() == ["notes"]
    before = descriptors.at_first()
    assert bench.egress.drop({"agent": "notes"}) == {"endpoints": 1, "connections": 0}
    assert len(before) - len(descriptors.now()) == 2
    said = capsys.readouterr().out
    assert "would not outlive" in said
    assert "still keeps" in said
