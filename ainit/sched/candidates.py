"""What may be done next, each with what the policy sees of it. PURE; training builds the same.

A candidate is *start* a waiting request with a profile at a placement, *move* one that runs, or
*wait* for something to happen. A start may displace work that runs there, if all of it may be
moved, has run for a while, and has more left (slices times seconds, by its estimate) than the
newcomer; it goes back into the queue. A move is one that ends sooner than staying. To keep
decisions short, the window of requests is small, only some of it may displace, and few that run may
move (``state``, and below).

A state of one request with one profile and no leave to wait gives the placements of that profile,
free or not, in the order of ``place.candidates``: placing an agent is the smallest case.

    question = ask(state)
    policy.propose(question.rows, question.legal, question.boards)   # an index into candidates
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import Enum

from . import features, place
from .occupancy import Occupancy
from .place import Device, Proposal
from .state import (
    DISPLACERS,
    MOVERS,
    RESIDENCY_S,
    Request,
    Running,
    State,
    least_area,
    memory_of,
    window,
)


class Kind(Enum):
    """What a candidate does."""

    START = "start"
    MOVE = "move"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to do. ``request`` names who; ``displaces`` who is stopped for it."""

    kind: Kind
    request: str
    proposal: Proposal | None = None
    displaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Candidates, whether each is legal, and their features, row after row in one array."""

    candidates: tuple[Candidate, ...]
    legal: tuple[bool, ...]
    rows: array[float]
    boards: frozenset[str]

    def row(self, index: int) -> dict[str, float]:
        """The features of one candidate, by name."""
        width = len(features.NAMES)
        values = self.rows[index * width : (index + 1) * width]
        return dict(zip(features.NAMES, values, strict=True))


def ask(state: State) -> Question:
    """Everything that may be done in a state; no candidate is legal when there is nothing."""
    return _Asking(state).question()


def check(candidate: Candidate, state: State) -> list[str]:
    """Everything that is wrong with a candidate in a live state. Trusts nothing about it."""
    proposal = candidate.proposal
    if proposal is None:
        waits = candidate.kind is Kind.WAIT and not candidate.displaces
        return [] if waits and state.may_wait else ["there is no placement"]
    if candidate.kind is Kind.MOVE:
        running = next((e for e in state.running if e.request.name == candidate.request), None)
        if running is None or not running.movable:
            return [f"{candidate.request} does not run, or may not be moved"]
        request, gone = running.request, {candidate.request, *candidate.displaces}
    else:
        waiting = next((e for e in state.queue if e.name == candidate.request), None)
        if waiting is None:
            return [f"{candidate.request} does not wait"]
        request, gone = waiting, set(candidate.displaces)
    findings = []
    if request.speeds.get(proposal.profile, 0.0) <= 0.0:
        findings.append(f"{request.name} cannot run on {proposal.profile}")
    stopped = [each for each in state.running if each.request.name in gone]
    findings += [f"{e.request.name} may not be stopped" for e in stopped if not e.movable]
    freed = {(each.gpu, each.start) for each in stopped}
    devices = [_without(d, freed) for d in state.devices] if freed else state.devices
    findings += place.check(proposal, proposal.profile, devices)
    for hold in state.holds:
        if hold.gpu == proposal.gpu and hold.mask & proposal.mask:
            findings.append(f"slices of GPU {hold.gpu} are held back")
    return findings


def _without(device: Device, freed: set[tuple[int, int]]) -> Device:
    """The device without the instances that start at these slices of it."""
    kept = tuple(each for each in device.instances if (device.index, each.start) not in freed)
    return device if len(kept) == len(device.instances) else device.with_instances(kept)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A placement for a newcomer: whether it may be had, who is stopped for it, the slice-seconds
    that they have left, and the placement half of its features.
    """

    proposal: Proposal
    able: bool
    names: tuple[str, ...]
    area: float
    half: array[float]


