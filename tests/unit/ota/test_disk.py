"""Which slot runs, by what lies below the verified root."""

from __future__ import annotations

import pytest

from ainit.errors import RefusedError
from ainit.linux.block import Partition
from ainit.ota import disk

LABELS = ("esp", "root_a", "verity_a", "root_b", "verity_b", "state")


def partitions(name: str = "vda", separator: str = "") -> list[Partition]:
    return [
        Partition(f"{name}{separator}{number}", name, label, f"{name}-{label}")
        for number, label in enumerate(LABELS, start=1)
    ]


@pytest.mark.parametrize(
    ("members", "running", "other"), [((2, 3), "a", "b"), ((3, 2), "a", "b"), ((4, 5), "b", "a")]
)
@pytest.mark.parametrize(("name", "separator"), [("vda", ""), ("nvme0n1", "p")])
def test_the_slots(
    members: tuple[int, int], running: str, other: str, name: str, separator: str
) -> None:
    below = [f"{name}{separator}{number}" for number in members]
    found = disk.of([*partitions(name, separator), *partitions("sdb")], below, f"{name}-esp")
    assert found.disk == f"/dev/{name}"
    assert (found.running.name, found.other.name) == (running, other)
    number = 4 if other == "b" else 2
    assert found.other == disk.Slot(
        other,
        disk.Part(f"/dev/{name}{separator}{number}", f"root_{other}", f"{name}-root_{other}"),
        disk.Part(
            f"/dev/{name}{separator}{number + 1}", f"verity_{other}", f"{name}-verity_{other}"
        ),
    )


@pytest.mark.parametrize("members", [("vda2", "vda5"), ("vda2",), ("vda6",), ("vda1", "vda2")])
def test_a_root_that_is_no_slot(members: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="the root is not one of the slots of vda"):
        disk.of(partitions(), members, "")


def test_a_root_that_is_not_verified() -> None:
    with pytest.raises(RefusedError, match="not a verified partition"):
        disk.of(partitions(), [], "")


@pytest.mark.parametrize("count", [0, 2])
def test_a_slot_that_is_not_there_once(count: int) -> None:
    found = [each for each in partitions() if each.label != "verity_b"]
    found += [Partition(f"vda{9 + more}", "vda", "verity_b", "") for more in range(count)]
    with pytest.raises(RefusedError, match=f"vda has {count} partitions named verity_b"):
        disk.of(found, ["vda2", "vda3"], "")
