"""Extend and read PCRs with raw TPM 2.0 commands, and tell which boot it is: PID 1 needs no more.

Structures: TPM 2.0 Library, part 3, sections 22.2 (TPM2_PCR_Extend), 22.4 (TPM2_PCR_Read) and 29.1
(TPM2_ReadClock). Only the SHA-256 bank is used. Quotes are made in a child, with a TSS.
"""

from __future__ import annotations

import os
import select

from ..constants import TPM_DEVICE
from ..errors import TpmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NO_SESSIONS = 0x8001
SESSIONS = 0x8002
_PCR_EXTEND = 0x182
_PCR_READ = 0x17E
_READ_CLOCK = 0x181
_TIME_INFO = (8, 8, 4, 4, 1)  # time, clock, resetCount, restartCount, safe
_PASSWORD = 0x40000009
SHA256 = 0x000B
_PCR_BYTES = 3
_RESPONSE_BYTES = 4096
_DEADLINE_SECONDS = 5.0
EMPTY_PASSWORD = _PASSWORD.to_bytes(4, "big") + bytes((0, 0, 0, 0, 0))


def u16(value: int) -> bytes:
    """Two bytes, the most significant first, as everything in a TPM structure."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def sized(data: bytes) -> bytes:
    """A TPM2B structure: the size, and the data."""
    return u16(len(data)) + data


def command(tag: int, code: int, body: bytes) -> bytes:
    """The bytes of a command: its tag, its size, its code, what follows."""
    size = 10 + len(body)
    return tag.to_bytes(2, "big") + size.to_bytes(4, "big") + code.to_bytes(4, "big") + body


def session_area(session: bytes) -> bytes:
    """The authorisation area of a command with one session: its size, and the session."""
    return len(session).to_bytes(4, "big") + session


def extend_command(pcr: int, digest: bytes) -> bytes:
    """TPM2_PCR_Extend of one SHA-256 digest with an empty password."""
    if len(digest) != 32:
        raise ValueError("the SHA-256 bank is extended with 32 bytes")
    session = session_area(EMPTY_PASSWORD)
    digests = (1).to_bytes(4, "big") + SHA256.to_bytes(2, "big") + digest
    return command(SESSIONS, _PCR_EXTEND, pcr.to_bytes(4, "big") + session + digests)


def read_command(pcrs: Iterable[int]) -> bytes:
    """TPM2_PCR_Read of up to eight PCRs of the SHA-256 bank."""
    return command(NO_SESSIONS, _PCR_READ, selection(pcrs))


def selection(pcrs: Iterable[int]) -> bytes:
    """TPML_PCR_SELECTION of these PCRs of the SHA-256 bank."""
    mask = bytearray(_PCR_BYTES)
    for pcr in pcrs:
        mask[pcr // 8] |= 1 << pcr % 8
    return (1).to_bytes(4, "big") + SHA256.to_bytes(2, "big") + bytes((_PCR_BYTES,)) + bytes(mask)


def clock_command() -> bytes:
    """TPM2_ReadClock."""
    return command(NO_SESSIONS, _READ_CLOCK, b"")


def parse_clock(body: bytes) -> tuple[int, int]:
    """resetCount and restartCount in the body of a TPM2_ReadClock response (TPMS_TIME_INFO)."""
    if len(body) != sum(_TIME_INFO):
        raise TpmError("TPM2_ReadClock returned no TPMS_TIME_INFO")
    return int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big")


def parse_read(body: bytes, asked: Iterable[int]) -> dict[int, bytes]:
    """The values in the body of a TPM2_PCR_Read response.

    The TPM answers with those PCRs of the selection that fit, in rising order.
    """
    mask = body[4 + 4 + 2 + 1 : 4 + 4 + 2 + 1 + _PCR_BYTES]
    listed = [pcr for pcr in sorted(asked) if len(mask) == 3 and mask[pcr // 8] >> pcr % 8 & 1]
    offset = 4 + 4 + 2 + 1 + _PCR_BYTES
    count = int.from_bytes(body[offset : offset + 4], "big")
    offset += 4
    if count != len(listed):
        raise TpmError("TPM2_PCR_Read returned other PCRs than it said")
    values = {}
    for pcr in listed:
        size = int.from_bytes(body[offset : offset + 2], "big")
        value = body[offset + 2 : offset + 2 + size]
        if size != 32 or len(value) != 32:
            raise TpmError("TPM2_PCR_Read returned a value that is not SHA-256")
        values[pcr] = value
        offset += 2 + size
    return values


class Reader:
    """Takes a response apart, from the front. ``what`` is its command, for TpmError."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what

    def take(self, size: int) -> bytes:
        """So many bytes. Raises TpmError when there are fewer."""
        part, self._data = self._data[:size], self._data[size:]
        if len(part) != size:
            raise TpmError(f"{self._what}: the TPM's response ends early")
        return part

    def number(self, size: int) -> int:
        """An integer of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """A TPM2B: two bytes of length, and what follows."""
        return self.take(self.number(2))


class Tpm:
    """A TPM behind a character device, or behind ``transmit`` in tests. Raises TpmError."""

    def __init__(
        self, path: str = TPM_DEVICE, transmit: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._descriptor = -1
        if transmit is None:
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                raise TpmError(f"no TPM: {path}: {error.strerror}") from error
        self._transmit = transmit or self._exchange

    def close(self) -> None:
        """Close the device."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend one PCR of the SHA-256 bank."""
        self.run(extend_command(pcr, digest), f"extend of PCR {pcr}")

    def read(self, pcrs: Iterable[int]) -> dict[int, bytes]:
        """The values of PCRs in the SHA-256 bank, eight at a time as the TPM allows."""
        wanted = sorted(set(pcrs))
        values: dict[int, bytes] = {}
        while wanted:
            part = wanted[:8]
            got = parse_read(self.run(read_command(part), "read of PCRs"), part)
            if not got:
                raise TpmError(f"the TPM has no SHA-256 bank for PCR {part[0]}")
            values.update(got)
            wanted = [pcr for pcr in wanted if pcr not in got]
        return values

    def counters(self) -> tuple[int, int]:
        """How often the TPM was reset and restarted: the two name this boot."""
        return parse_clock(self.run(clock_command(), "read of the clock"))

    def run(self, command: bytes, what: str) -> bytes:
        """The body of the TPM's response to ``command``, which errors call ``what``."""
        response = self._transmit(command)
        if len(response) < 10 or int.from_bytes(response[2:6], "big") != len(response):
            raise TpmError(f"{what}: the TPM's response is malformed")
        code = int.from_bytes(response[6:10], "big")
        if code:
            raise TpmError(f"{what}: the TPM answered with error {code:#x}")
        return response[10:]

    def _exchange(self, command: bytes) -> bytes:
        try:
            os.write(self._descriptor, command)
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            if not poll.poll(_DEADLINE_SECONDS * 1000):
                raise TpmError(f"the TPM did not answer in {_DEADLINE_SECONDS:g} s")
            return os.read(self._descriptor, _RESPONSE_BYTES)
        except OSError as error:
            raise TpmError(f"TPM device: {error.strerror}") from error