class _Asking:
    """What is worked out once for all candidates of a state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.gpus = [Occupancy(device, state) for device in state.devices if device.mig]
        self.memory = memory_of(state.devices)
        self.slices = {
            name: gpu.geometry.slices for gpu in self.gpus for name in gpu.geometry.profiles
        }
        self.window = window(state.queue, self.memory)
        areas = [least_area(each, self.memory) for each in state.queue]
        known = [each for each in areas if each < math.inf]
        self.count = len(known)
        self.shortest = min(known, default=1.0)
        self.mean = sum(known) / len(known) if known else 1.0
        self.backlog = sum(known) / max(state.slices, 1)
        taken = sum(gpu.occupied.bit_count() for gpu in self.gpus)
        self.idle = 1.0 - taken / max(state.slices, 1)
        self.oldest = max((each.waited_s for each in state.queue), default=0.0)
        self.free_at = {
            name: min(
                gpu.until_of(bits)
                for gpu in self.gpus
                for _, bits in gpu.geometry.placements.get(name, ())
            )
            for name in self.memory
        }
        self.candidates: list[Candidate] = []
        self.legal: list[bool] = []
        self.rows: array[float] = array("f")
        self._known: dict[tuple[int, str], list[_Opening]] = {}

    def question(self) -> Question:
        """All candidates, in a fixed order."""
        oldest = max(self.window, key=lambda each: each.waited_s, default=None)
        for number, request in enumerate(self.window):
            self._starts(request, number < DISPLACERS or request is oldest, number == 0)
        movable = [e for e in self.state.running if e.movable and e.since_s >= RESIDENCY_S]
        movable.sort(key=lambda each: -each.until_s)
        for running in movable[:MOVERS] if self.state.may_wait else ():
            self._moves(running)
        if self.state.may_wait:
            row = features.waiting(self.count, len(self.gpus), self.backlog, self.idle, self.oldest)
            self._add(Candidate(Kind.WAIT, ""), True, array("f", row), _NOWHERE)
        boards = frozenset(gpu.device.name for gpu in self.gpus)
        return Question(tuple(self.candidates), tuple(self.legal), self.rows, boards)

    def _add(self, candidate: Candidate, legal: bool, *halves: array[float]) -> None:
        self.candidates.append(candidate)
        self.legal.append(legal)
        for half in halves:
            self.rows.extend(half)

    def _starts(self, request: Request, displaces: bool, first: bool) -> None:
        """Of the first request all placements are listed, free or not; of others what is legal."""
        halves = self._halves(request, None)
        areas = {name: self._time(request, name) * self.memory[name] for name in halves}
        for gpu in self.gpus:
            for name, half in halves.items():
                for each in self._openings(gpu, name):
                    legal = each.able
                    if each.names:
                        legal = legal and displaces and each.area > areas[name]
                    if legal or first:
                        candidate = Candidate(Kind.START, request.name, each.proposal, each.names)
                        self._add(candidate, legal, half, each.half)

    def _openings(self, gpu: Occupancy, name: str) -> list[_Opening]:
        """The placements of a profile on a GPU, the same for all requests."""
        key = gpu.device.index, name
        found = self._known.get(key)
        if found is None:
            profile = gpu.geometry.profiles.get(name)
            found = [] if profile is None else self._open(gpu, profile)
            self._known[key] = found
        return found

    def _open(self, gpu: Occupancy, profile: place.Profile) -> list[_Opening]:
        full, found = _is_full(gpu.device, profile), []
        for start, bits in gpu.geometry.placements[profile.name]:
            stopped = gpu.displaced(bits) if bits & gpu.occupied else []
            found.append(
                _Opening(
                    Proposal(gpu.device.index, profile.name, start, profile.memory),
                    stopped is not None and not full,
                    tuple(who.request.name for _, who, _ in stopped or ()),
                    sum(until * each.bit_count() for each, _, until in stopped or ()),
                    array("f", gpu.placement(bits, stopped or ())),
                )
            )
        return found

    def _moves(self, running: Running) -> None:
        """To free slices, its own among them, with another profile or on another GPU."""
        halves = self._halves(running.request, running)
        for gpu in self.gpus:
            own = next((bits for bits, who, _ in gpu.running if who is running), 0)
            for name, half in halves.items():
                profile = gpu.geometry.profiles.get(name)
                if profile is None or self._time(running.request, name) >= running.until_s:
                    continue
                for start, bits in gpu.geometry.placements[name]:
                    if bits & gpu.occupied & ~own or _is_full(gpu.device, profile):
                        continue
                    proposal = Proposal(gpu.device.index, name, start, profile.memory)
                    row = array("f", gpu.placement(bits, (), own))
                    self._add(Candidate(Kind.MOVE, running.request.name, proposal), True, half, row)

    def _time(self, request: Request, profile: str) -> float:
        """Seconds that it would hold an instance of the profile."""
        return request.left_s / request.speeds[profile] + request.restart_s

    def _halves(self, request: Request, running: Running | None) -> dict[str, array[float]]:
        """The request half of its candidates' features, by profile."""
        others = self.count if running else max(self.count - 1, 0)
        names = [n for n, fast in request.speeds.items() if fast > 0 and n in self.memory]
        times = {name: self._time(request, name) for name in names}
        areas = {name: times[name] * self.memory[name] for name in names}
        prices = {
            name: times[name] * (1 + others * self.memory[name] / self.state.slices)
            for name in names
        }
        if not names:
            return {}
        time_least, area_least = min(times.values()), min(areas.values())
        price_least = min(prices.values())
        end_least = min(self.free_at[name] + times[name] for name in names)
        weighted = area_least / request.weight
        slack = math.inf if request.slack_s is None else max(request.slack_s, 1e-3)
        return {
            name: array(
                "f",
                features.request(
                    self.count,
                    len(self.gpus),
                    self.backlog,
                    self.idle,
                    request.waited_s,
                    times[name],
                    time_least,
                    areas[name],
                    area_least,
                    prices[name],
                    price_least,
                    end_least,
                    weighted,
                    self.shortest if self.count else weighted,
                    self.mean if self.count else weighted,
                    slack,
                    0.0 if running else float(request.waited_s >= self.oldest),
                    float(running is not None),
                    running.until_s if running else 0.0,
                    request.used,
                    request.restart_s,
                    self.memory[name] / self.slices[name],
                ),
            )
            for name in names
        }


def _is_full(device: Device, profile: place.Profile) -> bool:
    """Whether the board holds as many instances of the profile as it allows."""
    if profile.limit >= len(profile.starts):
        return False
    return sum(each.profile == profile.name for each in device.instances) >= profile.limit


_NOWHERE = array("f", [0.0] * len(features.PLACEMENT))
