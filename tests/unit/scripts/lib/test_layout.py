"""The layout that updates can never change: these numbers are promises to machines in the field."""

import uuid

import pytest
from lib.architecture import AARCH64, X86_64, Architecture
from lib.layout import MIB, PARTITIONS, SLOT, Slot, partitions, slot_uuids


def test_the_layout_is_the_one_that_machines_in_the_field_have() -> None:
    assert {name: partition.size // MIB for name, partition in PARTITIONS.items()} == {
        "esp": 1024,
        "root_a": 1024,
        "verity_a": 16,
        "root_b": 1024,
        "verity_b": 16,
        "state": 512,
    }
    assert {str(partition.uuid) for partition in PARTITIONS.values()} == {
        "32e3310a-5968-57b7-ba69-f84d13931c4e",
        "b548cd85-6d91-54ff-ac25-e1aa675f9f96",
        "2fa4786c-7afe-597f-9ed2-193fb316601f",
        "f6f9dca7-03a3-5c2a-91f2-8e04ab90cfbf",
        "3e76ab6e-1ca6-5e19-a051-3962ac3996bd",
        "15a8e4b5-2bb0-5d20-996c-3192e9d9f8e4",
    }


@pytest.mark.parametrize(
    ("architecture", "root", "verity"),
    [
        (X86_64, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
        (AARCH64, "b921b045-1df0-41c3-af44-4c6f280d3fae", "df3300ce-d69f-4c92-978c-9bfb0f38d820"),
    ],
)
def test_slots_have_the_types_of_the_discoverable_partitions_specification(
    architecture: Architecture, root: str, verity: str
) -> None:
    found = partitions(architecture, SLOT)
    assert {str(found[name].type) for name in ("root_a", "root_b")} == {root}
    assert {str(found[name].type) for name in ("verity_a", "verity_b")} == {verity}


def test_a_larger_slot_changes_nothing_but_its_partitions_sizes() -> None:
    found = partitions(X86_64, Slot(root_mib=2048, verity_mib=32))
    changed = {name: p.size // MIB for name, p in found.items() if p != PARTITIONS[name]}
    assert changed == {"root_a": 2048, "verity_a": 32, "root_b": 2048, "verity_b": 32}
    assert [p.uuid for p in found.values()] == [p.uuid for p in PARTITIONS.values()]


def test_a_slot_is_named_by_the_halves_of_its_root_hash() -> None:
    root, verity = slot_uuids("00112233445566778899aabbccddeeff" + "f" * 32)
    assert root == uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert verity == uuid.UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")


def test_what_is_no_root_hash_names_no_slot() -> None:
    with pytest.raises(ValueError, match="not a SHA-256 root hash"):
        slot_uuids("abc")
