"""cgroup v2: one group per service, limits, kill, and memory in use."""

from __future__ import annotations

import os

_CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class Tree:
    """The groups below ``root``, each named after its unit."""

    def __init__(self, root: str) -> None:
        self._root = root

    def prepare(self) -> list[str]:
        """Make the root group and pass the controllers on. Returns those that the kernel lacks."""
        os.makedirs(self._root, exist_ok=True)
        missing = []
        for directory in (os.path.dirname(self._root), self._root):
            missing = [name for name in _CONTROLLERS if not self._delegate(directory, name)]
        return missing

    def _delegate(self, directory: str, controller: str) -> bool:
        try:
            _write(f"{directory}/cgroup.subtree_control", f"+{controller}")
        except OSError:
            return False
        return True

    def path(self, name: str) -> str:
        """The directory of a group."""
        return f"{self._root}/{name}"

    def create(self, name: str, *, memory_max: int, pids_max: int, cpu_weight: int) -> str:
        """Make the group with its limits (0: no limit) and return its ``cgroup.procs``.

        Raises OSError when a limit that was asked for cannot be set.
        """
        directory = self.path(name)
        os.makedirs(directory, exist_ok=True)
        if memory_max:
            _write(f"{directory}/memory.max", str(memory_max))
            _write(f"{directory}/memory.oom.group", "1")
        if pids_max:
            _write(f"{directory}/pids.max", str(pids_max))
        if cpu_weight:
            _write(f"{directory}/cpu.weight", str(cpu_weight))
        return f"{directory}/cgroup.procs"

    def kill(self, name: str) -> None:
        """SIGKILL for every process in the group, forks in flight included (cgroup.kill)."""
        try:
            _write(f"{self.path(name)}/cgroup.kill", "1")
        except OSError:
            pass  # the group was never made

    def populated(self, name: str) -> bool:
        """Whether a process is left in the group."""
        try:
            with open(f"{self.path(name)}/cgroup.events", encoding="ascii") as file:
                return "populated 1" in file.read()
        except OSError:
            return False

    def memory(self, name: str) -> int | None:
        """Bytes in use by the group; None when the kernel does not account for it."""
        try:
            with open(f"{self.path(name)}/memory.current", encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None
