from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched.partition import Occupant, Plan, Want, Wish, plan_changes
from ainit.sched.place import Device, Instance, mask, union
from ainit.sched.records import Slot
from tests.unit.sched.fake_nvml import board

H100 = board("H100-80GB", 0)
SIZES = {profile.name: profile for profile in H100.profiles}


def live(profile: str, start: int, number: int = 1) -> Instance:
    return Instance(number, profile, start, SIZES[profile].memory, f"MIG-{number}", 1)


def plan(
    wants: list[str | tuple[str, int]],
    occupants: list[Occupant] | None = None,
    device: Device = H100,
    mig: bool | None = None,
) -> Plan:
    wish = Wish(tuple(Want(each) if isinstance(each, str) else Want(*each) for each in wants), mig)
    return plan_changes([device], {device.uuid: occupants or []}, {device.index: wish})


def places(slots: tuple[Slot, ...]) -> list[tuple[str, int]]:
    return [(slot.profile, slot.start) for slot in slots]


def reason(found: Plan) -> str:
    assert (found.keep, found.remove, found.create) == ((), (), ())
    [problem] = found.problems
    return problem.reason


def test_an_empty_gpu_is_filled_with_explicit_placements() -> None:
    found = plan(["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"])
    assert sorted(places(found.create)) == [
        ("1g.10gb", 2),
        ("1g.10gb", 3),
        ("2g.20gb", 0),
        ("3g.40gb", 4),
    ]
    assert not found.problems


def test_what_is_there_already_is_kept_in_its_place() -> None:
    occupants = [Occupant(live("1g.10gb", 5)), Occupant(live("2g.20gb", 2, 2))]
    found = plan(["2g.20gb", "1g.10gb"], occupants)
    assert (found.remove, found.create) == ((), ())
    assert sorted(places(found.keep)) == [("1g.10gb", 5), ("2g.20gb", 2)]


def test_nothing_in_use_moves_when_it_need_not() -> None:
    """A 3g fits beside the instance in use, though the idle one is in the way."""
    occupants = [Occupant(live("1g.10gb", 1), holder="busy"), Occupant(live("1g.10gb", 4, 2))]
    found = plan(["3g.40gb", "1g.10gb"], occupants)
    assert found.disturbed == ()
    assert places(found.keep) == [("1g.10gb", 1)]
    assert places(found.create) == [("3g.40gb", 4)]
    assert [each.instance for each in found.remove] == [2]


def test_one_in_use_counts_more_than_several_that_are_idle() -> None:
    occupants = [
        Occupant(live("1g.10gb", 4), holder="busy"),
        *(Occupant(live("1g.10gb", start, start + 2)) for start in (0, 1, 2, 3)),
    ]
    found = plan(["1g.10gb", "4g.40gb"], occupants)
    assert found.disturbed == ()
    assert len(found.remove) == 4


def test_what_must_be_disturbed_is_named() -> None:
    found = plan(["7g.80gb"], [Occupant(live("1g.10gb", 0), holder="speech")])
    assert found.disturbed == ("speech",)
    assert places(found.create) == [("7g.80gb", 0)]


def test_explicit_placements_are_taken() -> None:
    found = plan([("1g.10gb", 6), ("3g.40gb", 0)])
    assert sorted(places(found.create)) == [("1g.10gb", 6), ("3g.40gb", 0)]
    wrong = plan([("1g.10gb", 0), ("3g.40gb", 0)])
    assert "no arrangement" in reason(wrong)
    assert "1g.10gb@0" in reason(wrong)


def test_an_empty_wish_empties_the_gpu() -> None:
    found = plan([], [Occupant(live("1g.10gb", 0), holder="speech")])
    assert found.target == ()
    assert found.disturbed == ("speech",)
    assert found.gpus == (H100.uuid,)


@pytest.mark.parametrize(
    ("wants", "expected"),
    [
        (["9g.90gb"], "offers no 9g.90gb; it has 1g.10gb, 2g.20gb"),
        ([("2g.20gb", 1)], "cannot start at slice 1; it can at 0, 2, 4"),
        (["4g.40gb", "4g.40gb"], "2 4g.40gb are wished for, and NVIDIA H100 80GB HBM3 holds 1"),
        (["1g.10gb+me", "1g.10gb+me"], "holds 1"),
        (["7g.80gb", "1g.10gb"], "need 9 memory slices, and NVIDIA H100 80GB HBM3 has 8"),
        ([("3g.40gb", 0), "4g.40gb"], "no arrangement"),
    ],
)
def test_what_no_board_allows_is_said(wants: list[str | tuple[str, int]], expected: str) -> None:
    assert expected in reason(plan(wants))


