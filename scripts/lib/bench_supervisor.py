"""Measure ainit beside other supervisors, and judge the goals of speed.

Rounds are interleaved: each runs every supervisor once, in another order, and ratios are those of
one round; a goal's value is their median. Raw figures of every round stay in
``build/bench/bench-supervisor-rounds.json``. Boots are for `lib.bench_boot_peers`, whose entries
stay in the same file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lib import bench, supervisor_cases
from lib.bench import Goal
from lib.host import REPOSITORY, HostError, published
from lib.progress import step
from lib.supervisors import (
    ainit,
    finit,
    floors,
    goals,
    plot,
    runit,
    s6,
    supervisord,
    systemd,
    tree,
)
from lib.supervisors.goals import Round
from lib.supervisors.ground import STATIC
from lib.supervisors.peer import Peer
from lib.supervisors.rounds import Bench, Figures

RESULT = bench.FOLDER / "bench-supervisor.json"
ROUNDS_RESULT = bench.FOLDER / "bench-supervisor-rounds.json"
PICTURE = REPOSITORY / "docs/benchmarks-supervisor.svg"
FEW, SOME, MANY = 100, 300, 1000
PEERS = (
    floors.SH,
    floors.LOOP,
    ainit.PEER,
    systemd.PEER,
    s6.PEER,
    runit.PEER,
    finit.PEER,
    supervisord.PEER,
)


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured. ``only`` names supervisors, empty for all."""

    rounds: int = 5
    count: int = MANY
    only: tuple[str, ...] = ()


def choose(only: Sequence[str]) -> list[Peer]:
    """The supervisors with these names, all for none. Raises HostError for an unknown one."""
    known = {peer.name: peer for peer in PEERS}
    if unknown := [name for name in only if name not in known]:
        raise HostError(f"no supervisor {', '.join(unknown)}; there are: {', '.join(known)}")
    return [peer for peer in PEERS if not only or peer.name in only]


def run_rounds(options: Options) -> list[Round]:
    """Measure. A supervisor that fails is in its round with the reason."""
    layers, service = tree.layers(), tree.service()
    main, other = Bench(layers, service), Bench(layers, service, STATIC)
    peers = choose(options.only)
    found: list[Round] = []
    for number in range(options.rounds):
        turn = number % len(peers)
        figures: dict[str, Figures] = {}
        for peer in [*peers[turn:], *peers[:turn]]:
            with step(f"{number + 1}/{options.rounds} {peer.name}") as progress:
                few = [size for size in (FEW, SOME) if size < options.count]
                one = main.whole(peer, options.count, few)
                figures[peer.name] = one
                progress.note(_summary(one))
            if peer is ainit.PEER:
                with step(f"{number + 1}/{options.rounds} extra runs"):
                    figures[goals.FORGETFUL] = main.start(ainit.FORGETFUL, options.count)
                    figures[goals.STATIC_OWN] = other.start(peer, options.count)
                    figures[goals.STATIC_FLOOR] = other.start(floors.SH, options.count)
        found.append(figures)
        with published(ROUNDS_RESULT) as file:
            rounds = [{name: asdict(one) for name, one in each.items()} for each in found]
            file.write_text(json.dumps(rounds, indent=1) + "\n")
    return found


def _summary(one: Figures) -> str:
    words = [] if one.start is None else [f"{one.count / one.start:.0f}/s"]
    if one.storm is not None:
        words.append(f"storm {one.storm:.2f} s")
    if one.failure:
        words.append(f"FAILED: {one.failure.splitlines()[0][:80]}")
    return ", ".join(words)


def table(rounds: Sequence[Round]) -> str:
    """The supervisors beside each other, medians of the rounds, as a Markdown table."""
    columns: list[tuple[str, goals.Figure, str]] = [
        ("start, /s", goals.rate, ".0f"),
        ("restart, ms", goals.restart, ".1f"),
        ("storm, s", goals.storm, ".2f"),
        ("memory, MiB", goals.memory, ".1f"),
        ("PID 1 alone", goals.memory_of_pid1, ".1f"),
        ("bytes a service", goals.growth, ".0f"),
        ("CPU of a start, s", goals.start_cpu, ".2f"),
        ("CPU of a storm, s", lambda one: one.storm_cpu, ".2f"),
    ]
    found = [goals.medians(rounds, figure) for _, figure, _ in columns]
    lines = ["| supervisor | " + " | ".join(title for title, _, _ in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in dict.fromkeys(name for each in rounds for name in each):
        cells = [
            format(values[name], form) if name in values else "-"
            for values, (_, _, form) in zip(found, columns, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def failures(rounds: Sequence[Round]) -> list[str]:
    """What was not measured, with the reason."""
    return [
        f"round {number}: {name}: not run: {one.failure}"
        for number, each in enumerate(rounds, 1)
        for name, one in each.items()
        if one.failure
    ]


def picture(rounds: Sequence[Round]) -> str:
    """The plot, as SVG."""
    shown = [peer.name for peer in PEERS]
    panels: list[tuple[str, goals.Figure]] = [
        ("services started a second (more is better)", goals.rate),
        ("memory of all its processes, MiB", goals.memory),
        ("one service killed: milliseconds until it runs again", goals.restart),
        ("all services killed: seconds until they all run again", goals.storm),
    ]
    found = []
    for title, figure in panels:
        middle = goals.medians(rounds, figure)
        found.append((title, {name: middle[name] for name in shown if name in middle}))
    count = next(iter(rounds[0].values())).count
    return plot.svg(f"Supervisors with {count:,} services", found, goals.OWN)


def verdict(one: goals.Judged) -> str:
    """A goal as people read it, with the spread of its samples and its peers below."""
    value = "no value" if one.value is None else f"{one.value:g} {one.unit}"
    bound = "" if one.bound is None else f"  ({one.relation} {one.bound:g})"
    spread = f"  [{min(one.samples):g} … {max(one.samples):g}]" if one.samples else ""
    lines = [f"{one.goal:34} {value}{bound}{spread}  {'met' if one.met else 'MISSED'}"]
    if one.peers:
        lines.append("    " + ", ".join(f"{name} {peer:g}" for name, peer in one.peers.items()))
    return "\n".join(lines)


def _cases() -> list[goals.Judged]:
    """The ported cases, which are run for it."""
    with step("ported cases"):
        found = supervisor_cases.run()
    least = supervisor_cases.LEAST
    return [
        goals.Judged("pid1.cases", [float(found.cases)], "cases", least, goals.AT_LEAST),
        goals.Judged("pid1.cases_failed", [float(found.failed)], "cases", 0),
    ]


def publish(rounds: Sequence[Round]) -> int:
    """Write the files and print the tables; 0 only when every goal is met."""
    judged = [*goals.judged(rounds), *_cases()]
    records = []
    for one in judged:
        peers, samples = dict(one.peers or {}), list(one.samples)
        goal = Goal(
            one.goal, one.value, one.bound, one.unit, one.met, samples, bench.commit(), peers
        )
        records.append(asdict(goal))
    bench.merge(RESULT, records)
    with published(PICTURE) as file:
        file.write_text(picture(rounds))
    for part in (table(rounds), *failures(rounds), *map(verdict, judged), str(RESULT)):
        print(part)
    return 0 if all(one.met for one in judged) else 1


def main(options: Options) -> int:
    """Run all of it."""
    return publish(run_rounds(options))
