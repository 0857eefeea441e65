"""The crash matrix: every kind of transaction, every fault, every board, death at every moment.

On the Python fake, in one process: a death is an exception that nothing catches, after which only
the journal, the GPUs and PID 1 are left. A case is one run of one kind on one board, with one fault
and one fatal moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory

from tests.unit.sched.fake_nvml import (
    COMPUTE,
    CREATE,
    DESTROY,
    UNCOMPUTE,
    Fault,
    Kind,
    ProcessDeath,
)
from tests.unit.sched.fake_nvml import board as make
from tests.unit.sched.gpu_world import Snapshot, World

ALWAYS = 1000
MOMENTS_MAX = 400

# A fault, by name: the calls that go wrong, how, and how often.
FAULTS: dict[str, tuple[tuple[str, Kind, int], ...]] = {
    "none": (),
    "create refused once": ((CREATE, Kind.REFUSE, 1),),
    "create refused": ((CREATE, Kind.REFUSE, ALWAYS),),
    "create fails late": ((CREATE, Kind.LATE, 1),),
    "create fails late always": ((CREATE, Kind.LATE, ALWAYS),),
    "create elsewhere": ((CREATE, Kind.ELSEWHERE, 1),),
    "create another profile": ((CREATE, Kind.OTHER, ALWAYS),),
    "create loses the GPU": ((CREATE, Kind.LOSE, 1),),
    "create resets the GPU": ((CREATE, Kind.RESET, 1),),
    "create reloads the driver": ((CREATE, Kind.RELOAD, 1),),
    "compute refused once": ((COMPUTE, Kind.REFUSE, 1),),
    "compute refused": ((COMPUTE, Kind.REFUSE, ALWAYS),),
    "compute fails late": ((COMPUTE, Kind.LATE, 1),),
    "compute loses the GPU": ((COMPUTE, Kind.LOSE, 1),),
    "compute reloads the driver": ((COMPUTE, Kind.RELOAD, 1),),
    "uncompute refused once": ((UNCOMPUTE, Kind.REFUSE, 1),),
    "uncompute refused": ((UNCOMPUTE, Kind.REFUSE, ALWAYS),),
    "uncompute fails late": ((UNCOMPUTE, Kind.LATE, 1),),
    "uncompute does nothing": ((UNCOMPUTE, Kind.NOTHING, 1),),
    "uncompute loses the GPU": ((UNCOMPUTE, Kind.LOSE, 1),),
    "uncompute resets the GPU": ((UNCOMPUTE, Kind.RESET, 1),),
    "destroy refused once": ((DESTROY, Kind.REFUSE, 1),),
    "destroy refused": ((DESTROY, Kind.REFUSE, ALWAYS),),
    "destroy fails late": ((DESTROY, Kind.LATE, 1),),
    "destroy leaves remnants once": ((DESTROY, Kind.NOTHING, 1),),
    "destroy leaves remnants": ((DESTROY, Kind.NOTHING, ALWAYS),),
    "destroy leaves ghosts": ((DESTROY, Kind.GHOST, 1),),
    "destroy leaves ghosts always": ((DESTROY, Kind.GHOST, ALWAYS),),
    "destroy loses the GPU": ((DESTROY, Kind.LOSE, 1),),
    "destroy reloads the driver": ((DESTROY, Kind.RELOAD, 1),),
    "destroy and create refused": ((DESTROY, Kind.REFUSE, 4), (CREATE, Kind.REFUSE, ALWAYS)),
    "create and compute refused": ((CREATE, Kind.REFUSE, 3), (COMPUTE, Kind.REFUSE, ALWAYS)),
}

BOARDS = ("A100-40GB", "A100-80GB", "H100-80GB", "H200-141GB", "B200-180GB")


@dataclass(frozen=True)
class Sizes:
    """The profiles of a board by what they are."""

    one: str
    two: str
    three: str
    four: str
    seven: str


@cache
def sizes(board: str) -> Sizes:
    """The plain profiles of a seven-slice board."""
    names = [each.name for each in make(board, 0).profiles if "+" not in each.name]
    plain = {each.name: each for each in make(board, 0).profiles}
    of = {
        plain[name].compute: name
        for name in names
        if plain[name].memory == {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}[plain[name].compute]
    }
    return Sizes(of[1], of[2], of[3], of[4], of[7])


def entry(gpu: int, *profiles: str) -> dict[str, object]:
    """One GPU's wish as Apply takes it."""
    return {"gpus": [gpu], "instances": [{"profile": each} for each in profiles]}


