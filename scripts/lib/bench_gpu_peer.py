"""The same tasks given to a straightforward apply, in the manner of mig-parted: no journal.

Where a GPU is not as it shall be, all its instances are destroyed, then the profiles are created
in some order with placements of the driver's choice; when one does not fit, the GPU is cleared and
the next order is tried. All agents are stopped before, as mig-parted's manager does it. A death
ends it; a driver's error ends it, too. It may be run once more when the fault is over. What it
leaves is compared with what it found and what it was to make: a GPU that is neither has lost its
slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from ainit.sched.errors import GpuError
from ainit.sched.place import Device, mask
from tests.unit.sched.crash_cases import FAULTS, Sizes, sizes
from tests.unit.sched.fake_nvml import FakeNvml, Fault, ProcessDeath

ORDERS_MAX = 24


@dataclass(frozen=True)
class Left:
    """What one case left: slices that are of no use to anybody, at once and after one more run."""

    stranded: int
    stranded_after_rerun: int
    failed: bool


def before_of(size: Sizes) -> tuple[tuple[str, ...], ...]:
    """What the two GPUs hold at first."""
    return (size.three,), (size.one, size.one, size.two, size.three)


def after_of(size: Sizes) -> tuple[tuple[str, ...], ...]:
    """What they shall hold."""
    return (size.four, size.one, size.two), (size.three, size.three)


def run(fault: str, board: str, moment: int) -> tuple[Left, bool]:
    """One case, and whether its fatal moment came."""
    gpus = FakeNvml(board, board)
    size = sizes(board)
    before, after = before_of(size), after_of(size)
    apply(gpus, before)
    gpus.faults = [Fault(*each) for each in FAULTS[fault]]
    count = 0

    def tick(call: str, when: str) -> None:
        nonlocal count
        count += 1
        if count == moment:
            raise ProcessDeath(f"{when} {call}")

    gpus.on_call = tick
    died = failed = False
    try:
        apply(gpus, after)
    except ProcessDeath:
        died = True
    except GpuError:
        failed = True
    gpus.on_call = lambda call, when: None
    gpus.heal()
    stranded = lost_slices(gpus.devices(), (before, after))
    try:
        apply(gpus, after)
    except GpuError:
        failed = True
    return Left(stranded, lost_slices(gpus.devices(), (before, after)), failed), died


def apply(gpus: FakeNvml, wanted: Sequence[Sequence[str]]) -> None:
    """Clear, and create in the first order that fits. Raises GpuError."""
    for index, profiles in enumerate(wanted):
        device = _device(gpus, index)
        if sorted(each.profile for each in device.instances) == sorted(profiles):
            continue
        orders = dict.fromkeys(permutations(sorted(profiles)))
        for order, _ in zip(orders, range(ORDERS_MAX), strict=False):
            _clear(gpus, index)
            if _create(gpus, index, order):
                break
        else:
            raise GpuError(f"GPU {index}: no order of {', '.join(profiles)} fits")


def _clear(gpus: FakeNvml, index: int) -> None:
    for instance in _device(gpus, index).instances:
        if instance.computes:
            gpus.destroy_compute_instances(index, instance.id)
        gpus.destroy_gpu_instance(index, instance.id)


def _create(gpus: FakeNvml, index: int, order: Sequence[str]) -> bool:
    for name in order:
        start = drivers_choice(_device(gpus, index), name)
        if start is None:
            return False
        number = gpus.create_gpu_instance(index, name, start)
        gpus.create_compute_instance(index, number)
    return True


def drivers_choice(device: Device, name: str) -> int | None:
    """Where a driver puts an instance without a placement: the highest free place."""
    profile = device.profile(name)
    assert profile is not None
    free = [each for each in profile.starts if not mask(each, profile.memory) & device.occupied]
    return max(free, default=None)


def _device(gpus: FakeNvml, index: int) -> Device:
    for device in gpus.devices():
        if device.index == index:
            return device
    raise GpuError(f"GPU {index} is gone")


def lost_slices(devices: Sequence[Device], good: Sequence[Sequence[Sequence[str]]]) -> int:
    """Slices of GPUs that hold neither what they did nor what they shall: of instances that are not
    whole or in neither, and of those that are missing.
    """
    lost = 0
    for device in devices:
        whole = sorted(each.profile for each in device.instances if each.computes)
        halves = sum(each.size for each in device.instances if not each.computes)
        states = [sorted(state[device.index]) for state in good]
        if whole in states and not halves:
            continue
        lost += device.slices
    return lost
