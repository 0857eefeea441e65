"""A TPM's SHA-256 bank in memory: it understands the raw commands that PID 1 sends, and no others.

``tests/contract/test_tpm.py`` holds it to the same expectations as swtpm.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256

_BAD_COMMAND = 0x143  # TPM_RC_COMMAND_CODE
_BAD_VALUE = 0x1C4  # TPM_RC_VALUE for parameter 1
_READ_MAX = 8


class _Code(IntEnum):
    EXTEND = 0x182
    READ = 0x17E
    CLOCK = 0x181


class PcrBank:
    """Give ``transmit`` to ``ainit.linux.tpm.Tpm``. ``code`` is the error it answers."""

    def __init__(self) -> None:
        self.values = {pcr: bytes(32) for pcr in range(24)}
        self.code = 0
        self.counters = (7, 0)  # resets, restarts
        self.commands: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        """The response to one command."""
        self.commands.append(command)
        if self.code or int.from_bytes(command[2:6], "big") != len(command):
            return _response(b"", self.code or _BAD_COMMAND)
        match int.from_bytes(command[6:10], "big"), len(command):
            case _Code.EXTEND, 65:
                return self._extend(command)
            case _Code.READ, 20:
                return self._read(command)
            case _Code.CLOCK, 10:
                return self._clock()
            case _:
                return _response(b"", _BAD_COMMAND)

    def _clock(self) -> bytes:
        resets, restarts = self.counters
        counts = resets.to_bytes(4, "big") + restarts.to_bytes(4, "big")
        return _response((9_000).to_bytes(8, "big") * 2 + counts + b"\1")

    def _extend(self, command: bytes) -> bytes:
        pcr = int.from_bytes(command[10:14], "big")
        if pcr not in self.values:
            return _response(b"", _BAD_VALUE)
        session = int.from_bytes(command[14:18], "big")
        digest = command[18 + session + 6 :]
        self.values[pcr] = sha256(self.values[pcr] + digest).digest()
        return _response(bytes(4) + bytes((0, 0, 1, 0, 0)), tag=0x8002)

    def _read(self, command: bytes) -> bytes:
        mask = command[17:20]
        asked = [pcr for pcr in range(24) if mask[pcr // 8] >> pcr % 8 & 1][:_READ_MAX]
        answered = bytearray(3)
        for pcr in asked:
            answered[pcr // 8] |= 1 << pcr % 8
        selection = (1).to_bytes(4, "big") + b"\x00\x0b\x03" + bytes(answered)
        digests = b"".join(b"\x00\x20" + self.values[pcr] for pcr in asked)
        return _response(bytes(4) + selection + len(asked).to_bytes(4, "big") + digests)


def _response(body: bytes, code: int = 0, tag: int = 0x8001) -> bytes:
    return (
        tag.to_bytes(2, "big")
        + (10 + len(body)).to_bytes(4, "big")
        + code.to_bytes(4, "big")
        + body
    )
