"""From a profile, an agent and a kernel to a sandbox: ordered steps, each of which must succeed.

The order is forced by what each step needs. Namespaces, mounts and rules need root's privileges; a
user namespace takes the place of what is left of them; Landlock would forbid the mounts, and the
filter of system calls everything above it, so it comes last.

>>> sandbox = compose(profile, facts, features, program)             # doctest: +SKIP
>>> process.spawn(Child(argv, environment, output=log, sandbox=sandbox))   # doctest: +SKIP
"""

from __future__ import annotations

import os
from struct import pack

from ..linux import identity, namespaces, native, seccomp, speculation
from ..policy import device_filter, sandbox
from ..policy.kernel_names import LIMITS
from . import endpoints, files, view
from .operation import CORE, NET, NO_NEW_PRIVILEGES, SECCOMP, SPECULATION, VIEW, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.sandbox import Profile
    from .facts import Facts
    from .features import Features
    from .operation import Call

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_GUESSES = {
    speculation.INDIRECT_BRANCH: "branches are not predicted from what others did",
    speculation.STORE_BYPASS: "loads do not overtake stores",
}
_CORE_BYTES = 1  # as 0, and besides no program that core_pattern names is started: core(5)


class Sandbox:
    """``namespaces`` are flags of clone3(2); ``first`` is done as root, ``last`` as the user.
    ``descriptors`` are PID 1's, for the steps alone: see ``Facts.free``. ``devices`` is the program
    that is to be on its control group before it is in it.
    """

    __slots__ = ("descriptors", "devices", "first", "last", "namespaces")

    def __init__(
        self,
        namespaces: int,
        first: Sequence[Operation],
        last: Sequence[Operation],
        descriptors: Sequence[int] = (),
        devices: bytes = b"",
    ) -> None:
        self.namespaces = namespaces
        self.devices = devices
        self.first = first
        self.last = last
        self.descriptors = descriptors

    def describe(self) -> list[str]:
        """Its steps in words, in order."""
        own = ["its processes are the only ones"] if self.namespaces else []
        own += ["no devices but its own, by whatever name"] if self.devices else []
        return [*own, *(each.describe() for each in (*self.first, *self.last))]


def compose(
    profile: Profile,
    facts: Facts,
    features: Features,
    program: bytes,
    audit: Sequence[Operation] = (),
) -> Sandbox:
    """``program`` is the filter of system calls, compiled; ``audit`` are steps that come before it.
    Raises OSError when something that the agent is to have is not there.
    """
    first = [
        *_apart(profile, facts),
        *view.operations(profile, facts),
        files.ruleset(profile, facts, features.landlock),
        Operation(CORE, "no core dumps", (_limit("core", _CORE_BYTES),)),
        *_unguessed(profile, features),
    ]
    last = [
        Operation(
            NO_NEW_PRIVILEGES,
            "what it executes gives it nothing more",
            ((native.PRCTL, _PR_SET_NO_NEW_PRIVS, 1),),
        ),
        *([] if profile.capabilities else [_user(facts)]),
        files.restrict(facts),
        *audit,
        Operation(
            SECCOMP,
            "system calls are filtered",
            (
                (native.SECCOMP, seccomp.SET_MODE_FILTER, 0,
                 (len(program) // seccomp.INSTRUCTION_BYTES, program)),
            ),
        ),
    ]  # fmt: skip
    numbers = [(os.major(each.number), os.minor(each.number)) for each in view.devices(facts)]
    program_of_devices = device_filter.program(numbers)
    descriptors = [*facts.channels.values()]
    return Sandbox(namespaces.NEW_PID, first, last, descriptors, program_of_devices)


def _apart(profile: Profile, facts: Facts) -> list[Operation]:
    """Namespaces but two: that of processes begins with the process, the user's comes last."""

    def own(mechanism: str, flag: int, words: str, *more: Call) -> Operation:
        return Operation(mechanism, words, ((native.UNSHARE, flag), *more))

    name = facts.name.encode()[:64]
    hosts = endpoints.listed(profile.endpoints)
    up = () if profile.network == sandbox.NONE else endpoints.up(hosts, facts)
    return [
        own(VIEW, namespaces.NEW_MOUNT, "mounts of its own"),
        own("ipc", namespaces.NEW_IPC, "shared memory and message queues of its own"),
        own("uts", namespaces.NEW_UTS, "a host name of its own",
            (native.SETHOSTNAME, name, len(name))),
        own("cgroup", namespaces.NEW_CGROUP, "its control group is the uppermost"),
        own(NET, namespaces.NEW_NET, "a network of its own, with nobody else in it", *up),
        *(endpoints.operations(hosts, facts) if hosts else ()),
    ]  # fmt: skip


def _user(facts: Facts) -> Operation:
    """Its user and group alone, under their own numbers, which anybody may map for itself: no
    parent has to write anything. The new namespace's privileges are given up at once.
    """

    def write(file: str, text: bytes) -> tuple[Call, ...]:
        path = f"/proc/self/{file}"
        opened = (native.OPENAT, namespaces.AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, 0)
        return opened, (native.WRITE, None, text, len(text))

    calls: tuple[Call, ...] = (
        (native.PRCTL, _PR_SET_DUMPABLE, 1),  # so that its files in /proc are its own
        (native.UNSHARE, namespaces.NEW_USER),
        *write("setgroups", b"deny"),
        *write("gid_map", b"%d %d 1" % (facts.group, facts.group)),
        *write("uid_map", b"%d %d 1" % (facts.user, facts.user)),
        (native.PRCTL, _PR_SET_DUMPABLE, 0),  # it still has a copy of PID 1's memory
        *identity.nothing(),
    )
    return Operation("user", "no user but its own", calls)


def _unguessed(profile: Profile, features: Features) -> list[Operation]:
    """Branch history is not shared with others. Stores are not guessed past only where code that an
    agent makes shares its memory: it costs time, and protects a process from itself.
    """
    wanted = [speculation.INDIRECT_BRANCH]
    if sandbox.JIT in profile.system_calls:
        wanted.append(speculation.STORE_BYPASS)
    return [
        Operation(
            SPECULATION,
            _GUESSES[which],
            ((native.PRCTL, speculation.PR_SET, which, speculation.FORCE_DISABLE),),
        )
        for which in wanted
        if which in features.speculation
    ]


def _limit(name: str, value: int) -> Call:
    return (native.PRLIMIT, 0, LIMITS.index(name), pack("=qq", value, value), 0)
