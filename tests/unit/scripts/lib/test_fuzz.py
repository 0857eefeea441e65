"""How targets are found and run."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import fuzz
from lib.host import HostError

from tests.fuzz.targets import TARGETS


def test_every_target_is_found() -> None:
    assert fuzz.targets() == list(TARGETS)


def test_an_unknown_target_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="no target nonsense; there are: address, "):
        fuzz.main(1, ["ring", "nonsense"])


def test_what_breaks_a_promise_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "environment", lambda: Path("python"))
    crash = Path("build/fuzz/crashes/ring-crash-1")

    def outcome(python: Path, target: str, seconds: float) -> fuzz.Outcome:
        assert seconds == 30
        return fuzz.Outcome(target, 5, [crash] if target == "ring" else [])

    monkeypatch.setattr(fuzz, "fuzz", outcome)
    assert fuzz.main(1, ["ring", "inbox"]) == 1
    assert f"python -m tests.fuzz.targets ring {crash}" in capsys.readouterr().out
    assert fuzz.main(1, ["inbox", "json"]) == 0
