from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import place
from ainit.sched.place import Device, Instance, Proposal
from tests.unit.sched.fake_nvml import board

BOARDS = (
    "A100-40GB", "A100-80GB", "H100-80GB", "H200-141GB", "B200-180GB", "A30-24GB",
)  # fmt: skip


def holding(device: Device, *placements: tuple[str, int]) -> Device:
    """The device with instances of these profiles at these starts."""
    instances = []
    for number, (name, start) in enumerate(placements, 1):
        profile = device.profile(name)
        assert profile is not None
        instances.append(Instance(number, name, start, profile.memory, f"MIG-{number}", 1))
    return replace(device, instances=tuple(instances))


@st.composite
def machines(draw: st.DrawFn) -> tuple[Device, ...]:
    """Up to three GPUs that were filled by legal placements, in any order."""
    devices = [
        replace(board(draw(st.sampled_from(BOARDS)), index), mig=draw(st.integers(0, 9)) > 0)
        for index in range(draw(st.integers(0, 3)))
    ]
    for index, device in enumerate(devices):
        for _ in range(draw(st.integers(0, 6))):
            profile = draw(st.sampled_from([each.name for each in device.profiles]))
            live = [replace(devices[index], mig=True)]
            legal = [
                each
                for each in place.candidates(profile, live)
                if not place.check(each, profile, live)
            ]
            if legal:
                chosen = draw(st.sampled_from(legal))
                held = [(each.profile, each.start) for each in devices[index].instances]
                devices[index] = holding(devices[index], *held, (profile, chosen.start))
    return tuple(devices)


PROFILES = st.sampled_from(["1g.10gb", "1g.10gb+me", "1g.5gb", "2g.20gb", "3g.40gb", "7g.80gb"])
PROPOSALS = st.builds(
    Proposal, st.integers(-1, 4), PROFILES, st.integers(-3, 12), st.integers(-1, 9).map(abs)
)


def overlaps(proposal: Proposal, device: Device) -> bool:
    """Slice by slice, without masks."""
    wanted = set(range(proposal.start, proposal.start + proposal.size))
    taken = {
        slot for each in device.instances for slot in range(each.start, each.start + each.size)
    }
    return bool(wanted & taken)


@given(machines(), PROPOSALS, PROFILES)
def test_whatever_the_checker_passes_can_be_made(
    devices: tuple[Device, ...], proposal: Proposal, asked: str
) -> None:
    if place.check(proposal, asked, devices):
        return
    device = devices[proposal.gpu]
    profile = device.profile(asked)
    assert profile is not None
    assert device.mig
    assert proposal.profile == asked
    assert proposal.start in profile.starts
    assert proposal.size == profile.memory
    assert not overlaps(proposal, device)
    assert sum(each.profile == asked for each in device.instances) < profile.limit


@given(machines(), PROPOSALS)
def test_whatever_can_be_made_the_checker_passes(
    devices: tuple[Device, ...], proposal: Proposal
) -> None:
    """The checker refuses nothing that an independent reading of the rules allows."""
    device = next((each for each in devices if each.index == proposal.gpu), None)
    offered = device.profile(proposal.profile) if device else None
    allowed = (
        device is not None
        and offered is not None
        and device.mig
        and proposal.start in offered.starts
        and proposal.size == offered.memory
        and not overlaps(proposal, device)
        and sum(each.profile == offered.name for each in device.instances) < offered.limit
    )
    assert (not place.check(proposal, proposal.profile, devices)) == allowed


@given(machines(), PROFILES)
def test_the_heuristic_places_whenever_there_is_room(
    devices: tuple[Device, ...], profile: str
) -> None:
    best = place.best(profile, devices)
    legal = [
        each
        for each in place.candidates(profile, devices)
        if not place.check(each, profile, devices)
    ]
    assert (best in legal) if legal else (best is None)
    assert best == place.best(profile, tuple(reversed(devices)))


@given(machines())
def test_stranded_slices_are_free_ones(devices: tuple[Device, ...]) -> None:
    for device in devices:
        lost = place.stranded(device, device.occupied)
        assert 0.0 <= lost <= device.slices - device.occupied.bit_count()


@pytest.mark.parametrize("name", ["1g.10gb", "2g.20gb", "3g.40gb", "1g.20gb"])
def test_the_heuristic_fills_a_machine_without_overlap(name: str) -> None:
    devices = [board("H100-80GB", 0), board("H100-80GB", 1)]
    profile = devices[0].profile(name)
    assert profile is not None
    placed = 0
    while (best := place.best(name, devices)) is not None:
        device = devices[best.gpu]
        assert not overlaps(best, device)
        held = [(each.profile, each.start) for each in device.instances]
        devices[best.gpu] = holding(device, *held, (name, best.start))
        placed += 1
    assert placed == 2 * profile.limit


def test_every_reason_is_given() -> None:
    device = replace(holding(board("H100-80GB", 0), ("1g.10gb+me", 0)), mig=False)
    findings = place.check(Proposal(0, "1g.10gb+me", 0, 2), "1g.10gb", [device])
    assert len(findings) == 4
    assert "MIG is off" in findings[0]
    assert "1g.10gb was asked for" in findings[1]
    assert "takes 1 slices, not 2" in findings[2]
    assert "holds its 1" in findings[3]
    [overlap] = place.check(Proposal(0, "3g.40gb", 0, 4), "3g.40gb", [replace(device, mig=True)])
    assert overlap == "it overlaps instance 1 (1g.10gb+me at 0:1)"
    assert place.check(Proposal(7, "1g.10gb", 0, 1), "1g.10gb", [device]) == ["there is no GPU 7"]


def test_the_heuristic_keeps_large_placements_open() -> None:
    """After a small instance it goes on where that already was, and spares the empty GPU."""
    devices = [board("H100-80GB", 0), holding(board("H100-80GB", 1), ("1g.10gb", 6))]
    best = place.best("1g.20gb", devices)
    assert best is not None
    assert (best.gpu, best.start) == (1, 4)


def test_an_empty_board_strands_only_what_no_profile_reaches() -> None:
    """Slice 7 is out of reach of 1g, 1g+me, 2g and 4g; 4g cannot reach 4 to 6 either."""
    device = board("H100-80GB", 0)
    assert place.stranded(device, 0) == pytest.approx((1 + 1 + 0 + 2 + 0 + 4 + 0) / 7)
    assert place.stranded(device, 0xFF) == 0.0


def test_a_board_without_mig_has_no_slices() -> None:
    bare = replace(board("H100-80GB", 0), profiles=(), mig=False)
    assert bare.slices == 0
    assert place.stranded(bare, 0) == 0.0
    assert place.candidates("1g.10gb", [bare]) == []
