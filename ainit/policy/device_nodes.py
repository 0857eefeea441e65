"""Device nodes from what NVIDIA's modules publish below /proc. PURE: texts in, nodes out.

Numbers and modes are the modules' own (NVIDIA driver README, chapter "Frequently Asked Questions",
device files; MIG User Guide, "Device Nodes and Capabilities"; open-gpu-kernel-modules,
``nv-caps.c`` and ``procfs_nvswitch.c``). Leaves out reading them (``linux.nvidia_proc``) and making
nodes (``ainit.devices.nvidia``, and the sandbox of whoever holds an instance).

>>> of_instance(tree, minor=0, instance=1, compute=0)          # doctest: +SKIP
[Node(path='nvidiactl', …), …, Node(path='nvidia-caps/nvidia-cap13', …)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CONTROL_MINOR = 255
ANYBODY = 0o666
CAPABILITIES = "nvidia/capabilities/"
_GPU = re.compile(r"nvidia/gpus/([^/]+)/information\Z")
_SWITCH = re.compile(r"nvidia-nvswitch/devices/[^/]+/information\Z")


@dataclass(frozen=True)
class Tree:
    """``devices`` is the text of /proc/devices, ``files`` those below /proc/driver, by their path
    there.
    """

    devices: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Node:
    """A character device: its path below /dev, major and minor number, permissions."""

    path: str
    major: int
    minor: int
    mode: int


def every(tree: Tree) -> list[Node]:
    """Every node that the loaded modules want."""
    return [*_shared(tree), *_gpus(tree), *_tools(tree), *_switches(tree), *_capabilities(tree)]


def of_instance(tree: Tree, minor: int, instance: int, compute: int = 0) -> list[Node]:
    """The nodes that a process needs for one MIG device, and no others: those that all GPUs share,
    its GPU's, and the capabilities of its GPU instance and compute instance.

    ``minor`` is the GPU's (``minor_of``). The GPU's node alone gives no access to any instance.
    Raises LookupError, in words, when the modules do not publish one of them.
    """
    gpu = next((node for node in _gpus(tree) if node.minor == minor), None)
    if gpu is None:
        raise LookupError(f"the driver has no GPU of minor number {minor}")
    below = f"{CAPABILITIES}gpu{minor}/mig/gi{instance}"
    wanted = (f"{below}/access", f"{below}/ci{compute}/access")
    published = _published(tree)
    for path in wanted:
        if path not in published:
            raise LookupError(f"the driver publishes no /proc/driver/{path}")
    return [*_shared(tree), gpu, *(published[path] for path in wanted)]


def minor_of(tree: Tree, address: str) -> int:
    """The minor number of the GPU at a PCI address, of four or eight digits of the domain.

    Raises LookupError when the driver has none there.
    """
    for path, text in tree.files.items():
        match = _GPU.match(path)
        if (
            match
            and _address(match[1]) == _address(address)
            and (found := _minor(text)) is not None
        ):
            return found
    raise LookupError(f"the driver has no GPU at {address}")


def _address(text: str) -> str:
    return text.lower().lstrip("0")


def _majors(tree: Tree) -> dict[str, int]:
    characters = tree.devices.partition("Block devices:")[0]
    found = re.findall(r"^ *(\d+) (\S+)$", characters, re.MULTILINE)
    return {name: int(number) for number, name in found}


def _major(tree: Tree) -> int | None:
    majors = _majors(tree)
    return majors.get("nvidia", majors.get("nvidia-frontend"))


def _shared(tree: Tree) -> Iterator[Node]:
    """What every process that uses a GPU opens."""
    if (major := _major(tree)) is not None:
        yield Node("nvidiactl", major, CONTROL_MINOR, ANYBODY)
    if (major := _majors(tree).get("nvidia-uvm")) is not None:
        yield Node("nvidia-uvm", major, 0, ANYBODY)


def _gpus(tree: Tree) -> Iterator[Node]:
    if (major := _major(tree)) is None:
        return
    for path, text in sorted(tree.files.items()):
        if _GPU.match(path) and (minor := _minor(text)) is not None:
            yield Node(f"nvidia{minor}", major, minor, ANYBODY)


def _minor(text: str) -> int | None:
    match = re.search(r"^Device Minor:\s+(\d+)\s*$", text, re.MULTILINE)
    return int(match[1]) if match else None


def _tools(tree: Tree) -> Iterator[Node]:
    """For debuggers and profilers."""
    if (major := _majors(tree).get("nvidia-uvm")) is not None:
        yield Node("nvidia-uvm-tools", major, 1, ANYBODY)


def _switches(tree: Tree) -> Iterator[Node]:
    """The modules number NVSwitches from 0, as they find them."""
    if (major := _majors(tree).get("nvidia-nvswitch")) is None:
        return
    yield Node("nvidia-nvswitchctl", major, CONTROL_MINOR, ANYBODY)
    for minor in range(sum(1 for path in tree.files if _SWITCH.match(path))):
        yield Node(f"nvidia-nvswitch{minor}", major, minor, ANYBODY)


def _capabilities(tree: Tree) -> Iterator[Node]:
    yield from (node for _, node in sorted(_published(tree).items()))


def _published(tree: Tree) -> dict[str, Node]:
    """The node of each capability, by the path that publishes it."""
    major = _majors(tree).get("nvidia-caps")
    found = {}
    for path, text in tree.files.items():
        minor = re.search(r"^DeviceFileMinor: (\d+)$", text, re.MULTILINE)
        mode = re.search(r"^DeviceFileMode: (\d+)$", text, re.MULTILINE)
        if major is not None and path.startswith(CAPABILITIES) and minor and mode:
            name = f"nvidia-caps/nvidia-cap{minor[1]}"
            found[path] = Node(name, major, int(minor[1]), int(mode[1]))
    return found
