"""The BPF programs: whose open is judged, and by what.

PURE: map descriptors and the kernel's numbers in, instructions out.

A task is an agent's if it was born to one, or first opened a file in an agent's group: from then on
its TASKS entry says which, so that leaving the group changes nothing. An agent opens

* what is no regular file: directories, pipes, sockets, devices; but no disk;
* a regular file of a file system in SUPERBLOCKS, or of one that its sandbox has in memory or for
  its processes, unless its path leads into the model store, where only a mount can have put it;
* else, a file whose fs-verity digest is in ADMITTED for this agent. No other: not one that cannot
  be judged, either.

It receives (SCM_RIGHTS, pidfd_getfd(2)) what it may open, and it may not call bpf(2), which could
undo all this. Ordering: `file_post_open` and not `file_open`, where an inode that is not in memory
has no digest yet.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..policy import assembler as asm
from ..policy import enforcement
from ..policy.assembler import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Label, Part
from ..policy.enforcement import ADMITTED, AGENTS, SUPERBLOCKS, TASKS
from .btf import FUNC, Types

# On the stack.
_GROUP = -8
_DEVICE = -16
_DYNPTR = -32  # 16 bytes

_CREATE = 1  # of task storage

# File systems that a sandbox is given anew, linux/magic.h: TMPFS_MAGIC and PROC_SUPER_MAGIC. PID 1
# cannot list them, for they are made in the child. What is in the first was written into memory by
# whoever has it, as in the tmpfs that are listed; the second has the kernel's own files.
_MADE_ANEW = (0x01021994, 0x9FA0)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the programs must know about the kernel: places of fields, ids of functions."""

    file_inode: int
    file_path: int
    inode_mode: int
    inode_superblock: int
    superblock_device: int
    superblock_magic: int
    get_digest: int
    get_path: int
    hooks: Mapping[str, int]

    @classmethod
    def of(cls, types: Types) -> Kernel:
        """Raises UnavailableError when the kernel lacks something."""
        return cls(
            types.offset("file", "f_inode"),
            types.offset("file", "f_path"),
            types.offset("inode", "i_mode"),
            types.offset("inode", "i_sb"),
            types.offset("super_block", "s_dev"),
            types.offset("super_block", "s_magic"),
            types.find("bpf_get_fsverity_digest", FUNC),
            types.find("bpf_path_d_path", FUNC),
            {hook: types.find(f"bpf_lsm_{hook}", FUNC) for hook in enforcement.HOOKS},
        )


def programs(kernel: Kernel, maps: Mapping[str, int], store: str) -> dict[str, bytes]:
    """Hook → program. ``store`` is the directory of the model store."""
    judge = asm.assemble(_judge(kernel, maps, store))
    return {
        "file_post_open": judge,
        "file_receive": judge,
        "task_alloc": asm.assemble(_inherit(maps)),
        "bpf": asm.assemble(_forbid(maps)),
    }


def _own_entry(maps: Mapping[str, int], flags: int) -> list[Part]:
    """R0 = the TASKS entry of the task in R7, or 0."""
    return [
        asm.map_of(R1, maps[TASKS.name]),
        asm.copy(R2, R7),
        asm.put(R3, 0),
        asm.put(R4, flags),
        asm.call(asm.TASK_STORAGE_GET),
    ]


def _in_agents_group(maps: Mapping[str, int]) -> list[Part]:
    """R0 = the AGENTS entry of this task's group, or 0; the group's identity is on the stack."""
    return [
        asm.put(R1, enforcement.UNIT_LEVEL),
        asm.call(asm.ANCESTOR_CGROUP_ID),
        asm.store(R10, _GROUP, R0, 8),
        asm.map_of(R1, maps[AGENTS.name]),
        asm.copy(R2, R10),
        asm.add(R2, _GROUP),
        asm.call(asm.MAP_LOOKUP),
    ]


