"""The goals of booting, from what the guests said. Everything here is pure.

Times are seconds from the moment the kernel's clock begins, so unpacking the kernel, equal for all,
is left out; that makes the ratios greater.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lib.bench import Goal, goal
from lib.boot.run import Said

INIT, OWN, PRODUCT, LEAN, STOCK = (
    "C init",
    "ainit",
    "ainit, image's plan",
    "systemd",
    "systemd, stock",
)
FIRST, READY, START, ENDLESS, END = "first", "ready", "start", "endless", "end"

# What each init says in one boot.
Round = Mapping[str, Sequence[Said]]


@dataclass(frozen=True, slots=True)
class Init:
    """An init: its name, its words on the kernel's command line, and the last that it says."""

    name: str
    words: str
    last: str


GUEST = "init=/usr/lib/bench/guest --"
SYSTEMD = "init=/usr/lib/systemd/systemd"
INITS = (
    Init(INIT, f"{GUEST} init", "init"),
    Init(OWN, "init=/usr/sbin/init", READY),
    Init(PRODUCT, f"{GUEST} product", FIRST),
    Init(LEAN, f"{SYSTEMD} systemd.unit=lean.target", READY),
    Init(STOCK, f"{SYSTEMD} systemd.unit=stock.target", READY),
)
STARTS = Init("starts of Python", f"{GUEST} starts 3", END)


def moments(rounds: Sequence[Round], name: str, word: str) -> list[float]:
    """When an init said a word, in each round that has it."""
    return [each.first for one in rounds for each in one.get(name, ()) if each.word == word]


Moment = tuple[str, str]
BARE, ANSWER, STATE = (INIT, "init"), (OWN, FIRST), (OWN, READY)
PEER, STOCK_PEER, IMAGE = (LEAN, READY), (STOCK, READY), (PRODUCT, FIRST)
ALL = (BARE, ANSWER, IMAGE, STATE, PEER, STOCK_PEER)


def ratios(
    rounds: Sequence[Round], above: Moment, below: Moment, floor: Moment | None = None
) -> list[float]:
    """One moment over another, both without a floor, in each round that has all of them."""
    found = []
    for each in rounds:
        one, other = moments([each], *above), moments([each], *below)
        less = moments([each], *floor) if floor else [0.0]
        if one and other and less:
            found.append(round((one[0] - less[0]) / (other[0] - less[0]), 4))
    return found


def judged(rounds: Sequence[Round], starts: Sequence[Said]) -> list[Goal]:
    """The three goals, each with the times behind it."""
    times = {f"{name}, {word}, s": moments(rounds, name, word) for name, word in ALL}
    whole = [each for each in starts if each.word == START]
    endless = [each for each in starts if each.word == ENDLESS]
    answered, state = ratios(rounds, ANSWER, BARE), ratios(rounds, STATE, PEER)
    beside = {
        "C init / systemd": ratios(rounds, BARE, PEER),
        "ainit / systemd, stock": ratios(rounds, STATE, STOCK_PEER),
        "above the C init": ratios(rounds, STATE, PEER, BARE),
        "above the C init, stock": ratios(rounds, STATE, STOCK_PEER, BARE),
    }
    python = {
        "python -I -S -c pass, ms": [each.first * 1e3 for each in whole],
        "PID 1, ms": [each.second * 1e3 for each in whole],
        "by a Python that does not end either": [each.second / each.first for each in endless],
    }
    started = [round(each.second / each.first, 4) for each in whole]
    return [
        goal("boot.vs_c_init", answered, "ratio", 1.5, _medians(times)),
        goal("boot.vs_systemd", state, "ratio", 0.4, _medians(beside)),
        goal("boot.pid1_start_vs_python", started, "ratio", 1.5, _medians(python)),
    ]


def _medians(columns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(statistics.median(each), 4) for name, each in columns.items() if each}
