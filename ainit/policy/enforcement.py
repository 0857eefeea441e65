"""What the kernel is told about agents: the maps of the BPF programs, their keys and values.

Shared by `ainit.enforce`, which loads the programs, and whoever fills the maps. Leaves out what the
programs decide, see ``enforce.program``. Numbers are in the processor's byte order, which is
little-endian on all that AINOS runs on.

>>> len(admission(7, "sha256:" + 64 * "0")) == ADMITTED.key_bytes
True
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Types of maps (bpf(2), enum bpf_map_type).
HASH = 1
TASK_STORAGE = 29

# A unit's group is /sys/fs/cgroup/<slice>/<unit>: the second ancestor below the root of the tree.
UNIT_LEVEL = 2

_ALGORITHM_SHA256 = 1
_DIGEST_BYTES = 32
_NAME_BYTES = 56

# The verdict's memory, one a task: the identity of the agent's group, the kernel's struct
# fsverity_digest, a path. The first two together are a key of ADMITTED.
DIGEST_AT = 8
DIGEST_STRUCT_BYTES = 4 + _DIGEST_BYTES
PATH_AT = 48
PATH_BYTES = 1024


class Map:
    """A map: what it is called in the kernel and in the BPF file system, and its form."""

    __slots__ = ("entries", "key_bytes", "kind", "name", "value_bytes")

    def __init__(
        self, name: str, key_bytes: int, value_bytes: int, entries: int, kind: int = HASH
    ) -> None:
        self.name = name
        self.key_bytes = key_bytes
        self.value_bytes = value_bytes
        self.entries = entries
        self.kind = kind


SUPERBLOCKS = Map("superblocks", 4, 4, 4096)
AGENTS = Map("agents", 8, 8 + _NAME_BYTES, 4096)
ADMITTED = Map("admitted", DIGEST_AT + DIGEST_STRUCT_BYTES, 4, 65536)
TASKS = Map("tasks", 4, PATH_AT + PATH_BYTES, 0, TASK_STORAGE)
MAPS = (SUPERBLOCKS, AGENTS, ADMITTED, TASKS)

# Hooks of the Linux security module interface, each with a program of ours.
HOOKS = ("file_post_open", "file_receive", "task_alloc", "bpf")

PRESENT = struct.pack("=I", 1)  # the value of a map that is a set


def superblock(device: int) -> bytes:
    """The key of a file system, by ``st_dev`` of stat(2), which splits the kernel's number."""
    major = device >> 8 & 0xFFF  # 12 bits of the kernel's 32
    minor = device & 0xFF | device >> 12 & 0xFFF00
    return struct.pack("=I", major << 20 | minor)


def group(identity: int) -> bytes:
    """The key of an agent: its group's identity, the inode number of the group's directory."""
    return struct.pack("=Q", identity)


def agent(name: str) -> bytes:
    """The value of an agent of which nothing was denied yet."""
    return struct.pack(f"=Q{_NAME_BYTES}s", 0, name.encode()[:_NAME_BYTES])


def agent_of(value: bytes) -> tuple[str, int]:
    """Name and denied opens."""
    denied, name = struct.unpack(f"=Q{_NAME_BYTES}s", value)
    return name.rstrip(b"\0").decode("utf-8", "replace"), denied


def admission(identity: int, digest: str) -> bytes:
    """The key that says that an agent may open the file with this fs-verity digest."""
    value = bytes.fromhex(digest.removeprefix("sha256:"))
    if len(value) != _DIGEST_BYTES:
        raise ValueError(f"{digest} is no SHA-256 digest")
    return struct.pack("=QHH", identity, _ALGORITHM_SHA256, _DIGEST_BYTES) + value


class Given:
    """What an agent was given: its groups, fs-verity digests, and file systems, by numbers.

    >>> (Given([7]) | Given([8])).to_record()["groups"]
    [7, 8]
    """

    __slots__ = ("devices", "digests", "groups")

    def __init__(
        self, groups: Iterable[int] = (), digests: Iterable[str] = (), devices: Iterable[int] = ()
    ) -> None:
        self.groups = frozenset(groups)
        self.digests = frozenset(digests)
        self.devices = frozenset(devices)

    def __or__(self, other: Given) -> Given:
        return Given(
            self.groups | other.groups, self.digests | other.digests, self.devices | other.devices
        )

    def admissions(self) -> set[bytes]:
        """The keys of ADMITTED."""
        return {admission(group, digest) for group in self.groups for digest in self.digests}

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {each: sorted(getattr(self, each)) for each in ("groups", "digests", "devices")}

    @classmethod
    def from_record(cls, record: object) -> Given:
        """What a JSON form says. Raises KeyError or TypeError when it is none."""
        if not isinstance(record, dict):
            raise TypeError("what an agent was given is a record")
        return cls(record["groups"], record["digests"], record["devices"])
