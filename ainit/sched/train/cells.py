"""The cells of ``make bench-sched``. They were fixed before the first comparison, and stay.

Every cell draws from the test split. ``seen`` is false where training never saw the board, the
number of GPUs, the models or the kind of arrivals.
"""

from __future__ import annotations

from dataclasses import dataclass

from .workload import REPLAYED, REQUESTS, Scenario

SEEDS = 20
TEST = "test"


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the results."""

    name: str
    scenario: Scenario
    seen: bool = True


def _cell(
    name: str, gpus: int, load: float, burst: float, sigma: float, board: str = "A100-40GB"
) -> Cell:
    jobs = 1000 if gpus == 8 else 600
    return Cell(name, Scenario(gpus, load, board, burst, sigma, jobs, TEST))


def _unseen(cell: Cell) -> Cell:
    return Cell(cell.name, cell.scenario, seen=False)


CELLS = (
    _cell("a100 x1 .70 cv1", 1, 0.70, 1, 0),
    _cell("a100 x2 .70 cv4", 2, 0.70, 4, 0),
    _cell("a100 x4 .50 cv1", 4, 0.50, 1, 0),
    _cell("a100 x4 .70 cv1", 4, 0.70, 1, 0),
    _cell("a100 x4 .85 cv1", 4, 0.85, 1, 0),
    _cell("a100 x4 .95 cv4", 4, 0.95, 4, 0),
    _cell("a100 x4 .70 cv12", 4, 0.70, 12, 0),
    _cell("h100 x4 .85 cv4", 4, 0.85, 4, 0, "H100-80GB"),
    _cell("a100 x1 .70 cv1 noisy", 1, 0.70, 1, 1),
    _cell("a100 x2 .85 cv4 noisy", 2, 0.85, 4, 1),
    _cell("a100 x4 .70 cv1 noisy", 4, 0.70, 1, 1),
    _cell("a100 x4 .85 cv4 noisy", 4, 0.85, 4, 1),
    _cell("a100 x4 .95 cv1 noisy", 4, 0.95, 1, 1),
    _cell("h100 x2 .70 cv12 noisy", 2, 0.70, 12, 1, "H100-80GB"),
    Cell(
        "a100 x4 .85 requests",
        Scenario(4, 0.85, sigma=0.5, jobs=600, split=TEST, arrivals=REQUESTS, inference=0.5),
        seen=False,
    ),
    _unseen(_cell("h200 x4 .85 cv1", 4, 0.85, 1, 0, "H200-141GB")),
    _unseen(_cell("h200 x2 .70 cv4 noisy", 2, 0.70, 4, 1, "H200-141GB")),
    _unseen(_cell("b200 x4 .85 cv1", 4, 0.85, 1, 0, "B200-180GB")),
    _unseen(_cell("b200 x2 .70 cv4 noisy", 2, 0.70, 4, 1, "B200-180GB")),
    _unseen(_cell("a100 x3 .85 cv1", 3, 0.85, 1, 0)),
    _unseen(_cell("a100 x8 .85 cv4", 8, 0.85, 4, 0)),
    _unseen(_cell("h100 x8 .85 cv4 noisy", 8, 0.85, 4, 1, "H100-80GB")),
    Cell(
        "a100 x4 .85 new models",
        Scenario(4, 0.85, sigma=0.5, jobs=600, split=TEST, held_out=True),
        seen=False,
    ),
    Cell(
        "a100 x4 .85 replayed noisy",
        Scenario(4, 0.85, sigma=1.0, jobs=600, split=TEST, arrivals=REPLAYED),
        seen=False,
    ),
)