def _judge(kernel: Kernel, maps: Mapping[str, int], store: str) -> list[Part]:
    return [
        asm.load(R6, R1, 0, 8),  # struct file *
        asm.call(asm.CURRENT_TASK),
        asm.copy(R7, R0),
        *_own_entry(maps, 0),
        asm.copy(R8, R0),
        asm.if_not(R8, 0, "agent"),
        *_in_agents_group(maps),
        asm.if_equal(R0, 0, "allow"),
        *_own_entry(maps, _CREATE),
        asm.copy(R8, R0),
        asm.if_equal(R8, 0, "deny"),
        asm.load(R1, R10, _GROUP, 8),
        asm.store(R8, 0, R1, 8),
        Label("agent"),
        asm.load(R9, R6, kernel.file_inode, 8),
        asm.load(R1, R9, kernel.inode_mode, 2),
        asm.mask(R1, stat.S_IFMT(0xFFFF)),
        asm.if_equal(R1, stat.S_IFBLK, "count"),
        asm.if_not(R1, stat.S_IFREG, "allow"),
        asm.load(R1, R9, kernel.inode_superblock, 8),
        asm.load(R2, R1, kernel.superblock_magic, 8),
        *(asm.if_equal(R2, magic, "listed") for magic in _MADE_ANEW),
        asm.load(R1, R1, kernel.superblock_device, 4),
        asm.store(R10, _DEVICE, R1, 4),
        asm.map_of(R1, maps[SUPERBLOCKS.name]),
        asm.copy(R2, R10),
        asm.add(R2, _DEVICE),
        asm.call(asm.MAP_LOOKUP),
        asm.if_equal(R0, 0, "measure"),
        Label("listed"),
        *_unless_in(store, kernel),
        Label("measure"),
        *_measure(kernel),
        asm.map_of(R1, maps[ADMITTED.name]),
        asm.copy(R2, R8),
        asm.call(asm.MAP_LOOKUP),
        asm.if_not(R0, 0, "allow"),
        Label("count"),
        asm.map_of(R1, maps[AGENTS.name]),
        asm.copy(R2, R8),
        asm.call(asm.MAP_LOOKUP),
        asm.if_equal(R0, 0, "deny"),
        asm.put(R1, 1),
        asm.count(R0, 0, R1),
        Label("deny"),
        asm.put(R0, -errno.EACCES),
        asm.leave(),
        Label("allow"),
        asm.put(R0, 0),
        asm.leave(),
    ]


def _unless_in(store: str, kernel: Kernel) -> list[Part]:
    """Allow the file in R6 unless its path lies in the store, or is longer than can be told."""
    parts: list[Part] = [
        asm.copy(R1, R6),
        asm.add(R1, kernel.file_path),
        asm.copy(R2, R8),
        asm.add(R2, enforcement.PATH_AT),
        asm.put(R3, enforcement.PATH_BYTES),
        asm.call_kernel(kernel.get_path),
        asm.shift_left(R0, 32),  # the result is an int: its sign is in bit 31
        asm.if_negative(R0, "measure"),
    ]
    text = f"{store}/".encode()
    for at, width in _pieces(len(text)):
        parts += [
            asm.load(R1, R8, enforcement.PATH_AT + at, width),
            asm.constant(R2, int.from_bytes(text[at : at + width], "little")),
            asm.if_differs(R1, R2, "allow"),
        ]
    return parts


def _pieces(size: int) -> Sequence[tuple[int, int]]:
    """Aligned loads that cover ``size`` bytes: where and how wide."""
    pieces, at = [], 0
    for width in (8, 4, 2, 1):
        while size - at >= width:
            pieces.append((at, width))
            at += width
    return pieces


def _measure(kernel: Kernel) -> list[Part]:
    """Write the digest of the file in R6 into the task's entry; refuse a file without one."""
    return [
        asm.copy(R1, R8),
        asm.add(R1, enforcement.DIGEST_AT),
        asm.put(R2, enforcement.DIGEST_STRUCT_BYTES),
        asm.put(R3, 0),
        asm.copy(R4, R10),
        asm.add(R4, _DYNPTR),
        asm.call(asm.DYNPTR_FROM_MEMORY),
        asm.if_not(R0, 0, "count"),
        asm.copy(R1, R6),
        asm.copy(R2, R10),
        asm.add(R2, _DYNPTR),
        asm.call_kernel(kernel.get_digest),
        asm.shift_left(R0, 32),
        asm.if_not(R0, 0, "count"),
    ]


def _inherit(maps: Mapping[str, int]) -> list[Part]:
    """A task that is about to be born is an agent's when its parent is."""
    return [
        asm.load(R6, R1, 0, 8),  # struct task_struct *, the child
        asm.call(asm.CURRENT_TASK),
        asm.copy(R7, R0),
        *_own_entry(maps, 0),
        asm.if_equal(R0, 0, "allow"),
        asm.load(R8, R0, 0, 8),
        asm.copy(R7, R6),
        *_own_entry(maps, _CREATE),
        asm.if_equal(R0, 0, "deny"),
        asm.store(R0, 0, R8, 8),
        Label("allow"),
        asm.put(R0, 0),
        asm.leave(),
        Label("deny"),
        asm.put(R0, -errno.ENOMEM),
        asm.leave(),
    ]


def _forbid(maps: Mapping[str, int]) -> list[Part]:
    """Nothing of this for an agent."""
    return [
        asm.call(asm.CURRENT_TASK),
        asm.copy(R7, R0),
        *_own_entry(maps, 0),
        asm.if_not(R0, 0, "deny"),
        *_in_agents_group(maps),
        asm.if_not(R0, 0, "deny"),
        asm.put(R0, 0),
        asm.leave(),
        Label("deny"),
        asm.put(R0, -errno.EPERM),
        asm.leave(),
    ]
