"""How long a decision takes, and whether a placement that is none ever gets past the checks.

Both run what the image runs: ``ainit.sched.decide`` with the policy in onnxruntime, one thread. The
driver behind it is a model of slices that shares no code with the checks.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib import bench, policy, training
from lib.bench import Goal
from lib.host import REPOSITORY, published
from lib.progress import step

sys.path.insert(0, str(REPOSITORY))
from ainit.sched import candidates, decide, state
from ainit.sched.candidates import Candidate, Kind
from ainit.sched.decide import Decider
from ainit.sched.onnx import Policy
from ainit.sched.place import Device, Instance
from ainit.sched.state import Request, Running, State
from ainit.sched.tables import Tables

BOARD = "NVIDIA H100 80GB HBM3"
GPUS = 8
WANTED = 320
TIMES = 2000
CHUNK = 20_000
MS = 1000.0
LATE_S = 30.0  # a late answer is measured, not replaced by the heuristic's
TABLES = Tables()  # as in the image
HOSTILE = 3  # of so many decisions one is the policy's, the others a liar's


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of a liar."""

    choice: int
    score: float = 0.0


class Liar:
    """A policy that answers anything at all."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def propose(self, rows: array[float], legal: Sequence[bool], boards: Collection[str]) -> Told:
        """Any candidate, legal or not, or none."""
        return Told(self._source.randint(-1, len(legal)))


class Slices:
    """GPUs as sets of slices. ``invalid`` counts what no driver would have made."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = list(devices)
        self.running: dict[str, Running] = {}
        self.invalid = 0

    def make(self, candidate: Candidate, request: Request) -> None:
        """Do what was decided, if it can be done."""
        for name in (
            *candidate.displaces,
            *([request.name] if candidate.kind is Kind.MOVE else []),
        ):
            self.end(name)
        wanted = candidate.proposal
        assert wanted is not None
        device = self.devices[wanted.gpu]
        offered = {each.name: each for each in device.profiles}[wanted.profile]
        slots = set(range(wanted.start, wanted.start + wanted.size))
        taken = {
            slot for each in device.instances for slot in range(each.start, each.start + each.size)
        }
        if slots & taken or wanted.start not in offered.starts or wanted.size != offered.memory:
            self.invalid += 1
            return
        made = Instance(1, wanted.profile, wanted.start, wanted.size, "", 1)
        self.devices[wanted.gpu] = device.with_instances((*device.instances, made))
        self.running[request.name] = Running(
            request, wanted.gpu, wanted.profile, wanted.start, 100.0, movable=True
        )

    def end(self, name: str) -> None:
        """Somebody ends, or is stopped."""
        gone = self.running.pop(name)
        device = self.devices[gone.gpu]
        kept = tuple(each for each in device.instances if each.start != gone.start)
        self.devices[gone.gpu] = device.with_instances(kept)


def machine(count: int) -> list[Device]:
    """Empty GPUs."""
    empty = policy.boards()[BOARD]
    return [
        Device(n, f"GPU-{n}", BOARD, True, empty.memory_mib, empty.profiles, ())
        for n in range(count)
    ]


def busy(wanted: int = WANTED) -> State:
    """A state with about so many candidates."""
    source = random.Random(4)
    slices = Slices(machine(GPUS))
    speeds = state.speeds(slices.devices)
    best: tuple[int, State] | None = None
    for number in range(60):
        queue = [Request(f"q{n}", speeds, source.uniform(10, 1e5)) for n in range(12)]
        now = State(tuple(slices.devices), queue, tuple(slices.running.values()))
        question = candidates.ask(now)
        off = abs(len(question.candidates) - wanted)
        if best is None or off < best[0]:
            best = off, now
        legal = [
            each
            for each, may in zip(question.candidates, question.legal, strict=True)
            if may and each.kind is Kind.START and not each.displaces
        ]
        if not legal:
            break
        chosen = source.choice(legal)
        slices.make(chosen, Request(f"r{number}", speeds, source.uniform(10, 1e5)))
    assert best is not None
    return best[1]


