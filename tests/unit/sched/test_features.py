from __future__ import annotations

from hypothesis import given

from ainit.sched import features, place
from ainit.sched.place import Device, Proposal
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.test_place import PROFILES, holding, machines


@given(machines(), PROFILES)
def test_features_are_in_range_and_named(devices: tuple[Device, ...], profile: str) -> None:
    by_index = {device.index: device for device in devices}
    for proposal in place.candidates(profile, devices):
        row = features.describe(proposal, by_index[proposal.gpu])
        assert len(row) == len(features.NAMES)
        assert all(0.0 <= value <= 1.0 for value in row)


def test_features_of_one_candidate() -> None:
    device = holding(board("H100-80GB", 0), ("1g.10gb", 0))
    row = features.describe(Proposal(0, "2g.20gb", 2, 2), device)
    named = dict(zip(features.NAMES, row, strict=True))
    assert row[:8] == [1, 0, 1, 1, 0, 0, 0, 0]
    assert row[8:16] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert (named["free_after"], named["opens_gpu"]) == (5 / 8, 0)
    assert (named["compute"], named["slices"]) == (2 / 7, 1)


def test_a_small_board_shows_the_rest_as_occupied() -> None:
    row = features.describe(Proposal(0, "1g.6gb", 0, 1), board("A30-24GB", 0))
    assert row[:8] == [1, 0, 0, 0, 1, 1, 1, 1]
    assert dict(zip(features.NAMES, row, strict=True))["slices"] == 0.5


def test_the_schema_follows_the_names() -> None:
    """A change of the features must change this digest, or old policies would be misread."""
    assert len(features.NAMES) == 22
    assert features.SCHEMA[:16] == "fa321be957460879"
