"""The table of faults is complete, and each entry does something."""

from __future__ import annotations

import pytest
from lib.host import HostError
from lib.layout import FIRST_OFFSET, PARTITIONS
from lib.qemu import Hardware
from lib.scenario import SCENARIOS
from lib.state_partition import partition_offset
from lib.tamper import TAMPERS


def test_every_fault_is_judged_and_every_judgement_has_its_fault() -> None:
    assert set(TAMPERS) == set(SCENARIOS) - {""}


@pytest.mark.parametrize("name", TAMPERS)
def test_a_fault_changes_the_disk_or_the_machine(name: str) -> None:
    fault = TAMPERS[name]
    changes_machine = fault.hardware(Hardware()) != Hardware()
    if name == "evidence":  # altered on the host, after the machine gave it
        assert not changes_machine
        assert fault.edit is None
    else:
        assert changes_machine == (fault.edit is None)
    assert fault.description
    assert fault.expectation


def test_partitions_follow_each_other() -> None:
    assert partition_offset("esp") == FIRST_OFFSET
    assert partition_offset("root_a") == FIRST_OFFSET + PARTITIONS["esp"].size
    assert partition_offset("state") == FIRST_OFFSET + sum(
        partition.size for name, partition in PARTITIONS.items() if name != "state"
    )
    with pytest.raises(HostError, match="no partition home"):
        partition_offset("home")
