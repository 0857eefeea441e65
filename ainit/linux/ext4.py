"""The superblock of an ext4 that a power cut has torn, so that Linux would not mount it any more.

Linux writes it past the journal when it mounts and unmounts. It has two sectors of 512 bytes: what
changes then (state, times, counts, features) lies in the first one, the checksum in the second
(fs/ext4/ext4.h, ``struct ext4_super_block``). So either half is whole, the old one or the new one,
and both belong to the same file system: with another checksum it is as good as either.

    mend("/dev/vda6")
"""

from __future__ import annotations

import os

_AT, _SIZE = 1024, 1024  # bytes
_MAGIC_AT, _MAGIC = 0x38, b"\x53\xef"
_FEATURES_AT, _METADATA_CSUM = 0x64, 0x400  # s_feature_ro_compat
_KIND_AT, _CRC32C = 0x175, 1  # s_checksum_type
_CHECKSUM_AT = 0x3FC
_POLYNOMIAL = 0x82F63B78  # of Castagnoli, reflected


def mend(device: str) -> bool:
    """Give the superblock the checksum of what it holds; says whether that was another one. Raises
    OSError. What is no ext4 with checksums is left alone.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        held = os.pread(descriptor, _SIZE, _AT)
        if not _has_checksum(held):
            return False
        wanted = crc32c(held[:_CHECKSUM_AT]).to_bytes(4, "little")
        if wanted == held[_CHECKSUM_AT:]:
            return False
        os.pwrite(descriptor, held[:_CHECKSUM_AT] + wanted, _AT)
        os.fsync(descriptor)
        return True
    finally:
        os.close(descriptor)


def crc32c(data: bytes) -> int:
    """The CRC that ext4 uses, which is not inverted at the end.

    >>> hex(crc32c(b"123456789") ^ 0xFFFFFFFF)
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


def _has_checksum(held: bytes) -> bool:
    if len(held) < _SIZE or held[_MAGIC_AT : _MAGIC_AT + 2] != _MAGIC:
        return False
    features = int.from_bytes(held[_FEATURES_AT : _FEATURES_AT + 4], "little")
    return bool(features & _METADATA_CSUM) and held[_KIND_AT] == _CRC32C