def test_a_mode_is_never_switched() -> None:
    off = replace(H100, mig=False)
    assert "MIG is off" in reason(plan(["1g.10gb"], device=off))
    assert "MIG is on" in reason(plan([], mig=False))
    assert not plan([], device=off, mig=False).problems
    assert "never switches" in reason(plan([], mig=False))
    none = replace(H100, mig=False, profiles=())
    assert "has no MIG" in reason(plan(["1g.10gb"], device=none))


def test_an_instance_that_stays_is_in_the_way_and_named() -> None:
    stranger = Occupant(live("1g.10gb", 0), fixed="it is unknown", foreign=True)
    found = plan(["4g.40gb"], [stranger])
    assert "instance 1 (1g.10gb at slice 0) stays: it is unknown" in reason(found)
    assert places(plan(["3g.40gb"], [stranger]).create) == [("3g.40gb", 4)]


def test_a_foreign_instance_is_not_counted_and_ours_that_must_stay_is() -> None:
    stranger = Occupant(live("1g.10gb", 0), fixed="it is unknown", foreign=True)
    assert "no room" in reason(plan(["1g.10gb"] * 7, [stranger]))
    pinned = Occupant(live("1g.10gb", 0), fixed="process 7 is on it")
    found = plan(["1g.10gb"] * 7, [pinned])
    assert (len(found.keep), len(found.create)) == (1, 6)
    assert "process 7" in reason(plan(["2g.20gb"], [pinned]))


def test_quarantined_slices_are_avoided_and_named() -> None:
    sick = replace(H100, barred=0b0000_0001)
    assert places(plan(["3g.40gb"], device=sick).create) == [("3g.40gb", 4)]
    assert "quarantined" in reason(plan(["4g.40gb"], device=sick))
    stranger = Occupant(live("1g.10gb", 4), fixed="it is unknown", foreign=True)
    assert "beside the quarantined slices: instance 1" in reason(
        plan(["3g.40gb", "3g.40gb"], [stranger], sick)
    )


def test_several_gpus_are_all_or_nothing() -> None:
    devices = [H100, board("A100-40GB", 1)]
    good = {0: Wish((Want("1g.10gb"),)), 1: Wish((Want("1g.5gb"),))}
    found = plan_changes(devices, {}, good)
    assert [slot.gpu_uuid for slot in found.create] == [devices[0].uuid, devices[1].uuid]
    bad = plan_changes(devices, {}, {0: good[0], 1: good[0], 4: good[0]})
    assert [each.gpu for each in bad.problems] == [4]  # 1g.10gb is a double slice on an A100-40GB
    assert bad.create == ()


# ---- against an exhaustive search that shares no code with the planner


def exhaustive(device: Device, wants: list[str], occupants: list[Occupant]) -> int | None:
    """The fewest instances in use that any legal arrangement disturbs; None without one."""
    by_name = {profile.name: profile for profile in device.profiles}
    if any(wants.count(name) > by_name[name].limit for name in wants):
        return None
    in_use = {
        (each.instance.profile, each.instance.start)
        for each in occupants
        if each.holder is not None
    }
    best = None
    for starts in product(*(by_name[name].starts for name in wants)):
        taken: list[int] = [
            bit for name, start in zip(wants, starts, strict=True)
            for bit in range(start, start + by_name[name].memory)
        ]  # fmt: skip
        if len(taken) == len(set(taken)):
            kept = in_use & set(zip(wants, starts, strict=True))
            disturbed = len(in_use) - len(kept)
            best = disturbed if best is None else min(best, disturbed)
    return best


@st.composite
def occupied(draw: st.DrawFn) -> list[Occupant]:
    found: list[Occupant] = []
    taken = 0
    for name, start in draw(
        st.lists(
            st.sampled_from([(p.name, s) for p in H100.profiles for s in p.starts]), max_size=8
        )
    ):
        placed = mask(start, SIZES[name].memory)
        count = sum(each.instance.profile == name for each in found)
        if not placed & taken and count < SIZES[name].limit:
            taken |= placed
            number = len(found) + 1
            holder = f"agent{number}" if draw(st.booleans()) else None
            found.append(Occupant(live(name, start, number), holder))
    return found


@given(occupied(), st.lists(st.sampled_from([p.name for p in H100.profiles]), max_size=5))
def test_no_plan_disturbs_more_than_it_must(occupants: list[Occupant], wants: list[str]) -> None:
    found = plan(list(wants), occupants)
    least = exhaustive(H100, wants, occupants)
    if least is None:
        assert found.problems
        return
    assert len(found.disturbed) == least
    masks = [slot.mask for slot in found.target]
    assert sum(each.bit_count() for each in masks) == union(masks).bit_count()
    assert sorted(slot.profile for slot in found.target) == sorted(wants)
    removed = {each.instance for each in found.remove}
    kept = {each.instance.id for each in occupants} - removed
    assert len(kept) == len(found.keep)
