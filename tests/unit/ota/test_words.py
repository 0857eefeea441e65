"""How an update stands, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ainit.ota import decide, history
from ainit.ota.history import Checked, State
from ainit.ota.words import EXPIRED, FULL, situation
from ainit.policy import calendar_text
from ainit.policy.update import Settings

SET = Settings(repository="https://x")
DONE = State(history.PENDING, "2", "1", boot="b")
NOW = 1_800_000_000.0
NIGHTLY = replace(SET, automatic="reboot", windows=(calendar_text.parse("daily"),), window_s=60)


@pytest.mark.parametrize(
    ("state", "meaning", "settings", "checked", "expected", "hint"),
    [
        (None, decide.QUIET, Settings(), Checked(), "off", "machine.toml"),
        (None, decide.QUIET, SET, Checked(), "idle", "`ainitctl update check`"),
        (None, decide.QUIET, SET, Checked(5.0, "1", "1 runs already"), "idle", ""),
        (None, decide.QUIET, SET, Checked(5.0, "2"), "offered", "`ainitctl update install`"),
        (None, decide.QUIET, NIGHTLY, Checked(5.0, "2"), "offered", "in its window, which opens"),
        (DONE, decide.INSTALLED, SET, Checked(), "installed", "`ainitctl reboot`"),
        (DONE, decide.INSTALLED, NIGHTLY, Checked(), "installed", "reboots in its window"),
        (DONE, decide.TRIAL, SET, Checked(), "trial", ""),
        (
            State(history.ROLLING_BACK, "1", "2"),
            decide.INSTALLED,
            SET,
            Checked(),
            "returning",
            "reboot",
        ),
        (
            None,
            decide.QUIET,
            SET,
            Checked(5.0, problem="no room", kind=FULL),
            "trouble",
            "make room",
        ),
        (
            None,
            decide.QUIET,
            SET,
            Checked(5.0, problem="x", kind=EXPIRED),
            "trouble",
            "whether the clock is right",
        ),
    ],
)
def test_situations(
    state: State | None,
    meaning: str,
    settings: Settings,
    checked: Checked,
    expected: str,
    hint: str,
) -> None:
    found = situation(state, meaning, settings, checked, "", NOW)
    assert found.state == expected
    assert hint in found.next
    assert bool(hint) is bool(found.next)


def test_what_is_being_done_comes_first() -> None:
    assert situation(DONE, decide.TRIAL, SET, Checked(), "check", NOW).state == "working"


def test_a_trial_says_what_is_wrong() -> None:
    told = replace(DONE, reason="speech is failed")
    found = situation(told, decide.TRIAL, SET, Checked(), "", NOW)
    assert found.reason == "2: speech is failed"
