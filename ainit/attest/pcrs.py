"""Which PCRs are quoted, and the file ``quote.pcrs`` that holds their values.

The file is what ``tpm2_quote -o`` writes and ``tpm2_checkquote -f`` reads: little-endian images of
the C structures TPML_PCR_SELECTION (room for 16 banks) and TPML_DIGEST (room for 8 digests of 64
bytes). Unused room is zero, so a set of values has exactly one file.

>>> parse(serialise({0: bytes(32), 14: bytes(32)})) == {0: bytes(32), 14: bytes(32)}
True
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

from .tpms import SHA256, MalformedError

# Every PCR that neither the kernel's IMA (10) nor a late launch (17-22) writes and that software
# cannot reset (16, 23). The firmware and its loaders own 0-9 and 11, ainit owns 12-14; 15 is the
# machine's identity.
QUOTED = (*range(10), *range(11, 16))

_SELECTION = struct.Struct("<IHB3s2x120x")
_COUNT = struct.Struct("<I")
_DIGEST_ROOM = 64
_DIGESTS = 8
_LIST_BYTES = 4 + _DIGESTS * (2 + _DIGEST_ROOM)


def serialise(values: Mapping[int, bytes]) -> bytes:
    """The file for SHA-256 ``values`` by PCR number."""
    numbers = sorted(values)
    mask = sum(1 << pcr for pcr in numbers).to_bytes(3, "little")
    lists = [numbers[start : start + _DIGESTS] for start in range(0, len(numbers), _DIGESTS)]
    data = _SELECTION.pack(1, SHA256, 3, mask) + _COUNT.pack(len(lists))
    for part in lists:
        digests = b"".join(
            len(values[pcr]).to_bytes(2, "little") + values[pcr].ljust(_DIGEST_ROOM, b"\0")
            for pcr in part
        )
        data += _COUNT.pack(len(part)) + digests.ljust(_LIST_BYTES - 4, b"\0")
    return data


def parse(data: bytes) -> dict[int, bytes]:
    """The values by PCR number. MalformedError for any file that ``serialise`` did not write."""
    if len(data) < _SELECTION.size + _COUNT.size:
        raise MalformedError("the PCR values end early")
    _, _, _, mask = _SELECTION.unpack_from(data)
    numbers = [pcr for pcr in range(24) if int.from_bytes(mask, "little") >> pcr & 1]
    values = {}
    for position, pcr in enumerate(numbers):
        part, place = divmod(position, _DIGESTS)
        start = _SELECTION.size + 4 + part * _LIST_BYTES + 4 + place * (2 + _DIGEST_ROOM) + 2
        values[pcr] = data[start : start + 32].ljust(32, b"\0")
    if serialise(values) != data:
        raise MalformedError("the PCR values are not one SHA-256 selection as tpm2_quote writes it")
    return values


def composite(values: Mapping[int, bytes]) -> bytes:
    """What a quote over these values holds as its pcrDigest (TPM 2.0 part 3, section 18.4)."""
    return hashlib.sha256(b"".join(values[pcr] for pcr in sorted(values))).digest()
