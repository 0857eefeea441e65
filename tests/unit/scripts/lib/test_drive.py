"""A machine that hangs before its kernel has said a word gets a second chance, no other does."""

from __future__ import annotations

from typing import cast

import pytest
from lib import drive
from lib.machine import Machine

HANDED_OVER = 'BdsDxe: starting Boot0001 "UEFI Misc Device"'


class Emulated:
    """Answers when its turn comes; says one thing at last."""

    def __init__(self, answers: list[bool], last: str, *, is_running: bool = True) -> None:
        self._answers = answers
        self.last = last
        self.is_running = is_running
        self.resets = 0

    @property
    def console(self) -> Emulated:
        return self

    def wait_control(self, deadline_s: float) -> bool:
        assert deadline_s > 0
        return self._answers.pop(0)

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize(
    ("answers", "last", "is_running", "resets"),
    [
        ([True], HANDED_OVER, True, 0),
        ([False, True], HANDED_OVER, True, 1),
        ([False, False], HANDED_OVER, True, 1),
        ([False, False], "Kernel panic - not syncing", True, 0),
        ([False, True], "", True, 0),
        ([False, False], HANDED_OVER, False, 0),
    ],
)
def test_silence_after_the_firmware_is_answered_by_one_reset(
    answers: list[bool], last: str, *, is_running: bool, resets: int
) -> None:
    machine = Emulated([*answers], last, is_running=is_running)
    assert drive.wait_up(cast(Machine, machine)) == answers[-1]
    assert machine.resets == resets
