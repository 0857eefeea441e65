"""The ``enforce`` service: load the programs, name them in the BPF file system, exit.

The programs are in force while those names exist, or somebody holds what they name. What is in
force already is left alone. Leaves out who is an agent and what was admitted for it: the maps say
that.
"""

from __future__ import annotations

import os
import sys

from ..constants import ENFORCEMENT, MODELS
from ..errors import AinosError
from ..linux import bpf
from ..policy import enforcement
from . import btf, program

_KERNEL_TYPES = "/sys/kernel/btf/vmlinux"
# What an agent may open files of, besides what was measured. Its bundle and its extensions are for
# whoever mounts them to add.
_FILE_SYSTEMS = (
    "/",
    "/proc",
    "/sys",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/run",
    "/tmp",
    "/sys/fs/cgroup",
)


def load(directory: str) -> None:
    """Put the programs in force. Raises AinosError or OSError; then nothing has a name."""
    with open(_KERNEL_TYPES, "rb") as file:
        kernel = program.Kernel.of(btf.Types(file.read()))
    maps = _create()
    for device in _devices():
        bpf.update(maps["superblocks"], enforcement.superblock(device), enforcement.PRESENT)
    codes = program.programs(kernel, maps, MODELS)
    links = {}
    for hook, code in codes.items():
        links[hook] = bpf.attach(bpf.load(hook, code, kernel.hooks[hook]), hook)
    partial = f"{directory}-new"  # no dots in this file system
    os.mkdir(partial, 0o700)
    for name, descriptor in {**maps, **links}.items():
        bpf.pin(descriptor, f"{partial}/{name}")
    os.rename(partial, directory)  # all of it, or nothing


def _create() -> dict[str, int]:
    types = bpf.load_types(btf.integers(4, enforcement.TASKS.value_bytes))
    return {
        each.name: bpf.create(each, types if each is enforcement.TASKS else 0)
        for each in enforcement.MAPS
    }


def _devices() -> list[int]:
    """The file systems, and the one behind memfd_create(2), which is mounted nowhere."""
    memory = os.memfd_create("ainos")
    try:
        return [*(os.stat(path).st_dev for path in _FILE_SYSTEMS), os.fstat(memory).st_dev]
    finally:
        os.close(memory)


def main() -> int:
    """Load, unless that was done."""
    if os.path.isdir(ENFORCEMENT):
        return 0
    try:
        load(ENFORCEMENT)
    except (AinosError, OSError) as error:
        print(f"<3>not in force: {error}", flush=True)
        return 1
    print("agents open what was measured, and nothing else", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
