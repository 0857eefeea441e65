"""Run in the machine: how long it takes to measure files, the first time and again.

A file is measured the first time when fs-verity is enabled on it, one file a processor side by
side, as the model store does; again by asking the kernel for its digest, after every cache was
dropped. Beside that: what reading alone takes, and hashing alone with OpenSSL.
The disk is one of its own, found by its serial number. What was found is printed as JSON.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import struct
import time
from concurrent.futures import ThreadPoolExecutor

MOUNTED = "/run/measured"
SERIAL = "data0"
MIB = 1 << 20
SMALL, LARGE, REAL = 8 * MIB, 8192 * MIB, 256 * MIB
ROUNDS = 15
_FS_IOC_ENABLE_VERITY, _FS_IOC_MEASURE_VERITY = 0x40806685, 0xC0046686


def disk() -> str:
    """The device with our serial number."""
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/serial") as file:
                if file.read().strip() == SERIAL:
                    return f"/dev/{name}"
        except OSError:
            continue
    raise SystemExit("there is no disk to measure on")


def drop() -> None:
    """Drop every clean page, inode and name that the kernel keeps."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def cover(path: str) -> None:
    """Put a file under fs-verity."""
    descriptor = os.open(path, os.O_RDONLY)
    argument = struct.pack("<III", 1, 1, 4096).ljust(128, b"\0")
    fcntl.ioctl(descriptor, _FS_IOC_ENABLE_VERITY, argument)
    os.close(descriptor)


def all_at_once(paths: list[str]) -> float:
    """Put files under fs-verity side by side, from the disk; seconds."""
    drop()
    began = time.perf_counter()
    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(cover, paths))
    return time.perf_counter() - began


def again(path: str) -> float:
    """Measure a file that has a digest, from the disk; seconds."""
    drop()
    began = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.ioctl(descriptor, _FS_IOC_MEASURE_VERITY, bytearray(struct.pack("<HH32x", 1, 32)))
    taken = time.perf_counter() - began
    os.close(descriptor)
    return taken


def read(path: str) -> float:
    """Read a file from the disk and do nothing with it; seconds."""
    drop()
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(4 * MIB)
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began


def hashed(size: int) -> float:
    """Hash so many bytes of memory with OpenSSL; seconds."""
    part = os.urandom(4 * MIB)
    began = time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(size // len(part)):
        digest.update(part)
    digest.digest()
    return time.perf_counter() - began


def main() -> None:
    """Measure."""
    os.makedirs(MOUNTED, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(disk().encode(), MOUNTED.encode(), b"ext4", 0, None):
        raise OSError(ctypes.get_errno(), "mount")
    for name, size in (("small", SMALL), ("large", LARGE)):
        with open(f"{MOUNTED}/{name}", "wb") as file:
            file.truncate(size)  # of zeros, which need no room and are hashed all the same
    firsts, limits = [], []
    for number in range(3):
        paths = [f"{MOUNTED}/real{number}-{core}" for core in range(os.cpu_count() or 1)]
        for path in paths:
            with open(path, "wb") as file:
                file.writelines(os.urandom(MIB) for _ in range(REAL // MIB))
        reading, hashing = sum(map(read, paths)), hashed(REAL)
        limits.append(max(reading, hashing))
        firsts.append(all_at_once(paths))
        print(json.dumps({"read": reading, "hash": hashing, "first": firsts[-1]}), flush=True)
    all_at_once([f"{MOUNTED}/small"])
    large = all_at_once([f"{MOUNTED}/large"])
    ratios = []
    for _ in range(ROUNDS):
        small = again(f"{MOUNTED}/small")
        ratios.append(again(f"{MOUNTED}/large") / small)
    share = [limit / first for limit, first in zip(limits, firsts, strict=True)]
    print(
        json.dumps({"ratios": ratios, "shares": share, "large_s": large, "over": True}), flush=True
    )


main()
