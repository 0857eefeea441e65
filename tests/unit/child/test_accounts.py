"""Accounts read in pages from a server on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ainit.child import accounts
from ainit.child.client import Client
from ainit.errors import WireError
from ainit.wire.protocol import Message
from tests.support.accounts import account, in_pages
from tests.support.control import ControlServer

Reply = Callable[[Message], Mapping[str, object]]
Read = Callable[[Reply], dict[str, dict[str, object]]]


@pytest.fixture
def read() -> Iterator[Read]:
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="ainos-"))

        def read_(reply: Reply) -> dict[str, dict[str, object]]:
            path = Path(folder, "control")
            server = stack.enter_context(ControlServer(path, {accounts.METHOD: reply}))
            client = stack.enter_context(Client(str(path), 60.0))
            try:
                return accounts.read(client)
            finally:
                server.problems.clear()  # some of these answers are wrong on purpose

        yield read_


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_every_unit_is_read_once(read: Read, count: int) -> None:
    units = [account(f"u{number:03}") for number in range(count)]
    assert read(in_pages(units)) == {unit["name"]: unit for unit in units}


@pytest.mark.parametrize(
    "answer",
    [
        {"time": 1.0},
        {"units": {}},
        {"units": [1]},
        {"units": [{"state": "ready"}]},
        {"units": [], "next": 1},
        {"units": [], "next": "a"},
    ],
    ids=["none", "object", "number", "nameless", "odd", "endless"],
)
def test_a_malformed_answer_is_an_error(read: Read, answer: dict[str, object]) -> None:
    with pytest.raises(WireError):
        read(lambda parameters: answer)


def test_a_list_that_never_ends_is_an_error(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_PAGES_MAX", 3)

    def answer(parameters: Message) -> Mapping[str, object]:
        return {"units": [], "next": f"{parameters.get('after') or ''}x"}

    with pytest.raises(WireError, match="more than 3 pages"):
        read(answer)


def test_all_pages_share_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder(Client):
        def __init__(self) -> None:
            self.timeouts: list[float | None] = []
            self.answer = in_pages([account(f"u{number:03}") for number in range(250)])

        def call(
            self, method: str, parameters: Mapping[str, object] | None = None
        ) -> dict[str, object]:
            self.timeouts.append(self.timeout)
            return dict(self.answer(dict(parameters or {})))

    times = iter((10.0, 12.0, 20.0))
    monkeypatch.setattr("ainit.child.accounts.time.monotonic", lambda: next(times))
    client = Recorder()
    assert len(accounts.read(client, deadline=15.0)) == 250
    assert client.timeouts == [5.0, 3.0, 0.001]
