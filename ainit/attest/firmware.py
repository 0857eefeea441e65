"""The firmware's event log (TCG PC Client Platform Firmware Profile, section 10): parse, replay.

An event's *type* is not covered by its digest, so nothing is believed because of a type alone:
where the profile defines the digest as that of the event's data, it is recomputed, and only such
data is used for a decision. Leaves out: what the events should be; golden PCR values say that.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .tpms import SHA256, MalformedError

EV_NO_ACTION = 0x00000003
EV_SEPARATOR = 0x00000004
EV_IPL = 0x0000000D
EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001

# The events of the profile (table 27). Any other type is refused: its meaning would be a guess.
EVENT_NAMES = {
    0x00000001: "EV_POST_CODE",
    EV_NO_ACTION: "EV_NO_ACTION",
    EV_SEPARATOR: "EV_SEPARATOR",
    0x00000005: "EV_ACTION",
    0x00000006: "EV_EVENT_TAG",
    0x00000007: "EV_S_CRTM_CONTENTS",
    0x00000008: "EV_S_CRTM_VERSION",
    0x00000009: "EV_CPU_MICROCODE",
    0x0000000A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0000000B: "EV_TABLE_OF_DEVICES",
    0x0000000C: "EV_COMPACT_HASH",
    EV_IPL: "EV_IPL",
    0x00000010: "EV_NONHOST_CODE",
    0x00000011: "EV_NONHOST_CONFIG",
    0x00000012: "EV_NONHOST_INFO",
    0x00000013: "EV_OMIT_BOOT_DEVICE_EVENTS",
    0x00000014: "EV_POST_CODE2",
    EV_EFI_VARIABLE_DRIVER_CONFIG: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    0x80000002: "EV_EFI_VARIABLE_BOOT",
    0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
    0x80000006: "EV_EFI_GPT_EVENT",
    0x80000007: "EV_EFI_ACTION",
    0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x80000009: "EV_EFI_HANDOFF_TABLES",
    0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000000B: "EV_EFI_HANDOFF_TABLES2",
    0x8000000C: "EV_EFI_VARIABLE_BOOT2",
    0x8000000D: "EV_EFI_GPT_EVENT2",
    0x80000010: "EV_EFI_HCRTM_EVENT",
    0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
    0x800000E1: "EV_EFI_SPDM_FIRMWARE_BLOB",
    0x800000E2: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}
# Types whose digest is that of the event data itself. EV_EFI_VARIABLE_AUTHORITY should be one, but
# firmware in the field hashes less there; PCR 7's golden value judges those events.
_SELF_COVERING = {
    EV_SEPARATOR,
    0x00000005,
    EV_EFI_VARIABLE_DRIVER_CONFIG,
    0x80000007,
}
_GLOBAL_VARIABLE = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class FirmwareEvent:
    """One event: where it stands in the log, what was extended into which PCR, and its data."""

    number: int
    pcr: int
    type: int
    digest: bytes
    data: bytes

    @property
    def name(self) -> str:
        """The profile's name for the type."""
        return EVENT_NAMES.get(self.type, f"type {self.type:#x}")

    def text(self) -> str:
        """The data of a measured string (systemd-stub's UTF-16, or ASCII), for people to read."""
        wide = len(self.data) % 2 == 0 and self.data[1:2] == b"\0"
        text = self.data.decode("utf-16-le" if wide else "utf-8", "replace").rstrip("\0")
        return "".join(c if c.isprintable() else "?" for c in text)[:200]


@dataclass(frozen=True, slots=True)
class Variable:
    """UEFI_VARIABLE_DATA: a UEFI variable as it was measured."""

    vendor: bytes
    name: str
    data: bytes


