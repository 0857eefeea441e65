"""Where a GPU instance may go, and where it had best go. PURE: values in, values out.

On every MIG board the occupied *memory slices* decide feasibility: placements that do not overlap
in memory always have enough compute slices. So one bit mask per GPU is the whole state. Leaves out:
the learned policy (``onnx``) and everything that touches a driver (``nvml``).

>>> mask(4, 4)
240
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of GPU instance that a board offers. ``memory`` and ``starts`` are memory slices."""

    name: str
    id: int
    compute: int
    memory: int
    limit: int
    starts: tuple[int, ...]
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A live GPU instance. ``uuid`` is its MIG device's, None without a full compute instance."""

    id: int
    profile: str
    start: int
    size: int
    uuid: str | None
    computes: int

    @property
    def mask(self) -> int:
        """The memory slices that it occupies."""
        return mask(self.start, self.size)


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as it is now. ``barred`` are memory slices that nothing may be placed on, although no
    instance is there.
    """

    index: int
    uuid: str
    name: str
    mig: bool
    memory_mib: int
    profiles: tuple[Profile, ...]
    instances: tuple[Instance, ...]
    barred: int = 0
    pci_device_id: int = 0

    @property
    def slices(self) -> int:
        """How many memory slices the board has; 0 when it offers no profile."""
        return max((p.memory + start for p in self.profiles for start in p.starts), default=0)

    @property
    def occupied(self) -> int:
        """The memory slices that are taken or barred."""
        return self.barred | union(instance.mask for instance in self.instances)

    def profile(self, name: str) -> Profile | None:
        """The profile of that name, if the board offers it."""
        return next((profile for profile in self.profiles if profile.name == name), None)

    def with_instances(self, instances: tuple[Instance, ...]) -> Device:
        """The same GPU with other instances on it."""
        return replace(self, instances=instances)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody's idea of where an instance should go. Nothing about it is trusted."""

    gpu: int
    profile: str
    start: int
    size: int

    @property
    def mask(self) -> int:
        """The memory slices that it would occupy."""
        return mask(self.start, self.size)


def mask(start: int, size: int) -> int:
    """The bits of ``size`` slices from ``start``."""
    return ((1 << size) - 1) << start


def union(masks: Iterable[int]) -> int:
    """All bits of ``masks``."""
    result = 0
    for each in masks:
        result |= each
    return result


def check(proposal: Proposal, profile: str, devices: Sequence[Device]) -> list[str]:
    """Everything that is wrong with a proposal for ``profile`` on the live ``devices``."""
    device = next((device for device in devices if device.index == proposal.gpu), None)
    if device is None:
        return [f"there is no GPU {proposal.gpu}"]
    findings = []
    if not device.mig:
        findings.append(f"MIG is off on GPU {device.index}")
    if proposal.profile != profile:
        findings.append(f"{profile} was asked for, not {proposal.profile}")
    offered = device.profile(proposal.profile)
    if offered is None:
        return [*findings, f"GPU {device.index} offers no {proposal.profile}"]
    if proposal.start not in offered.starts:
        findings.append(f"{offered.name} cannot start at slice {proposal.start}")
    if proposal.size != offered.memory:
        findings.append(f"{offered.name} takes {offered.memory} slices, not {proposal.size}")
    elif proposal.start >= 0:
        findings += [
            f"it overlaps instance {each.id} ({each.profile} at {each.start}:{each.size})"
            for each in device.instances
            if each.mask & proposal.mask
        ]
        if device.barred & proposal.mask:
            findings.append("its slices are quarantined or reserved")
    if sum(each.profile == offered.name for each in device.instances) >= offered.limit:
        findings.append(f"GPU {device.index} holds its {offered.limit} {offered.name}")
    return findings


def candidates(profile: str, devices: Sequence[Device]) -> list[Proposal]:
    """Every placement that the boards allow for ``profile``, free or not, in a fixed order."""
    return [
        Proposal(device.index, profile, start, offered.memory)
        for device in devices
        if device.mig and (offered := device.profile(profile)) is not None
        for start in offered.starts
    ]


def stranded(device: Device, occupied: int) -> float:
    """Free slices that a profile cannot use, averaged over the board's profiles.

    The fragmentation measure of Weng et al., "Beware of Fragmentation" (USENIX ATC 2023), on MIG
    masks, with every profile equally likely.
    """
    free = mask(0, device.slices) & ~occupied
    lost = 0
    for profile in device.profiles:
        usable = union(
            placement
            for start in profile.starts
            if not (placement := mask(start, profile.memory)) & occupied
        )
        lost += (free & ~usable).bit_count()
    return lost / len(device.profiles) if device.profiles else 0.0


def best(profile: str, devices: Sequence[Device]) -> Proposal | None:
    """The heuristic: strand least, then fill the fullest GPU, then the lowest GPU and slice.

    None when no placement is legal. The same devices always give the same answer.
    """
    by_index = {device.index: device for device in devices}

    def cost(proposal: Proposal) -> tuple[float, int, int, int]:
        device = by_index[proposal.gpu]
        occupied = device.occupied
        worse = stranded(device, occupied | proposal.mask) - stranded(device, occupied)
        return (worse, device.slices - occupied.bit_count(), proposal.gpu, proposal.start)

    legal = [each for each in candidates(profile, devices) if not check(each, profile, devices)]
    return min(legal, key=cost, default=None)
