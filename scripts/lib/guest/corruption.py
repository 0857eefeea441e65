"""Run in the machine: damages files under fs-verity behind their file system, and reads them.

The file system lies in a file of the machine's memory, mounted through a loop device; what is
changed in that file is what a disk would have changed by itself, or somebody with the disk in his
hands. After each damage every cache is dropped, the file is read to its end or the first error, and
the damage is undone. Each line that is printed is the sum so far, as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import signal
import struct

FOLDER = "/var/lib/ainos/errand"
IMAGE, MOUNTED = "/run/soak.img", "/run/soak"
BLOCK = 4096
_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_FS_IOC_FIEMAP, _FS_IOC_ENABLE_VERITY, _FS_IOC_MEASURE_VERITY = 0xC020660B, 0x40806685, 0xC0046686
_MS_RDONLY = 1
LIBC = ctypes.CDLL(None, use_errno=True)
_MAPPED_EVERY = 20  # a read by mmap(2) costs a process
_TOLD_EVERY = 100
KINDS = ("bit", "block", "swap", "tree", "descriptor", "truncation", "extension")


def attach() -> str:
    """A loop device over the image."""
    with open("/dev/loop-control") as control:
        number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
    device = f"/dev/loop{number}"
    image = os.open(IMAGE, os.O_RDWR)
    descriptor = os.open(device, os.O_RDWR)
    # struct loop_config: the file, a block size of its own choice, no further settings.
    fcntl.ioctl(descriptor, _LOOP_CONFIGURE, struct.pack("<II232s64x", image, 0, b""))
    os.close(descriptor)  # nobody may write to a device that is mounted
    return device


def mount(device: str, flags: int) -> None:
    """Mount the file system."""
    os.makedirs(MOUNTED, exist_ok=True)
    if LIBC.mount(device.encode(), MOUNTED.encode(), b"ext4", flags, None):
        raise OSError(ctypes.get_errno(), "mount")


def unmount() -> None:
    """Unmount it."""
    if LIBC.umount(MOUNTED.encode()):
        raise OSError(ctypes.get_errno(), "umount")


def enable(path: str) -> str:
    """Put a file under fs-verity; the digest that the kernel says it has."""
    descriptor = os.open(path, os.O_RDONLY)
    argument = struct.pack("<III", 1, 1, BLOCK).ljust(128, b"\0")
    fcntl.ioctl(descriptor, _FS_IOC_ENABLE_VERITY, argument)
    answer = bytearray(struct.pack("<HH32x", 1, 32))
    fcntl.ioctl(descriptor, _FS_IOC_MEASURE_VERITY, answer)
    os.close(descriptor)
    return answer[4:].hex()


def blocks(path: str) -> list[int]:
    """Where each block of a file lies in the image, those behind its end, too: -1 for a hole."""
    descriptor = os.open(path, os.O_RDONLY)
    request = bytearray(struct.pack("<QQIIII", 0, (1 << 63) - 1, 0, 0, 256, 0)) + bytes(256 * 56)
    fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, request)
    os.close(descriptor)
    found: dict[int, int] = {}
    (count,) = struct.unpack_from("<I", request, 20)
    for number in range(count):
        logical, physical, length = struct.unpack_from("<QQQ", request, 32 + 56 * number)
        for offset in range(0, length, BLOCK):
            found[(logical + offset) // BLOCK] = physical + offset
    return [found.get(number, -1) for number in range(max(found) + 1)]


class File:
    """One file: what it holds, and where that, its tree and its size lie in the image."""

    def __init__(self, path: str, size_at: int) -> None:
        self.path = path
        self.size_at = size_at
        with open(path, "rb") as file:
            self.content = file.read()
        places = blocks(path)
        end = -(-len(self.content) // BLOCK)
        self.data = places[:end]
        self.rest = [place for place in places[end:] if place >= 0]


def damage(image: int, file: File, kind: str, draw: random.Random) -> list[tuple[int, bytes]]:
    """Change the image; what was there before, by where. Empty when it would change nothing."""

    def put(at: int, new: bytes) -> tuple[int, bytes]:
        old = os.pread(image, len(new), at)
        os.pwrite(image, new, at)
        return at, old

    def flip(at: int) -> tuple[int, bytes]:
        (value,) = os.pread(image, 1, at)
        return put(at, bytes((value ^ 1 << draw.randrange(8),)))

    place = draw.choice(file.data)
    last = file.data[-1]
    inside = len(file.content) - (len(file.data) - 1) * BLOCK if place == last else BLOCK
    match kind:
        case "bit":
            return [flip(place + draw.randrange(inside))]
        case "block":
            return [put(place, draw.randbytes(BLOCK))]
        case "swap":
            other = draw.choice(file.data)
            first, second = os.pread(image, BLOCK, place), os.pread(image, BLOCK, other)
            return [put(place, second), put(other, first)] if first != second else []
        case "tree":
            return [flip(draw.choice(file.rest[:-1] or file.rest) + draw.randrange(BLOCK))]
        case "descriptor":
            return [flip(file.rest[-1] + draw.randrange(BLOCK))]
        case "truncation":
            size = draw.randrange(len(file.content))
        case _:
            size = len(file.content) + 1 + draw.randrange(1 << 16)
    return [put(file.size_at, size.to_bytes(4, "little"))]


def drop() -> None:
    """Drop every clean page, inode and name that the kernel keeps."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def read(file: File) -> str:
    """What a reader gets: ``right``, ``wrong``, or the name of the error that stopped it."""
    try:
        with open(file.path, "rb", buffering=0) as opened:
            at = 0
            while part := opened.read(BLOCK):
                if part != file.content[at : at + len(part)]:
                    return "wrong"
                at += len(part)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "right" if at == len(file.content) else "wrong"


