"""The learned scheduler beside rules, static partitions, a MISO-like planner and CP-SAT. Simulated.

Cells, seeds and policies are ``ainit.sched.train``'s; here they are run one after another, kept by
what they depend on (so that a run that was cut off goes on), and made into goals. A ratio is of
mean completion times; its interval is a bootstrap over seeds, which are the same for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ainit.sched.train.cells import CELLS, SEEDS, Cell
from ainit.sched.train.compare import (
    BOUND,
    BY_HAND,
    FALLBACK,
    HINDSIGHT,
    LEARNED,
    MISO,
    TUNED,
    UNMOVED,
)
from lib import bench, bench_sched_decisions, bench_sched_plot, training
from lib.bench import Goal
from lib.host import REPOSITORY

RESULT = bench.FOLDER / "bench-sched.json"
CACHE = bench.FOLDER / "sched"
DRAWS = 2000
WINDOWS = 20
PICTURE = REPOSITORY / "docs/gpu-scheduler.svg"
CURVE = REPOSITORY / "docs/gpu-scheduler-training.svg"
# Mean completion times of the study's prototype, in seconds; workloads as in SECTION5.
STUDY: Mapping[str, Sequence[float]] = {
    "whole_gpu_fifo": (99377, 2352, 39166, 24171, 18504),
    "first_fit": (5116, 1736, 2815, 3634, 2881),
    "fgd": (5240, 1720, 2798, 3614, 2872),
    "fgd_sjf": (3986, 1713, 2301, 2795, 2293),
    "moldable_sjf": (3617, 1157, 2032, 2665, 2174),
    "moldable_easy": (3180, 1149, 2039, 2494, 2133),
    "static_hindsight": (2781, 1132, 1934, 2248, 1943),
}

Row = Mapping[str, float]
Results = Mapping[str, Sequence[Row]]


def values(results: Results, policy: str, metric: str = "mean") -> np.ndarray[Any, Any]:
    """A metric of a policy, seed by seed."""
    return np.array([row[metric] for row in results[policy]])


def ratio(results: Results, peer: str, metric: str = "mean") -> float:
    """The learned policy's metric over a peer's, summed over seeds."""
    ours, theirs = values(results, LEARNED, metric), values(results, peer, metric)
    return float(ours.sum() / theirs.sum())


def interval(results: Results, peer: str, metric: str = "mean") -> tuple[float, float]:
    """The 95 % interval of the ratio: seeds are drawn anew, together for both."""
    ours, theirs = values(results, LEARNED, metric), values(results, peer, metric)
    picks = np.random.default_rng(1).integers(len(ours), size=(DRAWS, len(ours)))
    low, high = np.quantile(ours[picks].sum(axis=1) / theirs[picks].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def best_p99(results: Results) -> str:
    """The peer whose 99th percentile is least in a cell."""
    peers = [name for name in results if name not in (LEARNED, UNMOVED, BY_HAND, BOUND)]
    return min(peers, key=lambda name: float(values(results, name, "p99").mean()))


def geometric(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(list(ratios)))))


def gather() -> tuple[dict[str, Results], list[Row], list[Row]]:
    """Results by cell, of the windows, and of the prototype's workloads; what is kept is taken."""
    folder = CACHE / training.digest(training.WEIGHTS)
    weights = str(training.WEIGHTS)

    def kept(name: str, command: Sequence[str], lines: int) -> Any:
        out = folder / f"{name.replace(' ', '-')}.json"
        if not out.exists():
            training.run(name, [*command, str(out)], lines)
        return json.loads(out.read_text())

    found: dict[str, Results] = {}
    for number, cell in enumerate(CELLS):
        name = f"cell {number + 1:02d} of {len(CELLS)}"
        found[cell.name] = kept(name, ["cell", str(number), weights], SEEDS)
    windows = kept("windows", ["windows", str(WINDOWS), weights], WINDOWS)
    section = kept("section 5", ["section5"], 25)
    return found, windows, section


