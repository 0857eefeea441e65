"""The early mounts, as a table. The kernel has mounted the verified root and /dev already."""

from __future__ import annotations

import errno
import os

from ..constants import RUNTIME, SOCKETS
from ..linux import kmsg, libc

_SAFE = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC

# target, type, flags, data, whether the machine can do without
TABLE = (
    ("/proc", "proc", _SAFE, "", False),
    ("/sys", "sysfs", _SAFE, "", False),
    ("/dev", "devtmpfs", libc.MS_NOSUID, "mode=0755", False),
    ("/dev/pts", "devpts", libc.MS_NOSUID | libc.MS_NOEXEC, "mode=0620,ptmxmode=0666", True),
    ("/dev/shm", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=1777", True),
    ("/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=0755,size=25%", False),
    ("/tmp", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=1777,size=25%", False),
    ("/sys/fs/cgroup", "cgroup2", _SAFE, "nsdelegate", False),
    ("/sys/kernel/security", "securityfs", _SAFE, "", True),
    ("/sys/firmware/efi/efivars", "efivarfs", _SAFE, "", True),
    ("/sys/fs/bpf", "bpf", _SAFE, "mode=0700", True),
    ("/sys/fs/pstore", "pstore", _SAFE, "", True),
)


def early() -> list[str]:
    """Mount the table; returns what is missing but optional. Raises OSError for what is not."""
    missing = []
    for target, kind, flags, data, optional in TABLE:
        try:
            if kind in ("devpts", "tmpfs") and target.startswith("/dev/"):
                os.makedirs(target, exist_ok=True)
            libc.mount(kind, target, kind, flags, data)
        except OSError as error:
            if error.errno == errno.EBUSY:
                continue  # mounted by the kernel
            if not optional:
                raise
            missing.append(f"{target}: {error.strerror}")
    os.makedirs(SOCKETS, mode=0o755, exist_ok=True)
    os.chmod(RUNTIME, 0o755)
    return missing


def state(device: str, target: str) -> str:
    """Mount the state partition; returns why not, or nothing. A superblock that a power cut tore,
    of whose checksum Linux says EBADMSG, is mended first.
    """
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOATIME
    try:
        try:
            libc.mount(device, target, "ext4", flags, "")
        except OSError as error:
            if error.errno != errno.EBADMSG or not _mended(device):
                raise
            libc.mount(device, target, "ext4", flags, "")
    except OSError as error:
        return f"{device} cannot be mounted: {error.strerror}"
    return ""


def _mended(device: str) -> bool:
    from ..linux import ext4

    done = ext4.mend(device)
    if done:
        kmsg.log(f"{device} had a superblock that a power cut tore", kmsg.WARNING)
    return done


def leave(targets: tuple[str, ...]) -> None:
    """Unmount on the way down; what is still in use becomes read-only."""
    os.sync()
    for target in targets:
        try:
            libc.unmount(target)
        except OSError as error:
            if error.errno != errno.EINVAL:
                kmsg.log(f"{target} is still in use: {error.strerror}", kmsg.WARNING)
                try:
                    libc.mount("", target, "", libc.MS_REMOUNT | libc.MS_RDONLY)
                except OSError:
                    pass