def durations() -> tuple[list[float], list[float], int]:
    """Milliseconds of whole decisions, of the policy alone, and the number of candidates."""
    scorer = Policy.load(str(policy.build()))
    scorer.soft = LATE_S
    decider = Decider(scorer, decide.ACTIVE, ask=TABLES.ask)
    now = busy()
    question = TABLES.ask(now)
    whole, alone = [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        decider.decide(now)
        whole.append((time.perf_counter() - began) * MS)
        began = time.perf_counter()
        scorer.propose(question.rows, question.legal, question.boards)
        alone.append((time.perf_counter() - began) * MS)
    return whole, alone, len(question.candidates)


def walk(count: int, seed: int) -> int:
    """So many decisions on machines that fill and empty; how many invalid placements came out."""
    source = random.Random(seed)
    scorer = Policy.load(str(policy.build()), deadline=30.0)
    slices = Slices(machine(2))
    speeds = state.speeds(slices.devices)
    names = [each.name for each in slices.devices[0].profiles]
    for number in range(count):
        chooser = scorer if number % HOSTILE == 0 else Liar(source)
        decider = Decider(chooser, decide.ACTIVE, ask=TABLES.ask)
        if number % 20:
            now = state.single(source.choice(names), slices.devices, f"s{number}")
        else:
            queue = [Request(f"n{number}.{n}", speeds, source.uniform(1, 1e4)) for n in range(2)]
            now = State(tuple(slices.devices), queue, tuple(slices.running.values()))
        decision = decider.decide(now)
        if (decision is None or source.random() < 0.3) and slices.running:
            slices.end(source.choice(list(slices.running)))
        if decision is not None and decision.candidate.kind is not Kind.WAIT:
            who = decision.candidate.request
            known = {each.name: each for each in now.queue}
            known |= {each.request.name: each.request for each in now.running}
            gone = {*decision.candidate.displaces} - slices.running.keys()
            moved = decision.candidate.kind is Kind.MOVE and who not in slices.running
            if not gone and not moved:
                slices.make(decision.candidate, known[who])
    return slices.invalid


def invalid(count: int) -> tuple[int, int]:
    """Decisions made and invalid placements among them, going on from what was done before."""
    store = bench.FOLDER / "sched" / training.digest(training.WEIGHTS) / "decisions.json"
    done, wrong = json.loads(store.read_text()) if store.exists() else (0, 0)
    with step("decisions") as progress:
        while done < count:
            wrong += walk(CHUNK, done)
            done += CHUNK
            progress.update(done, count, f"{wrong} invalid")
            _keep(store, [done, wrong])
        progress.note(f"{done:,} decisions, {wrong} invalid")
    return done, wrong


def _keep(store: Path, content: list[int]) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    with published(store) as file:
        file.write_text(json.dumps(content))


def goals(count: int) -> list[Goal]:
    """The two goals: to choose among candidates; invalid placements. Beside the first, a whole
    decision, with working out the candidates and checking the choice, which is Python.
    """
    with step("decision time") as progress:
        whole, alone, number = durations()
        progress.note(f"{number} candidates")
    alone.sort()
    median = statistics.median(alone)
    peers = {"p99_ms": round(alone[int(0.99 * TIMES)], 3), "candidates": float(number)}
    done, wrong = invalid(count)
    return [
        Goal(
            "sched.decision_ms", round(median, 3), 0.2, "ms", median <= 0.2,
            [round(each, 3) for each in alone[:: TIMES // 20]], bench.commit(), peers,
        ),
        bench.goal("sched.question_ms", [round(each, 3) for each in whole[:: TIMES // 20]], "ms"),
        Goal(
            "sched.invalid_placements", float(wrong), 0.0, f"of {done:,} decisions", wrong == 0,
            [float(wrong)], bench.commit(), {},
        ),
    ]  # fmt: skip