def goals(found: Mapping[str, Results], windows: Sequence[Row]) -> list[Goal]:
    """The goals that rest on simulation."""
    known = [cell for cell in CELLS if cell.scenario.sigma == 0]
    noisy = [cell for cell in CELLS if cell.scenario.sigma == 1]
    unseen = [cell for cell in CELLS if not cell.seen]

    def over(name: str, cells: Sequence[Cell], peer: str, bound: float) -> Goal:
        ratios = {cell.name: round(ratio(found[cell.name], peer), 3) for cell in cells}
        return _goal(name, geometric(ratios.values()), bound, ratios)

    tails = {
        cell.name: round(ratio(found[cell.name], best_p99(found[cell.name]), "p99"), 3)
        for cell in CELLS
    }
    worst = {cell.name: round(ratio(found[cell.name], FALLBACK), 3) for cell in unseen}
    gaps = {
        f"window {n}": round(row["policy"] / row["solver"], 3) for n, row in enumerate(windows, 1)
    }
    return [
        over("sched.jct_vs_tuned_static", CELLS, TUNED, 0.90),
        over("sched.jct_vs_hindsight_noisy", noisy, HINDSIGHT, 1.0),
        over("sched.jct_vs_fgd_known", known, FALLBACK, 0.75),
        over("sched.jct_vs_fgd_noisy", noisy, FALLBACK, 0.85),
        over("sched.jct_vs_miso", CELLS, MISO, 0.95),
        _goal("sched.p99_vs_best", geometric(tails.values()), 1.05, tails),
        _goal("sched.worst_vs_fallback", max(worst.values()), 1.02, worst),
        _goal("sched.cpsat_gap", geometric(gaps.values()), 1.10, gaps),
    ]


def _goal(name: str, value: float, bound: float, samples: Mapping[str, float]) -> Goal:
    rounded = round(value, 3)
    return Goal(
        name, rounded, bound, "ratio", rounded <= bound, list(samples.values()), bench.commit(), {}
    )


def cell_table(found: Mapping[str, Results]) -> str:
    """Every cell: the ratio to each peer with its interval, and the other metrics beside it."""
    peers = (TUNED, HINDSIGHT, FALLBACK, MISO)
    heads = "cell, tuned static, hindsight static, FGD+SJF, MISO-like, best p99"
    heads += ", by hand, without moves, bound"
    lines = [f"| {' | '.join(heads.split(', '))} |", f"|{'---|' * 9}"]
    for name, results in found.items():
        parts = []
        for peer in peers:
            low, high = interval(results, peer)
            value = ratio(results, peer)
            mark = "**" if value > 1 else ""
            parts.append(f"{mark}{value:.2f}{mark} ({low:.2f} to {high:.2f})")
        best = best_p99(results)
        tail = f"{ratio(results, best, 'p99'):.2f} ({best})"
        own = [f"{ratio(results, peer):.2f}" for peer in (BY_HAND, UNMOVED, BOUND)]
        lines.append(f"| {name} | {' | '.join([*parts, tail, *own])} |")
    return "\n".join(lines)


def beside_table(found: Mapping[str, Results]) -> str:
    """The other metrics, means over all cells, by policy."""
    columns = ("slowdown", "slo", "utilised", "busy_sms", "stranded", "energy_mj", "created")
    heads = "policy slowdown SLO-kept slices-used SMs-busy stranded energy-MJ"
    heads += " instances/job stops/job"
    lines = [f"| {' | '.join(heads.split())} |", "|---|---|---|---|---|---|---|---|---|"]
    names = [name for name in next(iter(found.values())) if name != BOUND]
    for name in names:
        means = [
            float(np.mean([values(results, name, metric).mean() for results in found.values()]))
            for metric in (*columns, "stopped")
        ]
        lines.append(f"| {name} | " + " | ".join(f"{value:,.3g}" for value in means) + " |")
    return "\n".join(lines)


def section_table(section: Sequence[Row]) -> str:
    """The rules on the prototype's workloads, over what the study has."""
    lines = [
        "| rule | x1 .7 | x4 .5 | x4 .8 | x4 .7 cv4 | x8 .8 cv4 |",
        "|---|---|---|---|---|---|",
    ]
    for name, theirs in STUDY.items():
        cells = [
            f"{ours[name]:,.0f} ({ours[name] / their:.2f})"
            for ours, their in zip(section, theirs, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(decisions: int) -> int:
    """Run what is missing, print everything, write the file and the pictures."""
    found, windows, section = gather()
    results = [*goals(found, windows), *bench_sched_decisions.goals(decisions)]
    ratios = {
        name: (ratio(each, TUNED), *interval(each, TUNED), ratio(each, FALLBACK), ratio(each, MISO))
        for name, each in found.items()
    }
    PICTURE.write_text(bench_sched_plot.cells(ratios))
    tables: list[tuple[str, str]] = [
        ("Cells (simulated); bold where it loses", cell_table(found)),
        ("Beside it, means over cells (simulated)", beside_table(found)),
        ("The study's workloads: ours (over the study's)", section_table(section)),
    ]
    report = "\n\n".join(f"{title}\n\n{text}" for title, text in tables)
    Path(CACHE / "tables.md").write_text(report + "\n")
    print(report, end="\n\n")
    return bench.publish(RESULT, results)
