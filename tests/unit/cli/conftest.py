"""``ainitctl`` against a control server of the test's own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ainit.cli import main
from tests.support.control import Answer, ControlServer


@dataclass
class Result:
    """What one command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]
Serve = Callable[[dict[str, Answer]], ControlServer]


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Where the server of the test listens; short enough for a socket's address."""
    with tempfile.TemporaryDirectory(prefix="ainos-") as folder:
        yield Path(folder, "control")


@pytest.fixture
def serve(socket_path: Path) -> Iterator[Serve]:
    """Start a control server with these answers; it stops with the test, which then fails if a
    message had not the shape of its interface.
    """
    with contextlib.ExitStack() as stack:
        yield lambda answers: stack.enter_context(ControlServer(socket_path, answers))


@pytest.fixture
def run(
    socket_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run one command in this process; ``AINITCTL_SOCKET`` points at the test's server."""
    monkeypatch.setenv("AINITCTL_SOCKET", str(socket_path))

    def run_(*arguments: str) -> Result:
        code = main(arguments)
        return Result(code, *capsys.readouterr())

    return run_


def rows(text: str) -> dict[str, list[str]]:
    """Plain output by the first word of each line."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
