"""Which processors and which memory are near a GPU, by the kernel's word on its PCI device. PURE.

node("1\\n", "16-31\\n")                      # Node(1, "16-31")
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BUS_ID = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-7]))?\Z", re.IGNORECASE)
_CPUS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node and its processors, as a cpuset list."""

    number: int
    cpus: str

    def to_record(self) -> dict[str, object]:
        """The JSON form, in the words of ``[resources]``."""
        return {"node": self.number, "cpus": self.cpus, "memory_nodes": str(self.number)}


def device_name(bus_id: str) -> str | None:
    """The kernel's name of a PCI device by NVML's bus id; None for what is none.

    >>> device_name("00000000:3B:00.0")
    '0000:3b:00.0'
    """
    found = _BUS_ID.match(bus_id)
    if found is None:
        return None
    domain, bus, device, function = found.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function or 0}".lower()


def node(numa_node: str | None, local_cpulist: str | None) -> Node | None:
    """What the device's files say; None where there is no NUMA: the kernel then says -1.

    >>> node("-1\\n", "0-7\\n")
    >>> node("1\\n", "8-15,24-31\\n")
    Node(number=1, cpus='8-15,24-31')
    """
    if numa_node is None or local_cpulist is None:
        return None
    number, cpus = numa_node.strip(), local_cpulist.strip()
    if not number.isdigit() or not _CPUS.match(cpus):
        return None
    return Node(int(number), cpus)
