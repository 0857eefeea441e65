from __future__ import annotations

import pytest

from ainit.sched import numa
from ainit.sched.numa import Node


@pytest.mark.parametrize(
    ("bus_id", "name"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:3b:00.1", "0000:3b:00.1"),
        ("00010000:01:00", "10000:01:00.0"),
        ("../../etc", None),
        ("", None),
        ("0000:3b:00.0\n", None),
    ],
)
def test_the_name_of_a_device(bus_id: str, name: str | None) -> None:
    assert numa.device_name(bus_id) == name


@pytest.mark.parametrize(
    ("number", "cpus", "node"),
    [
        ("1\n", "8-15,24-31\n", Node(1, "8-15,24-31")),
        ("0", "0", Node(0, "0")),
        ("-1\n", "0-7\n", None),  # the kernel's word for no NUMA
        ("0\n", "\n", None),
        ("0\n", "0-7;rm\n", None),
        (None, "0-7", None),
        ("0", None, None),
    ],
)
def test_what_is_near(number: str | None, cpus: str | None, node: Node | None) -> None:
    assert numa.node(number, cpus) == node


def test_in_the_words_of_resources() -> None:
    assert Node(1, "8-15").to_record() == {"node": 1, "cpus": "8-15", "memory_nodes": "1"}