class _Reader:
    """Little-endian fields of the log; never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, size: int) -> bytes:
        part = self._data[self.offset : self.offset + size]
        if len(part) != size:
            raise MalformedError(f"the log ends within an event, at byte {len(self._data)}")
        self.offset += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def more(self) -> bool:
        return self.offset < len(self._data)


def parse(log: bytes) -> list[FirmwareEvent]:
    """The events after the header, with their SHA-256 digests. Raises MalformedError."""
    reader = _Reader(log)
    sizes = _header(reader)
    events: list[FirmwareEvent] = []
    while reader.more():
        if len(events) == _LIMIT:
            raise MalformedError(f"the log has more than {_LIMIT} events")
        events.append(_event(reader, len(events) + 1, sizes))
    return events


def _header(reader: _Reader) -> dict[int, int]:
    """The digest sizes by algorithm, from the Specification ID event (section 10.4.5.1)."""
    pcr, kind, digest = reader.number(4), reader.number(4), reader.take(20)
    body = _Reader(reader.take(reader.number(4)))
    if pcr or kind != EV_NO_ACTION or any(digest) or body.take(16) != b"Spec ID Event03\0":
        raise MalformedError("the log does not begin with a Specification ID event")
    body.take(8)  # platform class, version, errata, size of UINTN
    sizes = {}
    for _ in range(body.number(4)):
        algorithm, size = body.number(2), body.number(2)
        if not 20 <= size <= 64 or algorithm in sizes:
            raise MalformedError("the log's header lists a digest algorithm wrongly")
        sizes[algorithm] = size
    body.take(body.number(1))
    if body.more() or sizes.get(SHA256) != 32:
        raise MalformedError("the log's header offers no SHA-256 digests")
    return sizes


def _event(reader: _Reader, number: int, sizes: dict[int, int]) -> FirmwareEvent:
    pcr, kind = reader.number(4), reader.number(4)
    digests: dict[int, bytes] = {}
    for _ in range(reader.number(4)):
        algorithm = reader.number(2)
        if algorithm not in sizes or algorithm in digests:
            raise MalformedError(f"event {number}: digest algorithm {algorithm:#x} is out of place")
        digests[algorithm] = reader.take(sizes[algorithm])
    if set(digests) != set(sizes):
        raise MalformedError(f"event {number}: has no digest for each bank")
    if pcr >= 24:
        raise MalformedError(f"event {number}: there is no PCR {pcr}")
    return FirmwareEvent(number, pcr, kind, digests[SHA256], reader.take(reader.number(4)))


def replay(events: list[FirmwareEvent]) -> dict[int, bytes]:
    """The PCR values that the events lead to; a PCR without events is absent (zero)."""
    values: dict[int, bytes] = {}
    for event in events:
        if event.type != EV_NO_ACTION:
            before = values.get(event.pcr, bytes(32))
            values[event.pcr] = hashlib.sha256(before + event.digest).digest()
        elif event.pcr == 0 and event.data[:16] == b"StartupLocality\0" and 0 not in values:
            # PCR 0 starts at the locality of TPM2_Startup (section 10.4.5.3).
            values[0] = event.data[16:17].rjust(32, b"\0")
    return values


def contradictions(events: list[FirmwareEvent]) -> list[str]:
    """What is wrong with the log in itself, in plain words."""
    problems = []
    separators = dict.fromkeys(range(8), 0)
    for event in events:
        where = f"event {event.number} ({event.name}, PCR {event.pcr})"
        if event.type not in EVENT_NAMES:
            problems.append(f"{where}: the event type is unknown")
        if event.type == EV_NO_ACTION:
            if any(event.digest):
                problems.append(f"{where}: an event that is not extended carries a digest")
        elif event.type in _SELF_COVERING and hashlib.sha256(event.data).digest() != event.digest:
            problems.append(f"{where}: the digest is not that of the event's data")
        if event.type == EV_SEPARATOR and event.pcr in separators:
            separators[event.pcr] += 1
            if event.data not in (bytes(4), b"\xff" * 4):
                problems.append(f"{where}: the firmware reports an error")
    for pcr, count in separators.items():
        if count != 1:
            problems.append(f"PCR {pcr} has {count} separators; the firmware writes one")
    return problems


def parse_variable(data: bytes) -> Variable:
    """UEFI_VARIABLE_DATA (section 10.2.6). Raises MalformedError."""
    if len(data) < 32:
        raise MalformedError("a measured UEFI variable ends early")
    characters, size = struct.unpack_from("<QQ", data, 16)
    if 32 + 2 * characters + size != len(data):
        raise MalformedError("a measured UEFI variable is not as long as it says")
    end = 32 + 2 * characters
    return Variable(data[:16], data[32:end].decode("utf-16-le", "replace"), data[end:])


def variables(events: Iterable[FirmwareEvent]) -> dict[str, bytes]:
    """The digest of each variable that the firmware measured into PCR 7, by its name."""
    found = {}
    for event in events:
        if event.pcr == 7 and event.type == EV_EFI_VARIABLE_DRIVER_CONFIG:
            try:
                found[parse_variable(event.data).name] = event.digest
            except MalformedError:
                continue
    return found


def is_secure_boot_on(events: list[FirmwareEvent]) -> bool | None:
    """What the firmware measured as the variable SecureBoot before it loaded anything.

    None when the log does not hold exactly one such event whose digest covers it.
    """
    found = []
    for event in events:
        if event.pcr == 7 and event.type == EV_SEPARATOR:
            break
        if event.pcr != 7 or event.type != EV_EFI_VARIABLE_DRIVER_CONFIG:
            continue
        if hashlib.sha256(event.data).digest() != event.digest:
            continue
        try:
            variable = parse_variable(event.data)
        except MalformedError:
            continue
        if (variable.vendor, variable.name) == (_GLOBAL_VARIABLE, "SecureBoot"):
            found.append(variable.data == b"\x01")
    return found[0] if len(found) == 1 else None
