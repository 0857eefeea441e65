"""Pages made of a control server's answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ainit.errors import AinosError, DeadlineError, UnavailableError
from ainit.metrics.source import Source
from tests.support.accounts import account, in_pages
from tests.support.control import Answer, ControlServer
from tests.support.exposition import labels, parse
from tests.support.replies import STATUS

ACCOUNTS: Answer = in_pages([account(f"u{number:03}") for number in range(150)])


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ainos-") as folder:
        yield Path(folder, "control")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.monotonic`` says, in its last item."""
    now = [1000.0]
    monkeypatch.setattr("ainit.metrics.source.time.monotonic", lambda: now[-1])
    return now


def answers(accounts: Answer = ACCOUNTS) -> dict[str, Answer]:
    return {"org.ainos.Control.Status": STATUS, "org.ainos.Control.Accounting": accounts}


def test_a_page_holds_every_unit(path: Path) -> None:
    with ControlServer(path, answers()):
        page = parse(Source(str(path)).page().decode())
    assert len(page["ainos_unit_pids"].samples) == 150
    assert page["ainos_unit_state"].samples[labels(unit="speech", state="refused")] == 1


def test_a_page_is_kept_for_a_second(path: Path, clock: list[float]) -> None:
    with ControlServer(path, answers()) as server:
        source = Source(str(path))
        first = source.page()
        calls = len(server.calls)
        clock.append(1000.9)
        assert source.page() is first
        assert len(server.calls) == calls
        clock.append(1001.0)
        source.page()
        assert len(server.calls) == 2 * calls


def test_that_nobody_answers_is_kept_for_a_second_too(path: Path, clock: list[float]) -> None:
    source = Source(str(path))
    with pytest.raises(UnavailableError):
        source.page()
    with ControlServer(path, answers()):
        with pytest.raises(UnavailableError):
            source.page()
        clock.append(1001.0)
        assert source.page()


def test_late_answers_are_an_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()  # and nobody accepts
        with pytest.raises(DeadlineError):
            Source(str(path), deadline_s=0.01).page()


def test_a_malformed_answer_is_an_error(path: Path) -> None:
    server = ControlServer(path, answers({"units": 1}))
    with server:
        with pytest.raises(AinosError):
            Source(str(path)).page()
        server.problems.clear()
