"""What this kernel has of what a sandbox needs, and what it lacks.

An agent that needs something that is missing is refused, with the name of the kernel's feature. No
sandbox is ever made with less: a sandbox that is there in part looks like one that is there.
"""

from __future__ import annotations

import os

from ..linux import bpf, landlock, namespaces, seccomp, speculation
from ..policy import sandbox
from .view import MEMFD_SETTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.sandbox import Profile

# Files with truncation (3), TCP ports (4), ioctl on devices (5), abstract sockets and signals (6).
LANDLOCK_ABI = 6

# What brings each kind of namespace.
_NAMESPACES = {
    "mnt": "CONFIG_NAMESPACES",
    "pid": "CONFIG_PID_NS",
    "ipc": "CONFIG_IPC_NS",
    "uts": "CONFIG_UTS_NS",
    "cgroup": "CONFIG_CGROUPS",
    "net": "CONFIG_NET_NS",
    "user": "CONFIG_USER_NS, and user.max_user_namespaces above 0",
}


class Features:
    """``landlock`` is the kernel's ABI; ``filters`` whether it filters system calls, ``devices``
    whether devices; ``namespaces`` their kinds; ``memory`` whether files in memory can be kept from
    being executed; ``speculation`` what may be switched off.
    """

    __slots__ = ("devices", "filters", "landlock", "memory", "namespaces", "speculation")

    def __init__(
        self,
        landlock: int,
        filters: bool,
        namespaces: frozenset[str],
        memory: bool,
        speculation: frozenset[int],
        *,
        devices: bool,
    ) -> None:
        self.devices = devices
        self.landlock = landlock
        self.filters = filters
        self.memory = memory
        self.namespaces = namespaces
        self.speculation = speculation


def read() -> Features:
    """Ask the running kernel. Raises OSError."""
    actions = (seccomp.RETURN_KILL_PROCESS, seccomp.RETURN_ERRNO)
    return Features(
        landlock.abi(),
        all(seccomp.has_action(action) for action in actions),
        namespaces.available(),
        os.path.exists("/proc" + MEMFD_SETTING),
        speculation.controllable(),
        devices=bpf.filters_devices(),
    )


def missing(profile: Profile, features: Features) -> list[str]:
    """What keeps this profile from being put in force here; empty: nothing."""
    found = []
    if features.landlock < LANDLOCK_ABI:
        has = f"has {features.landlock}" if features.landlock else "has none"
        found.append(
            f"Landlock of ABI {LANDLOCK_ABI} is needed, this kernel {has} "
            "(CONFIG_SECURITY_LANDLOCK, and landlock in lsm=)"
        )
    if not features.filters:
        found.append("this kernel filters no system calls (CONFIG_SECCOMP_FILTER)")
    if not features.devices:
        found.append("this kernel filters no devices (CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF)")
    found += [
        f"this kernel has no {kind} namespaces ({option})"
        for kind, option in _NAMESPACES.items()
        if kind not in features.namespaces
    ]
    if not features.memory and sandbox.JIT not in profile.system_calls:
        found.append("this kernel cannot keep files in memory from being executed (memfd_noexec)")
    return found
