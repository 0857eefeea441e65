"""PID 1 has a state that is marked wiped before anything uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit import constants
from ainit.linux import kmsg, libc
from ainit.pid1 import errand, reset


class Ground:
    """What the child says, and what PID 1 did."""

    def __init__(self, answer: tuple[int, str]) -> None:
        self.answer = answer
        self.ran: list[list[str]] = []
        self.unmounted: list[str] = []

    def run(self, argv: list[str], environment: object, seconds: float) -> tuple[int, str]:
        self.ran.append(argv)
        return self.answer


def ground(
    monkeypatch: pytest.MonkeyPatch, mark: Path, answer: tuple[int, str] = (0, "done")
) -> Ground:
    found = Ground(answer)
    monkeypatch.setattr(constants, "RESET", str(mark))
    monkeypatch.setattr(errand, "run", found.run)
    monkeypatch.setattr(libc, "unmount", lambda path, flags: found.unmounted.append(path))
    monkeypatch.setattr(kmsg, "log", lambda *_: None)
    return found


def test_without_a_mark_nothing_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = ground(monkeypatch, tmp_path / "reset")
    assert reset.finish() == ""
    assert not found.ran


def test_a_marked_state_is_wiped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "reset").touch()
    found = ground(monkeypatch, tmp_path / "reset")
    assert reset.finish() == ""
    assert [argv[-2:] for argv in found.ran] == [["ainit.provision", "wipe"]]
    assert not found.unmounted


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((256, "no room"), "the reset that was begun is not done: no room"),
        ((-1, ""), "the reset that was begun is not done: it did not end in time"),
    ],
)
def test_a_state_that_is_wiped_in_part_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: tuple[int, str], why: str
) -> None:
    (tmp_path / "reset").touch()
    found = ground(monkeypatch, tmp_path / "reset", answer)
    assert reset.finish() == why
    assert found.unmounted == [constants.STATE]
