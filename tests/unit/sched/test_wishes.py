from __future__ import annotations

import pytest

from ainit.sched.partition import Want, Wish
from ainit.sched.wishes import Entry, assign, parse_entries
from tests.unit.sched.fake_nvml import board

DEVICES = [board("H100-80GB", 0), board("A100-40GB", 1)]
H100, A100 = (device.pci_device_id for device in DEVICES)
ONE, TWO = Wish((Want("1g.10gb"),)), Wish((Want("2g.20gb"),))


def test_an_entry_for_all_is_for_each() -> None:
    found = assign([Entry(None, (), ONE)], DEVICES)
    assert found.wishes == {0: ONE, 1: ONE}
    assert (found.entries, found.objections) == ({0: 0, 1: 0}, ())


def test_kinds_choose_among_them() -> None:
    found = assign([Entry(None, (H100,), ONE), Entry(None, (A100, 7), TWO)], DEVICES)
    assert found.wishes == {0: ONE, 1: TWO}
    assert found.entries == {0: 0, 1: 1}
    assert assign([Entry((0,), (A100,), ONE), Entry((1,), (), TWO)], DEVICES).wishes == {1: TWO}


def test_two_entries_for_one_gpu_are_one_too_many() -> None:
    found = assign([Entry(None, (), ONE), Entry((1,), (), TWO)], DEVICES)
    [objection] = found.objections
    assert (objection.entry, objection.gpu) == (1, 1)
    assert "an entry already" in objection.reason


def test_a_gpu_that_is_named_must_be_there() -> None:
    [objection] = assign([Entry((2,), (), ONE)], DEVICES).objections
    assert objection.reason == "there is no GPU 2"


def test_entries_that_apply_to_nothing_say_what_there_is() -> None:
    [objection] = assign([Entry(None, (7,), ONE)], DEVICES).objections
    assert "0x233010de (NVIDIA H100 80GB HBM3)" in objection.reason


def test_entries_come_over_the_wire() -> None:
    want = {"profile": "1g.10gb", "start": 3}
    [entry] = parse_entries([{"gpus": [0, 1], "kinds": [7], "mig": True, "instances": [want]}])
    assert entry == Entry((0, 1), (7,), Wish((Want("1g.10gb", 3),), True))
    assert parse_entries([{}]) == (Entry(None, (), Wish(())),)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [7],
        [{"gpus": [True]}],
        [{"gpus": 0}],
        [{"kinds": ["0x10"]}],
        [{"mig": 1}],
        [{"instances": {}}],
        [{"instances": ["1g.10gb"]}],
        [{"instances": [{"profile": ""}]}],
        [{"instances": [{"profile": "1g.10gb", "start": "0"}]}],
    ],
)
def test_what_is_no_entry_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_entries(value)
