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
FIRST, READY, START, UP, END = "first", "ready", "start", "up", "end"

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


def judged(rounds: Sequence[Round], starts: Sequence[Said]) -> list[Goal]:
    """The three goals, each with the times behind it."""
    bare, first = moments(rounds, INIT, "init"), moments(rounds, OWN, FIRST)
    ready, lean = moments(rounds, OWN, READY), moments(rounds, LEAN, READY)
    stock, product = moments(rounds, STOCK, READY), moments(rounds, PRODUCT, FIRST)
    whole = [each for each in starts if each.word == START]
    up = [each for each in starts if each.word == UP]
    return [
        goal(
            "boot.vs_c_init",
            _ratios(first, bare),
            "ratio",
            1.5,
            _medians({"C init, s": bare, "ainit, s": first, "ainit, image's plan, s": product}),
        ),
        goal(
            "boot.vs_systemd",
            _ratios(ready, lean),
            "ratio",
            0.4,
            {
                **_medians({"ainit, s": ready, "systemd, s": lean, "systemd, stock, s": stock}),
                **_medians({
                    "C init / systemd": _ratios(bare, lean),
                    "ainit / systemd, stock": _ratios(ready, stock),
                    "above the C init": _ratios(_above(ready, bare), _above(lean, bare)),
                    "above the C init, stock": _ratios(_above(ready, bare), _above(stock, bare)),
                }),
            },
        ),
        goal(
            "boot.pid1_start_vs_python",
            # PID 1 never ends, and `pass` does.
            [round(a.second / b.first, 4) for a, b in zip(up, whole, strict=True)],
            "ratio",
            1.5,
            _medians({
                "python -I -S -c pass, ms": [each.first * 1e3 for each in whole],
                "PID 1, ms": [each.second * 1e3 for each in up],
                "both to their ends": [each.second / each.first for each in whole],
                "neither to its end": [each.second / each.first for each in up],
            }),
        ),
    ]  # fmt: skip


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratios within each round."""
    return [round(one / other, 4) for one, other in zip(above, below, strict=False)]


def _above(times: Sequence[float], floor: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(times, floor, strict=False)]


def _medians(columns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(statistics.median(each), 4) for name, each in columns.items() if each}
