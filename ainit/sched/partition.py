"""From what GPUs hold to what they shall hold: the smallest set of changes. PURE.

For each GPU the best arrangement is found by search over its mask of memory slices: the fewest
instances in use disturbed, then the fewest instances changed, then the least fragmentation left,
then the lowest slices. Every placement is explicit, and the MIG mode is never part of a plan:
switching it may reset a board. Where there is no way, the plan says why, and what is in the way.

    plan = plan_changes(devices, occupants, {0: Wish((Want("3g.40gb"), Want("1g.10gb", 4)))})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from .place import Device, Instance, Profile, mask, stranded, union
from .records import Slot

_NONE = "there is no arrangement of {wanted} on {board}, even an empty one"


@dataclass(frozen=True, slots=True)
class Want:
    """One instance of a wished-for partition; ``start`` is None where any place will do."""

    profile: str
    start: int | None = None

    def __str__(self) -> str:
        return self.profile if self.start is None else f"{self.profile}@{self.start}"


@dataclass(frozen=True, slots=True)
class Wish:
    """All that one GPU shall hold. ``mig`` is the mode it is said to have, None for either."""

    wants: tuple[Want, ...]
    mig: bool | None = None


@dataclass(frozen=True, slots=True)
class Occupant:
    """A live instance. ``holder`` is the agent in it; ``fixed`` says why it must stay, or "". A
    ``foreign`` one is never counted towards what is wished for.
    """

    instance: Instance
    holder: str | None = None
    fixed: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """An instance that has to go, and who is disturbed by that."""

    slot: Slot
    gpu: int
    instance: int
    holder: str | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a GPU cannot be what it shall be."""

    gpu: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes. With ``problems`` there are none: it is all or nothing."""

    gpus: tuple[str, ...] = ()
    keep: tuple[Slot, ...] = ()
    remove: tuple[Removal, ...] = ()
    create: tuple[Slot, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def target(self) -> tuple[Slot, ...]:
        """All that the GPUs of the plan will hold."""
        return (*self.keep, *self.create)

    @property
    def disturbed(self) -> tuple[str, ...]:
        """The agents that lose their instance, in order and once each."""
        return tuple(dict.fromkeys(each.holder for each in self.remove if each.holder is not None))


def plan_changes(
    devices: Sequence[Device],
    occupants: Mapping[str, Sequence[Occupant]],
    wishes: Mapping[int, Wish],
) -> Plan:
    """The changes that make each GPU in ``wishes`` (by index) hold exactly what is wished for.

    ``occupants`` are the live instances by GPU UUID. GPUs without a wish stay as they are.
    """
    by_index = {device.index: device for device in devices}
    plan = Plan()
    for index, wish in sorted(wishes.items()):
        device = by_index.get(index)
        if device is None:
            problem = Problem(index, f"there is no GPU {index}")
            plan = replace(plan, problems=(*plan.problems, problem))
            continue
        plan = _joined(plan, _plan_gpu(device, occupants.get(device.uuid, ()), wish))
    if plan.problems:
        return Plan(problems=plan.problems)
    return plan


def _joined(one: Plan, other: Plan) -> Plan:
    return Plan(
        (*one.gpus, *other.gpus),
        (*one.keep, *other.keep),
        (*one.remove, *other.remove),
        (*one.create, *other.create),
        (*one.problems, *other.problems),
    )


def _plan_gpu(device: Device, occupants: Sequence[Occupant], wish: Wish) -> Plan:
    if reasons := _mode_problems(device, wish):
        return Plan(problems=tuple(Problem(device.index, each) for each in reasons))
    if not device.mig and not wish.wants:
        return Plan()
    if reasons := [each for want in wish.wants for each in _want_problems(device, want)]:
        return Plan(problems=tuple(Problem(device.index, each) for each in dict.fromkeys(reasons)))
    found = arrange(device, occupants, wish.wants)
    if found is None:
        return Plan(problems=(Problem(device.index, _why_not(device, occupants, wish.wants)),))
    wanted = set(found)
    ours = {_slot(device, each.instance): each for each in occupants if not each.foreign}
    return Plan(
        gpus=(device.uuid,),
        keep=tuple(slot for slot in found if slot in ours),
        remove=tuple(
            Removal(slot, device.index, each.instance.id, each.holder)
            for slot, each in ours.items()
            if slot not in wanted
        ),
        create=tuple(slot for slot in found if slot not in ours),
    )


def arrange(
    device: Device, occupants: Sequence[Occupant], wants: Sequence[Want]
) -> tuple[Slot, ...] | None:
    """The best place for each of ``wants`` on the board, by start; None when there is none.

    Exact: every arrangement is considered, as paths through the masks of occupied slices. Equal
    wants take rising starts, so that none is considered twice.
    """
    profiles = [device.profile(want.profile) for want in wants]
    items = sorted(
        ((profile, want.start) for profile, want in zip(profiles, wants, strict=True) if profile),
        key=lambda item: (-item[0].memory, item[0].name, item[1] is None, item[1] or 0),
    )
    if len(items) < len(wants):
        return None
    blocked = device.barred | union(each.instance.mask for each in occupants if each.foreign)
    live = {
        (each.instance.profile, each.instance.start): each for each in occupants if not each.foreign
    }
    staying = sum(bool(each.fixed) for each in live.values())

    @cache
    def best(index: int, taken: int, least: int) -> tuple[_Score, tuple[int, ...]] | None:
        """Score and starts of the best way to place the items from ``index`` on."""
        if index == len(items):
            return (0, 0, 0, -stranded(device, taken)), ()
        profile, start = items[index]
        found: tuple[_Score, tuple[int, ...]] | None = None
        for each in profile.starts if start is None else (start,):
            placed = mask(each, profile.memory)
            if placed & taken or each < least or each not in profile.starts:
                continue
            after = index + 1
            is_equal = after < len(items) and items[after] == items[index]
            rest = best(after, taken | placed, each if is_equal else 0)
            if rest is None:
                continue
            (fixed, in_use, kept, whole), starts = rest
            if (held := live.get((profile.name, each))) is not None:
                fixed, in_use = fixed + bool(held.fixed), in_use + (held.holder is not None)
                kept += 1
            score = (fixed, in_use, kept, whole)
            if found is None or score > found[0]:
                found = score, (each, *starts)
        return found

    answer = best(0, blocked, 0)
    if answer is None or answer[0][0] < staying or not _within_limits(device, occupants, items):
        return None
    slots = [
        Slot(device.uuid, profile.name, start, profile.memory)
        for (profile, _), start in zip(items, answer[1], strict=True)
    ]
    return tuple(sorted(slots, key=lambda slot: slot.start))


# Instances kept: those that must stay, those in use, all. Then, negative, the slices left stranded.
_Score = tuple[int, int, int, float]


def _within_limits(
    device: Device, occupants: Sequence[Occupant], items: Sequence[tuple[Profile, int | None]]
) -> bool:
    fixed = [each.instance.profile for each in occupants if each.foreign]
    names = [profile.name for profile, _ in items] + fixed
    return all(names.count(profile.name) <= profile.limit for profile in device.profiles)


def _slot(device: Device, instance: Instance) -> Slot:
    return Slot(device.uuid, instance.profile, instance.start, instance.size)


# ---- why not


def _mode_problems(device: Device, wish: Wish) -> list[str]:
    never = "a plan never switches MIG, for that may reset the board"
    if wish.mig is False and wish.wants:
        return ["instances are wished for where MIG is to be off"]
    if wish.mig is False and device.mig:
        return [f"MIG is on, and is to be off: {never}"]
    if not device.profiles and (wish.mig or wish.wants):
        return [f"{device.name} has no MIG"]
    if not device.mig and (wish.mig or wish.wants):
        return [f"MIG is off: {never}; switch it on with nvidia-smi while the GPU is idle"]
    return []


def _want_problems(device: Device, want: Want) -> list[str]:
    profile = device.profile(want.profile)
    if profile is None:
        offered = ", ".join(each.name for each in device.profiles)
        return [f"{device.name} offers no {want.profile}; it has {offered}"]
    if want.start is not None and want.start not in profile.starts:
        starts = ", ".join(str(start) for start in profile.starts)
        return [f"{want.profile} cannot start at slice {want.start}; it can at {starts}"]
    return []


def _why_not(device: Device, occupants: Sequence[Occupant], wants: Sequence[Want]) -> str:
    wanted = ", ".join(str(want) for want in wants)
    empty = replace(device, barred=0)
    if arrange(empty, (), wants) is None:
        return _why_not_even_empty(device, wants, wanted)
    fixed = [each for each in occupants if each.fixed]
    in_the_way = "; ".join(
        f"instance {each.instance.id} ({each.instance.profile} at slice {each.instance.start}) "
        f"stays: {each.fixed}"
        for each in fixed
    )
    if arrange(empty, fixed, wants) is not None:
        return f"there is no room for {wanted} beside the slices that are quarantined"
    if arrange(device, (), wants) is not None:
        return f"there is no room for {wanted}: {in_the_way}"
    return f"there is no room for {wanted} beside the quarantined slices: {in_the_way}"


def _why_not_even_empty(device: Device, wants: Sequence[Want], wanted: str) -> str:
    for profile in device.profiles:
        count = sum(want.profile == profile.name for want in wants)
        if count > profile.limit:
            return f"{count} {profile.name} are wished for, and {device.name} holds {profile.limit}"
    sizes = {profile.name: profile.memory for profile in device.profiles}
    needed = sum(sizes[want.profile] for want in wants)
    if needed > device.slices:
        return f"{wanted} need {needed} memory slices, and {device.name} has {device.slices}"
    return _NONE.format(wanted=wanted, board=device.name)
