"""NVIDIA's driver: what state it is in, and the device nodes that its modules do not make.

There is no udevd and no set-user-ID helper: this service makes the nodes. Which ones is decided in
``policy.device_nodes``.

>>> nvidia = Nvidia()
>>> nvidia.make_nodes(); nvidia.state(gpus=8, problems=[])      # doctest: +SKIP
Driver(state='ready', version='550.163.01', reason='')
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from ..linux import nvidia_proc
from ..policy import device_nodes
from ..policy.device_nodes import Node, Tree

MINE = ("nvidia", "pci:v000010DE")  # a problem with the module, by its name or a GPU's alias
MODULES = ("nvidia", "nvidia-uvm")  # the second has no alias of its own, and needs the first
LIBRARIES = ("/usr/lib/*-linux-gnu/libnvidia-ml.so.1", "/usr/lib/libnvidia-ml.so.1")
# How the emulator's library differs from NVIDIA's: it carries no version in its file name.
VERSIONED = re.compile(r"libnvidia-ml\.so\.(\d+(?:\.\d+)+)")

NONE = "none"  # no NVIDIA GPU in this machine
ABSENT = "absent"  # a GPU, and no driver in this image
REFUSED = "refused"  # the module is there and did not take the GPU
MISMATCH = "mismatch"  # a module, and libraries of another release or emulated ones
READY = "ready"
EMULATED = "emulated"  # no GPU, and the emulated NVML of development images


@dataclass(frozen=True)
class Driver:
    """What there is to say of the driver; ``version`` is the loaded module's."""

    state: str
    version: str
    reason: str


class Nvidia:
    """The driver as /proc shows it. ``proc``, ``dev`` and ``libraries`` are elsewhere in tests."""

    def __init__(
        self, proc: str = "/proc", dev: str = "/dev", libraries: Iterable[str] = LIBRARIES
    ) -> None:
        self._proc = proc
        self._dev = dev
        self._libraries = tuple(libraries)

    @property
    def version(self) -> str:
        """The release of the loaded module; "" when there is none."""
        text = nvidia_proc.text(f"{self._proc}/driver/nvidia/version")
        match = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", text)
        return match[1] if match else ""

    def state(self, gpus: int, problems: Iterable[str]) -> Driver:
        """Name the state; ``gpus`` counts NVIDIA's GPUs on the bus, ``problems`` are modprobe's."""
        version, library = self.version, self._library()
        if version and library == EMULATED:
            return Driver(MISMATCH, version, "the libraries are emulated")
        if version and library not in (version, ""):
            return Driver(MISMATCH, version, f"the libraries are of release {library}")
        if version:
            return Driver(READY, version, "")
        if library == EMULATED:
            return Driver(EMULATED, "", "")
        if not gpus:
            return Driver(NONE, "", "there is no NVIDIA GPU")
        if said := [problem for problem in problems if any(word in problem for word in MINE)]:
            return Driver(REFUSED, "", said[-1])
        return Driver(ABSENT, "", "this image has no driver for the GPU")

    def _library(self) -> str:
        for path in (path for pattern in self._libraries for path in glob.glob(pattern)):
            match = VERSIONED.search(os.path.realpath(path))
            return match[1] if match else EMULATED
        return ""

    def tree(self) -> Tree:
        """What the loaded modules publish now."""
        return nvidia_proc.tree(self._proc)

    def make_nodes(self) -> None:
        """Make the nodes that are missing or wrong; those of what went, go."""
        wanted = {node.path: node for node in device_nodes.every(self.tree())}
        for node in wanted.values():
            self._make(node)
        stale = ("nvidia-caps/nvidia-cap*", "nvidia[0-9]*", "nvidia-nvswitch[0-9]*")
        for path in (path for each in stale for path in glob.glob(f"{self._dev}/{each}")):
            if os.path.relpath(path, self._dev) not in wanted:
                os.unlink(path)

    def _make(self, node: Node) -> None:
        path = f"{self._dev}/{node.path}"
        device = os.makedev(node.major, node.minor)
        try:
            found = os.lstat(path)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == device:
                return
            os.unlink(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with suppress(FileExistsError):  # NVIDIA's libraries make nodes, too; the next look tells
            os.mknod(path, stat.S_IFCHR | node.mode, device)
        os.chmod(path, node.mode)  # whatever the umask