@dataclass(frozen=True)
class Verdict:
    """One case, and what is wrong with it."""

    kind: str
    fault: str
    board: str
    moment: int
    wrong: tuple[str, ...]
    stranded: int
    overlapping: int


# ---- the kinds: how the world is before, and what is done


@cache
def _peopled(board: str) -> Snapshot:
    """Agents with instances of their own on both GPUs, and three on the partition of GPU 1."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        world = World(folder, board, board)
        _people(world, sizes(board))
        return world.snapshot()


def _people(world: World, size: Sizes) -> None:
    world.call("Apply", entries=[entry(1, size.one, size.one, size.three)], name="first")
    world.rest()
    world.start("small", size.one)
    world.start("middle", size.two)
    world.start("large", size.three)
    world.rest()
    world.start("other", size.three)
    world.start("tiny", size.one)
    world.rest()


def _create(world: World, board: str) -> None:
    world.start("new", sizes(board).two)


def _destroy(world: World, board: str) -> None:
    agent = world.pid1.agents.pop("middle")
    assert agent.uuid
    world.pid1.agents["middle"] = agent
    agent.wanted, agent.stopping = True, False
    agent.uuid = None
    world.pid1.mail.append(("Release", "middle"))
    world.pid1.mail.append(("Allocate", "middle"))


def _replace(world: World, board: str) -> None:
    world.pid1.agents["middle"].profile = sizes(board).three
    world.pid1.agents["middle"].uuid = None
    world.pid1.mail.append(("Allocate", "middle"))


def _repartition(world: World, board: str) -> None:
    size = sizes(board)
    wishes = [entry(0, size.four, size.one, size.two), entry(1, size.three, size.three)]
    world._try("Apply", entries=wishes, name="second")


def _impossible_in_practice(world: World, board: str) -> None:
    """A repartition that has to turn back: no creation succeeds for a while."""
    world.gpus.faults.append(Fault(CREATE, Kind.REFUSE, 5))
    _repartition(world, board)


KINDS: dict[str, Callable[[World, str], None]] = {
    "create": _create,
    "destroy": _destroy,
    "replace": _replace,
    "repartition": _repartition,
    "rollback": _impossible_in_practice,
    "recover": _repartition,
}


def run(kind: str, fault: str, board: str, moment: int) -> tuple[Verdict, bool]:
    """One case, and whether its fatal moment came at all."""
    with TemporaryDirectory(dir="/dev/shm") as folder:  # a tmpfs, as on the machine
        world = World(folder, board, board)
        world.restore(_peopled(board))
        if kind == "recover":  # a life was cut off in the middle, and the next is in danger
            world.moments.count, world.moments.fatal = 0, 1 + moment * 7 % 40
            KINDS[kind](world, board)
            for _ in range(40):
                if world.deaths:
                    break
                world.pid1.turn()
                world.deliver()
                try:
                    world.now += max(world.partitions.tick(), 0.0)
                except ProcessDeath:
                    world.die()
        world.gpus.faults += [Fault(*each) for each in FAULTS[fault]]
        before = world.deaths
        world.moments.count, world.moments.fatal = 0, moment
        if kind != "recover":
            KINDS[kind](world, board)
        wrong = [] if world.rest() else ["it never comes to rest"]
        died = world.deaths > before
        world.moments.fatal = 0
        world.ledger()
        wrong += world.verdict()
        if not world.heal():
            wrong.append("it never comes to rest after the faults")
        wrong += world.final_verdict()
        stranded = world.slices_stranded()
        overlapping = sum(each.startswith("overlap") for each in wrong)
        found = tuple(dict.fromkeys(wrong))
        return Verdict(kind, fault, board, moment, found, stranded, overlapping), died


def matrix(
    kinds: Iterator[str] | list[str], faults: list[str], boards: list[str], step: int = 1
) -> Iterator[Verdict]:
    """Every case of these kinds, faults and boards; with ``step``, every so many moments only."""
    for kind in kinds:
        for fault in faults:
            for board in boards:
                for moment in range(1, MOMENTS_MAX, step):
                    verdict, died = run(kind, fault, board, moment)
                    if not died:
                        break
                    yield verdict