def read_mapped(file: File) -> str:
    """The same through mmap(2), in a process of its own: SIGBUS is what an error looks like."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            with open(file.path, "rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                view = mmap.mmap(opened.fileno(), size, prot=mmap.PROT_READ)
                status = 0 if view[:] == file.content else 1
        except (OSError, ValueError):
            status = 3
        finally:
            os._exit(status)
    _, how = os.waitpid(pid, 0)
    if os.WIFSIGNALED(how):
        return signal.Signals(os.WTERMSIG(how)).name
    return {0: "right", 1: "wrong", 3: "EIO"}.get(os.WEXITSTATUS(how), "?")


def main() -> None:
    """Damage as often as was asked for."""
    with open(f"{FOLDER}/corruption.json") as opened:
        wanted = json.load(opened)
    with open(f"{FOLDER}/fs.img", "rb") as source, open(IMAGE, "wb") as copy:
        while part := source.read(1 << 20):
            copy.write(part)
    device = attach()
    mount(device, 0)
    digests = {name: enable(f"{MOUNTED}/{name}") for name in wanted["size_at"]}
    unmount()
    mount(device, _MS_RDONLY)  # what was damaged is never written back
    draw = random.Random(wanted["seed"])
    image = os.open(IMAGE, os.O_RDWR)
    drop()
    files = [File(f"{MOUNTED}/{name}", at) for name, at in wanted["size_at"].items()]
    result = {"digests": digests, "device": device, "damaged": 0, "outcomes": {}, "by_kind": {}}
    outcomes: dict[str, int] = {}
    by_kind: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    number = 0
    while number < wanted["count"]:
        kind, file = KINDS[number % len(KINDS)], draw.choice(files)
        undo = damage(image, file, kind, draw)
        if not undo:
            continue
        drop()
        outcome = read_mapped(file) if draw.randrange(_MAPPED_EVERY) == 0 else read(file)
        for at, old in reversed(undo):
            os.pwrite(image, old, at)
        number += 1
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        by_kind[kind][outcome] = by_kind[kind].get(outcome, 0) + 1
        if number % _TOLD_EVERY == 0 or number == wanted["count"]:
            drop()
            whole = all(read(each) == "right" for each in files)
            result |= {"damaged": number, "outcomes": outcomes, "whole": whole, "by_kind": by_kind}
            print(json.dumps(result), flush=True)


main()
