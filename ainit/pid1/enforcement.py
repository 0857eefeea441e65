"""Tells the kernel who is an agent and which files it may open (docs/adr/0011).

The unit ``enforce`` loads the programs that judge, and names them and their maps. PID 1 holds them
all by descriptor, over its own re-execution, too: from then on whoever removes the names ends
nothing. What an agent was given is in the journal before it is in the kernel, so that a PID 1 that
takes over can take it away again. Leaves out what is judged, see ``enforce.program``.

    if not enforcement.hold():
        enforcement.admit("speech", group, digests, directories)
"""

from __future__ import annotations

import os

from ..constants import ENFORCEMENT
from ..linux import bpf
from ..policy import enforcement
from ..policy.enforcement import ADMITTED, AGENTS, HOOKS, SUPERBLOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from .journal import Journal

    class Kernel(Protocol):
        """What is called of ``linux.bpf``."""

        def get(self, path: str) -> int: ...
        def update(self, map_: int, key: bytes, value: bytes) -> None: ...
        def lookup(self, map_: int, key: bytes, size: int) -> bytes | None: ...
        def delete(self, map_: int, key: bytes) -> None: ...


IN_FORCE = "in force"
_ROLE = "enforcement"
_GIVEN = "enforced/"
_NAMES = (SUPERBLOCKS.name, AGENTS.name, ADMITTED.name, *HOOKS)


class Enforcement:
    """``kernel`` has the calls of ``linux.bpf``, ``directory`` the names."""

    def __init__(
        self, journal: Journal, kernel: Kernel = bpf, directory: str = ENFORCEMENT
    ) -> None:
        self._journal = journal
        self._kernel = kernel
        self._directory = directory
        self._held = {role[1]: number for role, number in journal.of(_ROLE).items()}
        self._given = {
            name: enforcement.Given.from_record(record)
            for name, record in journal.under(_GIVEN).items()
        }

    @property
    def state(self) -> str:
        """``in force``, or why not."""
        return self.hold() or IN_FORCE

    def hold(self) -> str:
        """Take hold of what has a name by now. Returns why agents are not judged, or nothing."""
        for name in _NAMES:
            if name in self._held:
                continue
            try:
                descriptor = self._kernel.get(f"{self._directory}/{name}")
            except OSError as error:
                return f"the kernel was given no program {name}: {error.strerror}"
            try:
                self._journal.keep(descriptor, (_ROLE, name))
            except BaseException:
                os.close(descriptor)
                raise
            self._held[name] = descriptor
        return ""

    def admit(
        self, name: str, group: int, digests: Iterable[str], directories: Iterable[str]
    ) -> None:
        """Let the agent in this control group, and nobody else, open the files of these fs-verity
        digests; and all agents what is in these directories' file systems. What it had before is
        taken away. Raises OSError.
        """
        devices = {os.stat(directory).st_dev for directory in directories}
        given = enforcement.Given([os.fstat(group).st_ino], digests, devices)
        former = self._given.get(name, enforcement.Given())
        self._note(name, former | given)
        for each in given.groups:
            key = enforcement.group(each)
            if self._kernel.lookup(self._held[AGENTS.name], key, AGENTS.value_bytes) is None:
                self._kernel.update(self._held[AGENTS.name], key, enforcement.agent(name))
        for device in given.devices:
            key = enforcement.superblock(device)
            self._kernel.update(self._held[SUPERBLOCKS.name], key, enforcement.PRESENT)
        for key in given.admissions():
            self._kernel.update(self._held[ADMITTED.name], key, enforcement.PRESENT)
        self._take(name, former, given)
        self._note(name, given)

    def forget(self, name: str) -> int:
        """An agent is down: nothing is open to what may be left of it. Returns how many files it
        was denied. Raises OSError.
        """
        former = self._given.get(name)
        if former is None:
            return 0
        denied = self.denied(name)
        self._take(name, former, enforcement.Given())
        self._journal.discard(_GIVEN + name)
        del self._given[name]
        return denied

    def denied(self, name: str) -> int:
        """How many files an agent was denied since it came into its group. Raises OSError."""
        total = 0
        for each in self._given[name].groups if name in self._given else ():
            key = enforcement.group(each)
            value = self._kernel.lookup(self._held[AGENTS.name], key, AGENTS.value_bytes)
            total += enforcement.agent_of(value)[1] if value else 0
        return total

    def _note(self, name: str, given: enforcement.Given) -> None:
        self._journal.put(_GIVEN + name, given.to_record())
        self._given[name] = given

    def _take(self, name: str, former: enforcement.Given, given: enforcement.Given) -> None:
        """Take away what an agent has no more, unless another has it."""
        others = [each.devices for other, each in self._given.items() if other != name]
        for device in former.devices - given.devices.union(*others):
            self._kernel.delete(self._held[SUPERBLOCKS.name], enforcement.superblock(device))
        for key in former.admissions() - given.admissions():
            self._kernel.delete(self._held[ADMITTED.name], key)
        for each in former.groups - given.groups:
            self._kernel.delete(self._held[AGENTS.name], enforcement.group(each))
