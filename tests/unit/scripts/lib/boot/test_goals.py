"""Ratios are those of one round; what did not run leaves a goal without a value."""

from __future__ import annotations

import pytest
from lib.boot.goals import INIT, LEAN, OWN, STOCK, judged
from lib.boot.run import Said


def a_round(init: float, first: float, ready: float, lean: float) -> dict[str, list[Said]]:
    return {
        INIT: [Said("init", init, 0.2)],
        OWN: [Said("first", first, 0.2), Said("ready", ready, 0.2)],
        LEAN: [Said("ready", lean, 0.2)],
        STOCK: [Said("ready", lean + 4.0, 0.2)],
    }


STARTS = [Said("start", 0.06, 0.12), Said("endless", 0.05, 0.12), Said("end", 5.0, 0.0)]


def test_the_three_goals() -> None:
    rounds = [
        a_round(2.0, 3.0, 4.0, 8.0),
        a_round(2.0, 4.0, 5.0, 8.0),
        a_round(4.0, 6.0, 6.0, 12.0),
    ]
    answer, state, start = judged(rounds, STARTS)
    assert (answer.goal, answer.samples, answer.value) == ("boot.vs_c_init", [1.5, 2.0, 1.5], 1.5)
    assert answer.met
    assert (state.goal, state.samples, state.value) == ("boot.vs_systemd", [0.5, 0.625, 0.5], 0.5)
    assert not state.met
    assert answer.peers["systemd, stock, ready, s"] == 12.0
    assert state.peers["above the C init"] == pytest.approx(2.0 / 6.0, abs=1e-3)
    assert (start.goal, start.value, start.met) == ("boot.pid1_start_vs_python", 2.0, False)
    assert start.peers["by a Python that does not end either"] == pytest.approx(2.4)


def test_what_never_answered_leaves_no_value() -> None:
    whole = a_round(2.0, 3.0, 4.0, 8.0)
    del whole[LEAN]
    other = a_round(2.0, 2.0, 4.0, 16.0)
    del other[INIT]
    answer, state, _ = judged([whole, other], STARTS)
    assert state.samples == [0.25]
    answer, state, _ = judged([whole], STARTS)
    assert answer.value == 1.5
    assert (state.value, state.met) == (None, False)
