"""What the scheduler decides on: requests that wait, work that runs, and live GPUs. PURE.

A *request* says how long it would run on a whole GPU and how fast each profile is beside that; a
profile that is not among its speeds cannot hold it, so a memory floor and a fixed profile need no
field of their own. Work that runs under this scheduler is *running*; whatever else occupies slices
(an instance of somebody else, a drain, quarantine) is a *hold*, or an instance without a record.
Leaves out: which of all this a policy gets to see (``candidates``, ``features``).

    single("1g.10gb", devices)              # one agent that asks for one profile and must have it
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .place import Device, Profile

WINDOW_SHORTEST = 8  # requests that a decision considers: the shortest, and then the oldest
WINDOW_OLDEST = 4
DISPLACERS = 3  # the first of the window that may displace what runs; and its oldest
MOVERS = 4  # those that run and have most time left, of those that may be moved
OVERRUN = 0.5  # work that ran longer than it said is taken to need this share of it once more
RESIDENCY_S = 60.0  # what started so recently is left alone
UNKNOWN_S = 600.0  # the estimate for a request that gave none

# How fast an average training job runs by the share of the GPU's compute that it has: MISO's
# measurements on an A100 (Li et al., SoCC 2022), medians over 32 kinds, relative to the whole GPU.
_SHARES = (0.0, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 1.0)
_SPEEDS = (0.0, 0.31, 0.52, 0.67, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody who waits for an instance. All times in seconds.

    ``estimate_s``: the whole run on a whole GPU. ``attained_s``: how much of that is done already,
    by an earlier start that was cut off. ``restart_s``: what starting costs before work goes on.
    ``speeds``: by profile name, 1 for the whole GPU. ``weight``: how much a second of waiting
    counts; priorities and fair shares come in here. ``slack_s``: until its deadline; None: none.
    """

    name: str
    speeds: Mapping[str, float]
    estimate_s: float = UNKNOWN_S
    attained_s: float = 0.0
    waited_s: float = 0.0
    restart_s: float = 0.0
    weight: float = 1.0
    slack_s: float | None = None

    @property
    def left_s(self) -> float:
        """Work left, in seconds of a whole GPU."""
        return left(self.estimate_s, self.attained_s)

    @property
    def used(self) -> float:
        """Work done over the estimate: above 1 it took longer than was said."""
        return self.attained_s / max(self.estimate_s, 1.0)


@dataclass(frozen=True, slots=True)
class Running:
    """Work on the instance at ``start`` of GPU ``gpu``; ``request`` with what it has attained.

    ``since_s``: since it started here. ``movable``: whether it may be stopped and started anew.
    """

    request: Request
    gpu: int
    profile: str
    start: int
    since_s: float
    movable: bool = False

    @property
    def until_s(self) -> float:
        """Seconds until it ends, by its estimate."""
        return self.request.left_s / self.request.speeds[self.profile]


@dataclass(frozen=True, slots=True)
class Hold:
    """Memory slices of a GPU that nobody can have for about so long."""

    gpu: int
    mask: int
    seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment. ``may_wait``: whether doing nothing is an answer."""

    devices: Sequence[Device]
    queue: Sequence[Request]
    running: Sequence[Running] = ()
    holds: Sequence[Hold] = ()
    may_wait: bool = True
    slices: int = field(init=False)  # memory slices of all GPUs

    def __post_init__(self) -> None:
        total = sum(device.slices for device in self.devices if device.mig)
        object.__setattr__(self, "slices", total)


def single(profile: str, devices: Sequence[Device], name: str = "") -> State:
    """One request for one profile, and nothing else to choose."""
    return State(devices, (Request(name, {profile: 1.0}),), may_wait=False)


def left(estimate: float, attained: float) -> float:
    """Work left by an estimate that may be wrong: what outruns it needs about as much again."""
    return max(estimate - attained, OVERRUN * attained, 1.0)


def speed(profile: Profile, device: Device) -> float:
    """How fast an average job runs on the profile, 1 being the whole GPU."""
    whole = max(each.compute for each in device.profiles)
    share = profile.compute / whole
    for low, high, below, above in zip(_SHARES, _SHARES[1:], _SPEEDS, _SPEEDS[1:], strict=False):
        if share <= high:
            return below + (above - below) * (share - low) / (high - low)
    return 1.0


def speeds(devices: Iterable[Device], memory_mib: int = 0) -> dict[str, float]:
    """Speeds of a job of which only its memory is known. Media engines are for who names them."""
    return {
        profile.name: speed(profile, device)
        for device in devices
        if device.mig
        for profile in device.profiles
        if profile.memory_mib >= memory_mib and "+" not in profile.name
    }


def least_area(request: Request, memory: Mapping[str, int]) -> float:
    """Slice-seconds of the thriftiest profile, over the weight; ``memory``: slices by profile."""
    work = request.left_s
    areas = (
        (work / fast + request.restart_s) * memory[name]
        for name, fast in request.speeds.items()
        if name in memory and fast > 0
    )
    return min(areas, default=math.inf) / request.weight


def memory_of(devices: Iterable[Device]) -> dict[str, int]:
    """Memory slices by profile name, over all boards that have MIG on."""
    return {
        profile.name: profile.memory
        for device in devices
        if device.mig
        for profile in device.profiles
    }


def window(queue: Sequence[Request], memory: Mapping[str, int]) -> list[Request]:
    """The requests that a decision considers: the shortest, then the oldest of the others.

    What no board here can hold is left out.
    """
    areas = [(least_area(each, memory), place) for place, each in enumerate(queue)]
    able = sorted(each for each in areas if each[0] < math.inf)
    chosen = [place for _, place in able[:WINDOW_SHORTEST]]
    others = sorted((-queue[place].waited_s, place) for _, place in able[WINDOW_SHORTEST:])
    return [queue[place] for place in [*chosen, *(place for _, place in others[:WINDOW_OLDEST])]]
