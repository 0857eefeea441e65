"""The figures of a supervisor, and the goals that are judged by them over all rounds.

A goal's value is the median of ratios within one round, so that what else the machine did cancels
out. Everything here is pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lib.supervisors.ground import Memory
from lib.supervisors.rounds import Figures, median, percentile

MIB = 1 << 20
OWN, OTHER, FLOOR = "ainit", "systemd", "sh loop"
FORGETFUL = "ainit, no journal"
STATIC_OWN = "ainit, static service"
STATIC_FLOOR = "sh loop, static service"
AT_LEAST, AT_MOST = "at least", "at most"

Round = Mapping[str, Figures]
Figure = Callable[[Figures], float | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal before it is published: its samples, its bound and what that means."""

    goal: str
    samples: Sequence[float]
    unit: str
    bound: float | None = None
    relation: str = AT_MOST
    peers: Mapping[str, float] | None = None

    @property
    def value(self) -> float | None:
        """The median; None when nothing was measured."""
        return round(statistics.median(self.samples), 3) if self.samples else None

    @property
    def met(self) -> bool:
        """Whether the bound is kept; without a value it is not."""
        if self.value is None:
            return False
        if self.bound is None:
            return True
        return self.value >= self.bound if self.relation == AT_LEAST else self.value <= self.bound


def rate(one: Figures) -> float | None:
    """Services a second, until all are ready where the supervisor knows that."""
    taken = one.ready or one.start
    return one.count / taken if taken else None


def restart(one: Figures) -> float | None:
    """The median restart in milliseconds."""
    return statistics.median(one.restarts) * 1e3 if one.restarts else None


def storm(one: Figures) -> float | None:
    """Seconds until all services are back."""
    return one.storm


def _memory(one: Figures) -> Memory | None:
    return one.memory.get(one.count)


def memory(one: Figures) -> float | None:
    """MiB of all its processes."""
    found = _memory(one)
    return found.all / MIB if found else None


def memory_of_pid1(one: Figures) -> float | None:
    """MiB of PID 1 alone."""
    found = _memory(one)
    return found.pid1 / MIB if found else None


def growth(one: Figures) -> float | None:
    """Bytes a service, of all its processes, between the smallest and the largest number."""
    sizes = sorted(one.memory)
    if len(sizes) < 2:
        return None
    return (one.memory[sizes[-1]].all - one.memory[sizes[0]].all) / (sizes[-1] - sizes[0])


def responsiveness(one: Figures) -> float | None:
    """The 99th percentile of a control call in the storm, over the one before it."""
    if not one.idle or not one.loaded:
        return None
    return percentile(one.loaded, 0.99) / percentile(one.idle, 0.99)


def ratios(
    rounds: Sequence[Round], figure: Figure, name: str, other: str, by: Figure | None = None
) -> list[float]:
    """The figure of one over that of another, for the rounds that have both."""
    found = []
    for each in rounds:
        if name in each and other in each:
            above, below = figure(each[name]), (by or figure)(each[other])
            if above is not None and below:
                found.append(round(above / below, 4))
    return found


def values(rounds: Sequence[Round], figure: Figure, name: str) -> list[float]:
    """The figure of one in each round that has it."""
    there = [figure(each[name]) for each in rounds if name in each]
    return [round(value, 4) for value in there if value is not None]


def medians(rounds: Sequence[Round], figure: Figure) -> dict[str, float]:
    """The median of a figure by supervisor."""
    names = dict.fromkeys(name for each in rounds for name in each)
    found = {name: median(values(rounds, figure, name)) for name in names}
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def start_cpu(one: Figures) -> float | None:
    """Seconds of processor time that the start took the supervisor."""
    return one.start_cpu


def reexec(one: Figures) -> float | None:
    """Seconds of an orderly re-execution, until it answers again."""
    return one.reexec


def fault(one: Figures) -> float | None:
    """Seconds from a fatal signal until it answers again."""
    return one.fault


def _calls(rounds: Sequence[Round]) -> dict[str, float]:
    """The 99th percentiles of control calls over all rounds, in milliseconds."""
    found = {}
    for name in (OWN, OTHER):
        there = [each[name] for each in rounds if name in each]
        for when, samples in (
            ("idle", [sample for one in there for sample in one.idle]),
            ("storm", [sample for one in there for sample in one.loaded]),
        ):
            if samples:
                found[f"{name}, {when}, ms"] = round(percentile(samples, 0.99) * 1e3, 3)
    return found


def judged(rounds: Sequence[Round]) -> list[Judged]:
    """Every goal."""
    rates = medians(rounds, rate)
    recovery = {f"{name}, re-exec": value for name, value in medians(rounds, reexec).items()}
    recovery |= {f"{name}, fault": value for name, value in medians(rounds, fault).items()}

    def vs(figure: Figure, other: str = OTHER) -> list[float]:
        return ratios(rounds, figure, OWN, other)

    saving = [round(1.0 - share, 4) for share in ratios(rounds, start_cpu, FORGETFUL, OWN)]
    restarted = [float(each[OWN].restarted) for each in rounds if OWN in each]
    static = ratios(rounds, rate, STATIC_OWN, STATIC_FLOOR)
    recovered = ratios(rounds, fault, OWN, OTHER, reexec)
    bytes_each = medians(rounds, growth)
    pid1 = medians(rounds, memory_of_pid1)
    storms, restarts = medians(rounds, storm), medians(rounds, restart)
    calls, cpu = _calls(rounds), medians(rounds, start_cpu)
    own_growth, own_calls = values(rounds, growth, OWN), values(rounds, responsiveness, OWN)
    return [
        Judged("pid1.start_rate_vs_systemd", vs(rate), "ratio", 2, AT_LEAST, rates),
        Judged("pid1.start_rate_vs_floor", vs(rate, FLOOR), "ratio", 0.6, AT_LEAST, rates),
        Judged("pid1.start_rate_vs_floor_static", static, "ratio"),
        Judged("pid1.restart_vs_systemd", vs(restart), "ratio", 0.3, AT_MOST, restarts),
        Judged("pid1.storm_vs_systemd", vs(storm), "ratio", 0.3, AT_MOST, storms),
        Judged("pid1.memory_vs_systemd", vs(memory_of_pid1), "ratio", 1, AT_MOST, pid1),
        Judged("pid1.memory_per_service", own_growth, "bytes", 2048, AT_MOST, bytes_each),
        Judged("pid1.control_p99_vs_idle", own_calls, "ratio", 3, AT_MOST, calls),
        Judged("pid1.recovery_vs_systemd", recovered, "ratio", 1, AT_MOST, recovery),
        Judged("pid1.recovery_restarted", restarted, "services", 0),
        Judged("pid1.state_saving_share", saving, "share of CPU", 0.05, AT_MOST, cpu),
    ]
