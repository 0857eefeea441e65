"""Training sees what the service sees: the simulator's arrays beside the records of the core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ainit.sched import candidates, features
from ainit.sched.candidates import Kind
from ainit.sched.place import Device, Instance
from ainit.sched.state import Hold, Request, Running, State
from ainit.sched.train import boards, engine, options, run, workload
from ainit.sched.train.boards import Board
from ainit.sched.train.engine import NOW, WAITING, Jobs, World
from ainit.sched.train.workload import Scenario

KINDS = {Kind.START: options.START, Kind.MOVE: options.MOVE, Kind.WAIT: options.WAIT}
Row = tuple[int, int, int, int, str]


def devices(name: str, board: Board, world: World) -> list[Device]:
    offered = boards.profiles(name)
    plain = [each for each in offered if "+" not in each.name]
    return [
        Device(
            gpu, f"GPU-{gpu}", name, True, 0, offered,
            tuple(
                Instance(
                    slot + 1,
                    plain[board.profile[place]].name,
                    int(board.start[place]),
                    int(board.memory[board.profile[place]]),
                    "", 1,
                )
                for slot, job in enumerate(world.running[gpu, : world.filled[gpu]])
                for place in [world.place[job]]
            ),
        )
        for gpu in range(len(world.filled))
    ]  # fmt: skip


def state(name: str, board: Board, jobs: Jobs, world: World) -> State:
    """The state that the service would see in this world."""
    now = float(world.clock[NOW])
    plain = [each.name for each in boards.profiles(name) if "+" not in each.name]

    def request(job: int) -> Request:
        return Request(
            str(job),
            {n: float(v) for n, v in zip(plain, jobs.speeds[job], strict=True) if v > 0},
            float(jobs.estimate[job]),
            float(engine.attained(board, jobs, world, job)),
            now - float(jobs.arrival[job]),
            float(jobs.restart[job]) if world.starts[job] else 0.0,
            slack_s=float(jobs.deadline[job]) - now,
        )

    running = [
        Running(
            request(job),
            gpu,
            plain[board.profile[world.place[job]]],
            int(board.start[world.place[job]]),
            now - float(world.began[job]),
            bool(jobs.movable[job]),
        )
        for gpu in range(len(world.filled))
        for job in world.running[gpu, : world.filled[gpu]]
    ]
    holds = [
        Hold(gpu, 1 << slot, float(world.held_until[gpu, slot]) - now)
        for gpu in range(len(world.filled))
        for slot in range(engine.SLOTS)
        if world.held[gpu] >> slot & 1
    ]
    queue = [request(job) for job in world.queue[: int(world.clock[WAITING])]]
    return State(devices(name, board, world), queue, running, holds)


def service_rows(at: State) -> dict[Row, np.ndarray]:
    question = candidates.ask(at)
    found = {}
    for index, candidate in enumerate(question.candidates):
        if question.legal[index]:
            proposal = candidate.proposal
            key = (
                KINDS[candidate.kind],
                int(candidate.request or -1),
                proposal.gpu if proposal else -1,
                proposal.mask if proposal else -1,
            )
            profile = proposal.profile if proposal else ""
            row = np.array(list(question.row(index).values()))
            found[(*key, profile)] = row
    return found


def simulator_rows(name: str, board: Board, jobs: Jobs, world: World) -> dict[Row, np.ndarray]:
    plain = [each.name for each in boards.profiles(name) if "+" not in each.name]
    buffers = options.new_options(board, len(world.filled))
    found = {}
    for index in range(options.fill(board, jobs, world, buffers, True)):
        kind, job, gpu, place, half, row = (int(each) for each in buffers.what[index])
        mask = int(board.mask[place]) if place >= 0 else -1
        profile = plain[board.profile[place]] if place >= 0 else ""
        values = np.concatenate([buffers.request[half], buffers.placement[row]])
        found[(kind, job, gpu, mask, profile)] = values
    return found


@pytest.mark.parametrize(
    ("board_name", "gpus", "sigma"),
    [("A100-40GB", 1, 0.0), ("H100-80GB", 2, 1.0), ("B200-180GB", 2, 0.5)],
)
def test_the_simulator_and_the_service_ask_the_same(
    board_name: str, gpus: int, sigma: float
) -> None:
    """Under a policy that stops, moves and waits at random, with destroys that fail."""
    board = boards.board(board_name)
    scenario = Scenario(gpus, 1.2, board_name, 4.0, sigma, 30)
    jobs = workload.make(scenario, 3)
    jobs = jobs._replace(fails=np.arange(len(jobs.fails)) % 4 == 0)
    world = engine.new_world(jobs, gpus)
    random = np.random.default_rng(5)
    buffers = options.new_options(board, gpus)
    compared, kinds = 0, set()
    for _ in range(150):
        if not engine.advance(board, jobs, world):
            break
        for _ in range(6):
            mine = simulator_rows(board_name, board, jobs, world)
            theirs = service_rows(state(board_name, board, jobs, world))
            assert mine.keys() == theirs.keys()
            for key, row in mine.items():
                assert row == pytest.approx(theirs[key], abs=1e-5), (key, features.NAMES)
            compared += len(mine)
            kinds |= {key[0] for key in mine}
            count = options.fill(board, jobs, world, buffers, True)
            choice = int(random.integers(count))
            what = buffers.what[choice].copy()
            if what[0] == options.WAIT:
                break
            run.take(board, jobs, world, what)
    assert compared > 1000
    assert kinds == {options.START, options.MOVE, options.WAIT}


def test_a_world_without_leave_to_move_only_starts() -> None:
    board = boards.board("A100-40GB")
    jobs = workload.make(replace(Scenario(1, 1.2), jobs=20), 1)
    world = engine.new_world(jobs, 1)
    buffers = options.new_options(board, 1)
    for _ in range(15):
        engine.advance(board, jobs, world)
        count = options.fill(board, jobs, world, buffers, False)
        assert options.MOVE not in buffers.what[:count, 0]
        assert not buffers.placement[: buffers.size[2], features.PLACEMENT.index("displaces")].any()
        if count > 1:
            run.take(board, jobs, world, buffers.what[0].copy())
