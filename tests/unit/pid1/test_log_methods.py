"""``Logs`` over the control socket: followers that keep up, that do not, and that come back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from ainit.pid1 import log_methods
from ainit.wire import protocol
from ainit.wire.protocol import Inbox, Message
from tests.support.idl import Interface
from tests.support.log_host import LogHost
from tests.support.units import make_unit
from tests.support.wait import wait_for

METHOD = "org.ainos.Control.Logs"
CONTROL = Interface.named("org.ainos.Control")


@pytest.fixture
def host(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogHost]:
    monkeypatch.setattr(log_methods, "_BATCH_SECONDS", 0.0)
    with LogHost(sockets) as made:
        yield made


class Peer:
    """A client; what it receives is checked against the interface."""

    def __init__(self, host: LogHost, **parameters: object) -> None:
        self._host = host
        self._inbox = Inbox()
        self._replies: list[Message] = []
        self.cursors: dict[str, object] = {}
        self.dropped = 0
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.connect(host.path)
        self.channel.sendall(protocol.call(METHOD, parameters, more=bool(parameters.get("follow"))))
        self.channel.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def reply(self) -> Message:
        """The next reply."""

        def arrived() -> bool:
            self._host.turn()
            try:
                self._replies += self._inbox.feed(self.channel.recv(1 << 20))
            except BlockingIOError:
                pass
            return bool(self._replies)

        wait_for(arrived, "a reply")
        message = self._replies.pop(0)
        if "error" in message:
            return message
        parameters = message["parameters"]
        assert CONTROL.wrong_reply("Logs", parameters) == []
        assert isinstance(parameters, dict)
        self.cursors |= parameters["cursors"]
        self.dropped = parameters["dropped"]
        return parameters

    def texts(self, last: str) -> list[str]:
        """What the replies bring, up to the line ``last``."""
        found: list[str] = []
        while last not in found:
            found += texts(self.reply())
        return found


def texts(reply: Message) -> list[str]:
    lines = reply["lines"]
    assert isinstance(lines, list)
    return [str(line["text"]) for line in lines]


def test_the_last_lines_come_with_the_cursors_behind_them(host: LogHost) -> None:
    for number in range(5):
        host.logs.say("u", f"u{number}")
    host.logs.say("v", "v")
    with Peer(host, lines=2) as peer:
        assert texts(peer.reply()) == ["u4", "v"]
        assert peer.cursors == {"u": 15, "v": 2}
    with Peer(host, unit="u", lines=2) as peer:
        assert texts(peer.reply()) == ["u3", "u4"]
        assert peer.cursors == {"u": 15}


def test_behind_cursors_come_the_oldest_lines_first(host: LogHost) -> None:
    for number in range(5):
        host.logs.say("u", f"u{number}")
    host.logs.say("v", "v")
    with Peer(host, cursors={"u": 6}, unit="u", lines=2) as peer:
        assert texts(peer.reply()) == ["u2", "u3"]
        assert peer.cursors == {"u": 12}
    with Peer(host, cursors=peer.cursors) as peer:
        assert texts(peer.reply()) == ["u4", "v"]
    with Peer(host, cursors=peer.cursors) as peer:
        assert texts(peer.reply()) == []
        assert peer.cursors == {"u": 15, "v": 2}


def test_a_follower_gets_what_comes_and_the_rest_of_what_had_begun(host: LogHost) -> None:
    writer = host.logs.pipe("u")
    os.write(writer, b"one\nha")
    host.turn()
    with Peer(host, unit="u", follow=True) as peer:
        assert texts(peer.reply()) == ["one"]
        host.logs.say("v", "of no interest")
        os.write(writer, b"lf\ntwo\nthr")
        assert peer.texts("two") == ["half", "two"]
        os.write(writer, b"ee\n")
        os.close(writer)
        assert peer.texts("three") == ["three"]
        assert peer.dropped == 0
    host.turn(3)
    assert host.logs.followers == []


def test_a_follower_of_all_gets_them_in_order_of_time(host: LogHost) -> None:
    with Peer(host, follow=True, lines=0) as peer:
        assert texts(peer.reply()) == []
        for number in range(3):
            host.logs.say("u", f"u{number}")
            host.logs.say("v", f"v{number}")
        assert peer.texts("v2") == ["u0", "v0", "u1", "v1", "u2", "v2"]


def test_a_follower_that_does_not_read_costs_nothing_and_is_told_what_it_missed(
    host: LogHost,
) -> None:
    with Peer(host, unit="u", follow=True) as slow, Peer(host, unit="v", follow=True) as other:
        slow.reply()
        other.reply()
        for number in range(30_000):
            host.logs.say("u", f"{number:05} {'x' * 94}")
            if number % 100 == 0:
                host.turn()
        (client,) = [one for one in host.control._clients.values() if len(one.outbox) > 0]
        assert len(client.outbox) < 1_000_000
        host.logs.say("v", "of another")
        assert other.texts("of another") == ["of another"]
        found = slow.texts(f"29999 {'x' * 94}")
        assert len(found) * 101 + slow.dropped == 30_000 * 101
        assert slow.dropped > 0
        assert len(set(found)) == len(found)
        assert found == sorted(found)


def test_a_client_that_comes_back_goes_on_where_it_was(host: LogHost) -> None:
    writer = host.logs.pipe("u")
    os.write(writer, b"one\ntw")
    host.turn()
    with Peer(host, follow=True) as peer:
        assert texts(peer.reply()) == ["one"]
        os.write(writer, b"o\nthree\nfo")
        assert peer.texts("three") == ["two", "three"]
        cursors = peer.cursors
    os.write(writer, b"ur\nfi")
    host.start_over()
    os.write(writer, b"ve\n")
    host.logs.say("v", "new")
    with Peer(host, follow=True, cursors=cursors) as peer:
        assert texts(peer.reply()) == []
        found: list[str] = []
        while len(found) < 3:
            found += texts(peer.reply())
        assert sorted(found) == ["five", "four", "new"]
        assert peer.dropped == 0
    os.close(writer)


def test_a_batch_is_bounded_and_the_next_one_goes_on(
    host: LogHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_methods, "_BATCH_LINES", 10)
    monkeypatch.setattr(log_methods.Follower.batch, "__defaults__", (10,))
    for number in range(25):
        host.logs.say("u", f"u{number}")
    host.logs.say("v", "v")
    with Peer(host, follow=True, cursors={}) as peer:
        sizes = []
        found: list[str] = []
        while len(found) < 26:
            lines = texts(peer.reply())
            sizes.append(len(lines))
            found += lines
        assert max(sizes) <= 11
        assert [line for line in found if line != "v"] == [f"u{number}" for number in range(25)]


def test_what_is_not_to_be_kept_is_not_told_to_who_keeps(host: LogHost) -> None:
    host.logs.configure([make_unit("u"), make_unit("v", log_persistent=False)])
    host.logs.say("v", "secret")
    with Peer(host, follow=True, persistent=True, cursors={}) as peer:
        assert texts(peer.reply()) == []
        host.logs.say("v", "secret")
        host.logs.say("u", "public")
        assert peer.texts("public") == ["public"]
    with Peer(host, persistent=True) as peer:
        assert texts(peer.reply()) == ["public"]


def test_batches_of_a_busy_machine_are_not_made_more_often_than_needed(
    host: LogHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Peer(host, follow=True) as peer:
        peer.reply()
        monkeypatch.setattr(log_methods, "_BATCH_SECONDS", 3600.0)
        host.logs.say("u", "first")
        assert peer.texts("first") == ["first"]
        host.logs.say("u", "second")
        (follower,) = host.methods._followers
        now = follower.wanted() - 1
        assert not follower.is_due(now)
        assert host.methods._serve(now) == follower.wanted()
        host.methods._serve(follower.wanted())
        assert peer.texts("second") == ["second"]


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"unit": "nobody"}, "org.ainos.Control.NoSuchUnit"),
        ({"unit": 7}, protocol.INVALID_PARAMETER),
        ({"lines": "many"}, protocol.INVALID_PARAMETER),
        ({"cursors": 7}, protocol.INVALID_PARAMETER),
        ({"cursors": []}, protocol.INVALID_PARAMETER),
        ({"cursors": {"u": -1}}, protocol.INVALID_PARAMETER),
        ({"cursors": {"u": "1"}}, protocol.INVALID_PARAMETER),
        ({"cursors": {"u": True}}, protocol.INVALID_PARAMETER),
        ({"persistent": 1}, protocol.INVALID_PARAMETER),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(host: LogHost, parameters: Message, error: str) -> None:
    with Peer(host, **parameters) as peer:
        assert peer.reply()["error"] == error


def test_who_follows_asks_for_more(host: LogHost) -> None:
    with Peer(host) as peer:
        peer.reply()
        peer.channel.sendall(protocol.call(METHOD, {"follow": True}))
        assert peer.reply()["error"] == "org.varlink.service.ExpectedMore"
