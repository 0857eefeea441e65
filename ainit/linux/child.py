"""How to start one process, as a record. ``process`` makes system calls of it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from .native import Job

    class Operation(Protocol):
        """Some of the system calls between clone and exec."""

        def add(self, job: Job) -> None: ...

    class Sandbox(Protocol):
        """What a process is locked into: flags of clone3(2) for its namespaces, what is done while
        it is still root, and what is done last, as the user that it becomes. ``descriptors`` are
        what these steps need besides: they follow those that the process inherits, and are closed
        by execve. The steps may use the numbers from the first free one on.
        """

        @property
        def namespaces(self) -> int: ...
        @property
        def descriptors(self) -> Sequence[int]: ...
        @property
        def first(self) -> Sequence[Operation]: ...
        @property
        def last(self) -> Sequence[Operation]: ...


class Child:
    """How to start one process, which leads a session of its own and reads from /dev/null.

    ``descriptors`` are inherited as 3, 4, … in order, and no others; ``LISTEN_PID`` is set to the
    child's pid. ``cgroup`` is a descriptor of the directory of its cgroup, or -1. ``group`` is the
    user's number unless it is given. ``limits`` are by the names of getrlimit(2), -1 for none.
    ``capabilities`` are all that it, or anything it executes, can have; None leaves root's alone.
    ``pid_cell`` is the address of four bytes that the kernel writes the pid to before the child
    runs, or 0. A user other than root has ``no_new_privs``. ``sandbox`` is what it is locked into.
    """

    __slots__ = (
        "argv",
        "capabilities",
        "cgroup",
        "descriptors",
        "directory",
        "environment",
        "group",
        "groups",
        "limits",
        "nice",
        "oom_score",
        "output",
        "pid_cell",
        "sandbox",
        "umask",
        "user",
    )

    def __init__(  # noqa: PLR0913 - each is one thing that a process has
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        output: int,
        cgroup: int = -1,
        descriptors: Sequence[int] = (),
        directory: str = "/",
        user: int = 0,
        group: int | None = None,
        groups: Sequence[int] = (),
        umask: int = 0o022,
        limits: Mapping[str, int] | None = None,
        nice: int = 0,
        oom_score: int | None = None,
        capabilities: Sequence[str] | None = None,
        pid_cell: int = 0,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.output = output
        self.cgroup = cgroup
        self.descriptors = descriptors
        self.directory = directory
        self.user = user
        self.group = group
        self.groups = groups
        self.umask = umask
        self.limits = limits or {}
        self.nice = nice
        self.oom_score = oom_score
        self.capabilities = capabilities
        self.pid_cell = pid_cell
        self.sandbox = sandbox
