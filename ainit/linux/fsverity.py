"""fs-verity: the one digest of AINOS, measured by the kernel or computed the same way here.

The digest is SHA-256 over the descriptor that holds the root of a Merkle tree of SHA-256 hashes
over 4096-byte blocks, without salt (kernel documentation, filesystems/fsverity.rst, "File digest
computation").
"""

from __future__ import annotations

import errno
import fcntl
import os

from ..digest import sha256
from ..errors import MeasurementError, NotCoveredError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 4096
DIGEST_SIZE = 32
_ALGORITHM_SHA256 = 1
_FS_IOC_ENABLE_VERITY = 0x40806685
_FS_IOC_MEASURE_VERITY = 0xC0046686


def text(digest: bytes) -> str:
    """The written form, ``sha256:<hex>``."""
    return "sha256:" + digest.hex()


def measure(descriptor: int) -> bytes:
    """The digest of an open file as the kernel enforces it, in constant time.

    Raises NotCoveredError when the file has no fs-verity, MeasurementError for another algorithm.
    """
    request = bytearray(_ALGORITHM_SHA256.to_bytes(2, "little") + DIGEST_SIZE.to_bytes(2, "little"))
    request += bytes(DIGEST_SIZE)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_MEASURE_VERITY, request)
    except OSError as error:
        if error.errno == errno.EOVERFLOW:
            raise MeasurementError("fs-verity uses a digest that is not SHA-256") from error
        raise NotCoveredError(f"not covered by fs-verity ({error.strerror})") from error
    algorithm = int.from_bytes(request[:2], "little")
    size = int.from_bytes(request[2:4], "little")
    if algorithm != _ALGORITHM_SHA256 or size != DIGEST_SIZE:
        raise MeasurementError("fs-verity uses a digest that is not SHA-256")
    return bytes(request[4 : 4 + DIGEST_SIZE])


def enable(descriptor: int) -> None:
    """Make an open read-only file immutable and covered. A file that is covered already is fine.

    Raises NotCoveredError when the file system cannot, OSError when the file is open for writing.
    """
    # The kernel's fsverity_enable_arg; salt and signature stay empty.
    argument = bytearray(128)
    argument[0:4] = (1).to_bytes(4, "little")
    argument[4:8] = _ALGORITHM_SHA256.to_bytes(4, "little")
    argument[8:12] = BLOCK.to_bytes(4, "little")
    try:
        fcntl.ioctl(descriptor, _FS_IOC_ENABLE_VERITY, argument)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOPKG):
            raise NotCoveredError(f"fs-verity is not available here ({error.strerror})") from error
        raise


def digest_stream(read: Callable[[int], bytes], size: int) -> bytes:
    """The digest of ``size`` bytes that ``read(n)`` returns, at most ``n`` at a time.

    Memory grows with the depth of the tree, not with the file. Raises MeasurementError when the
    data ends early.
    """
    levels: list[bytearray] = []

    def add(level: int, digest: bytes) -> None:
        if level == len(levels):
            levels.append(bytearray())
        hashes = levels[level]
        if len(hashes) == BLOCK:
            full = sha256(hashes)
            hashes.clear()
            add(level + 1, full)
        levels[level] += digest

    remaining = size
    while remaining > 0:
        block = read(min(BLOCK, remaining))
        while len(block) < min(BLOCK, remaining):
            more = read(min(BLOCK, remaining) - len(block))
            if not more:
                raise MeasurementError("the file ended before its size")
            block += more
        remaining -= len(block)
        add(0, sha256(block.ljust(BLOCK, b"\0")))
    root = _root(levels, add) if levels else bytes(DIGEST_SIZE)
    descriptor = bytearray(256)
    descriptor[0:3] = bytes((1, _ALGORITHM_SHA256, BLOCK.bit_length() - 1))
    descriptor[8:16] = size.to_bytes(8, "little")
    descriptor[16 : 16 + DIGEST_SIZE] = root
    return sha256(descriptor)


def _root(levels: list[bytearray], add: Callable[[int, bytes], None]) -> bytes:
    level = 0
    while True:
        hashes = bytes(levels[level])
        if len(hashes) == DIGEST_SIZE and level == len(levels) - 1:
            return hashes
        add(level + 1, sha256(hashes.ljust(BLOCK, b"\0")))
        level += 1


def digest_file(path: str) -> bytes:
    """The digest of a file, computed here by reading it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return digest_stream(lambda size: os.read(descriptor, size), os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
