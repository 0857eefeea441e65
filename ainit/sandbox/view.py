"""The files that there are for an agent: the verified root, read-only, and almost nothing over it.

The root's own file system is mounted once more, without what is mounted in it: no state partition,
no /run, no cgroups, no keys of the firmware. /tmp is the agent's own and in memory; /dev holds the
nodes that it was given; /proc its own processes; /run, /sys and /var what is bound into them and
nothing else. Then that becomes the root, and the old one is let go. Paths are relative to the new
root until it is one. Leaves out who may do what with a file that is there: see ``files``.
"""

from __future__ import annotations

import os
import stat

from ..linux import libc, native
from ..linux.namespaces import (
    AT_FDCWD,
    AT_RECURSIVE,
    ATTRIBUTE_BYTES,
    NO_DEVICES,
    NO_EXEC,
    NO_SUID,
    READ_ONLY,
)
from ..policy import sandbox
from . import endpoints
from .facts import Device
from .operation import MASKS, MEMORY, SEALED, VIEW, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..policy.sandbox import Profile
    from .facts import Facts
    from .operation import Call

# What every agent has in /dev, by its number: major 1.
_MEMORY_NODES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
TMP = "/tmp"
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    (TMP, "shm"),
)
PRIVATE = ("/dev", "/run", "/sys", TMP, "/var")
_SAFE = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
_SIZES = {TMP: "mode=1777,size=256m,nr_inodes=64k"}  # memory that counts as the agent's
_NAMES_ONLY = "mode=0755,size=1m,nr_inodes=4k"
_EMPTY = "var/empty"
MEMFD_SETTING = "/sys/vm/memfd_noexec"

# What a process without capabilities can still read or write in /proc, and has no need of.
MASKED_FILES = (
    "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags",
    "latency_stats", "sched_debug", "slabinfo", "sysrq-trigger", "timer_list", "vmallocinfo",
)  # fmt: skip
MASKED_DIRECTORIES = ("acpi", "asound", "bus", "fs", "irq", "scsi")


def operations(profile: Profile, facts: Facts) -> list[Operation]:
    """The steps, in order. Raises OSError when something that the agent is to have is not there."""
    run = (*facts.extensions, *facts.directories, *filter(None, (facts.bundle,)))
    binds = [
        *((path, libc.MS_REC) for path in run),
        *((path, 0) for path in (*facts.sockets, *of_kernel(profile))),
        *((path, 0) for path in declared(profile)),
        *((sandbox.CERTIFICATE, 0) for _ in filter(None, [facts.identity])),
    ]
    return [
        Operation(
            VIEW,
            "a view of the files of its own, on the root's file system alone",
            (
                (native.MOUNT, "none", "/", 0, libc.MS_REC | libc.MS_PRIVATE, 0),
                (native.MOUNT, "/", facts.root, 0, libc.MS_BIND, 0),
                (native.CHDIR, facts.root),
                (native.UMASK, 0),
            ),
        ),
        Operation(
            VIEW,
            "/tmp of its own; /dev, /run, /sys, /var empty; /proc with its own processes",
            (
                *(_tmpfs(path) for path in PRIVATE),
                (native.MOUNT, "proc", "proc", "proc", _SAFE, "hidepid=ptraceable"),
                (native.MKDIRAT, AT_FDCWD, _EMPTY, 0o555),
            ),
        ),
        *([] if sandbox.JIT in profile.system_calls else [_memory(facts)]),
        _nodes(facts),
        *_bound(facts, binds),
        *endpoints.names(endpoints.listed(profile.endpoints), facts),
        Operation(MASKS, "parts of /proc are covered", tuple(_masks())),
        Operation(SEALED, "all is read-only but what it may write", _sealed(profile)),
        Operation(
            VIEW,
            "that is its root",
            (
                (native.PIVOT_ROOT, ".", "."),
                (native.UMOUNT, ".", libc.MNT_DETACH),
                (native.CHDIR, "/"),
            ),
        ),
    ]


def of_kernel(profile: Profile) -> list[str]:
    """What it may read of /sys. CUDA looks for its GPU on the bus."""
    return ["/sys"] if profile.has_gpu else [*filter(os.path.exists, sandbox.KERNEL_READ)]


def declared(profile: Profile) -> list[str]:
    """The paths that its manifest names and that are not in everybody's view anyway."""
    paths = {*profile.read, *profile.write, *profile.execute}
    return sorted(paths.difference(sandbox.ROOT_READ, sandbox.ROOT_EXECUTE))


def _tmpfs(path: str) -> Call:
    """What lies in it may be used while the view is made; `_sealed` says what remains of that."""
    options = _SIZES.get(path, _NAMES_ONLY)
    return (native.MOUNT, "tmpfs", path[1:], "tmpfs", libc.MS_NOSUID, options)


def _memory(facts: Facts) -> Operation:
    """A setting of its namespace of processes: files in memory are not executable unless whoever
    makes one asks for that, which the filter of system calls denies.
    """
    return Operation(
        MEMORY,
        "no programs out of memory",
        (
            (native.OPENAT, AT_FDCWD, "proc" + MEMFD_SETTING, os.O_WRONLY | os.O_CLOEXEC, 0),
            (native.WRITE, None, b"1", 1),
            (native.CLOSE, facts.free),
        ),
    )


def devices(facts: Facts) -> list[Device]:
    """Those that it has, by whatever name."""
    memory = [Device(f"/dev/{name}", stat.S_IFCHR | 0o666, 1 << 8 | n) for name, n in _MEMORY_NODES]
    return [*memory, *facts.devices]


def _nodes(facts: Facts) -> Operation:
    nodes = devices(facts)
    calls: list[Call] = []
    made: set[str] = set()
    for each in nodes:
        calls += _parents(each.path, made)
        calls.append((native.MKNODAT, AT_FDCWD, each.path[1:], each.mode, each.number))
    calls += ((native.SYMLINKAT, target, AT_FDCWD, f"dev/{name}") for target, name in _LINKS)
    return Operation(VIEW, "devices: " + ", ".join(each.path for each in nodes), tuple(calls))


def _parents(path: str, made: set[str]) -> Iterable[Call]:
    """Make the directories above a path that lies in a file system of the sandbox's own."""
    parts = path[1:].split("/")
    for count in range(2, len(parts)):
        directory = "/".join(parts[:count])
        if directory not in made:
            made.add(directory)
            yield (native.MKDIRAT, AT_FDCWD, directory, 0o755)


def _bound(facts: Facts, binds: Iterable[tuple[str, int]]) -> Iterable[Operation]:
    """Bind each path, parents first; make its place where the sandbox's own file systems are."""
    made = {_EMPTY}
    roots: list[str] = []
    for path, recursive in sorted(set(binds)):
        calls: list[Call] = []
        is_within = any(path.startswith(root + "/") for root in roots)
        if path in PRIVATE:
            roots.append(path)
        elif path.startswith(tuple(each + "/" for each in PRIVATE)) and not is_within:
            calls += _parents(path, made)
            if facts.is_directory(path):
                if path[1:] not in made:
                    calls.append((native.MKDIRAT, AT_FDCWD, path[1:], 0o755))
                made.add(path[1:])
                roots.append(path)
            else:
                calls.append((native.MKNODAT, AT_FDCWD, path[1:], stat.S_IFREG | 0o444, 0))
        source = facts.identity if path == sandbox.CERTIFICATE else path
        calls.append((native.MOUNT, source, path[1:], 0, libc.MS_BIND | recursive, 0))
        yield Operation(VIEW, f"{path} is there", tuple(calls))


def _masks() -> Iterable[Call]:
    for name in MASKED_FILES:
        if os.path.exists(f"/proc/{name}"):
            yield (native.MOUNT, "dev/null", f"proc/{name}", 0, libc.MS_BIND, 0)
    for name in MASKED_DIRECTORIES:
        if os.path.exists(f"/proc/{name}"):
            yield (native.MOUNT, _EMPTY, f"proc/{name}", 0, libc.MS_BIND, 0)
    yield (native.MOUNT, "proc/sys", "proc/sys", 0, libc.MS_BIND, 0)


def _sealed(profile: Profile) -> tuple[Call, ...]:
    """Everything read-only and without devices; then lift that where it is not meant. Of /proc a
    process needs to write its own files, which ``files`` denies all but agents with a GPU.
    """
    no_exec = 0 if profile.execute_written else NO_EXEC
    everything = READ_ONLY | NO_SUID | NO_DEVICES
    return (
        _attributes(".", everything, 0, AT_RECURSIVE),
        _attributes("dev", NO_EXEC, NO_DEVICES),
        _attributes("proc", 0, READ_ONLY),
        _attributes("tmp", no_exec, READ_ONLY),
        *(_attributes(path[1:], no_exec, READ_ONLY) for path in profile.write),
    )


def _attributes(path: str, added: int, removed: int, flags: int = 0) -> Call:
    attributes = (added, removed, 0, 0)
    return (native.MOUNT_SETATTR, AT_FDCWD, path, flags, attributes, ATTRIBUTE_BYTES)
