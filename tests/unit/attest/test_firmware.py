from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.attest import firmware
from ainit.attest.tpms import MalformedError

from . import firmware_log
from .firmware_log import Entry


def read(entries: list[Entry]) -> list[firmware.FirmwareEvent]:
    return firmware.parse(firmware_log.write(entries))


def test_a_good_log_replays_and_contradicts_nothing() -> None:
    entries = firmware_log.boot()
    events = read(entries)
    assert [(e.pcr, e.type, e.digest, e.data) for e in events] == [
        (e.pcr, e.type, e.extended, e.data) for e in entries
    ]
    replayed = firmware.replay(events)
    folded = firmware_log.fold(entries)
    assert replayed == {pcr: folded[pcr] for pcr in replayed}
    assert firmware.contradictions(events) == []
    assert firmware.is_secure_boot_on(events) is True


def test_pcr_0_starts_at_the_locality_of_startup() -> None:
    locality = Entry(0, firmware_log.NO_ACTION, b"StartupLocality\0\3")
    assert firmware.replay(read([locality]))[0] == bytes(31) + b"\3"
    late = firmware.replay(read([firmware_log.boot()[0], locality]))
    assert late == firmware.replay(read(firmware_log.boot()[:1]))


def test_every_cut_is_refused() -> None:
    log = firmware_log.write(firmware_log.boot())
    whole = {len(firmware_log.write(firmware_log.boot()[:n])) for n in range(40)}
    for size in range(len(log)):
        if size not in whole:
            with pytest.raises(MalformedError):
                firmware.parse(log[:size])


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        firmware.parse(data)


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(position: int, value: int) -> None:
    log = bytearray(firmware_log.write(firmware_log.boot()))
    log[position % len(log)] = value
    try:
        events = firmware.parse(bytes(log))
    except MalformedError:
        return
    firmware.contradictions(events)
    firmware.replay(events)
    firmware.is_secure_boot_on(events)
    assert all(event.text().isprintable() for event in events)


@pytest.mark.parametrize(
    "algorithms",
    [(), ((0x0004, 20),), ((0x000B, 31),), ((0x000B, 32), (0x000B, 32)), ((0x000B, 65),)],
    ids=["none", "sha1-only", "short", "twice", "long"],
)
def test_a_header_without_sha256(algorithms: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(MalformedError):
        firmware.parse(firmware_log.header(algorithms))


def test_a_log_of_two_banks_is_read_in_sha256() -> None:
    head = firmware_log.header(((0x0004, 20), (0x000B, 32)))
    body = struct.pack("<IIIH", 4, 0xD, 2, 0x0004) + b"1" * 20
    body += struct.pack("<H", 0x000B) + b"2" * 32 + struct.pack("<I", 0)
    (event,) = firmware.parse(head + body)
    assert event.digest == b"2" * 32


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (Entry(9, 0x777, b""), "unknown"),
        (Entry(4, firmware_log.EFI_ACTION, b"said", b"\1" * 32), "not that of the event's data"),
        (Entry(7, firmware_log.DRIVER_CONFIG, b"x", b"\1" * 32), "not that of the event's data"),
        (Entry(3, firmware_log.SEPARATOR, bytes(4)), "2 separators"),
        (Entry(3, firmware_log.SEPARATOR, b"\1\0\0\0"), "reports an error"),
    ],
    ids=["type", "action", "variable", "second-separator", "error-separator"],
)
def test_contradictions_are_named(entry: Entry, word: str) -> None:
    problems = firmware.contradictions(read([*firmware_log.boot(), entry]))
    assert any(word in problem for problem in problems)


def test_an_event_that_is_not_extended_has_no_digest() -> None:
    log = bytearray(firmware_log.write([Entry(0, firmware_log.NO_ACTION, b"x")]))
    log[-37] = 1
    assert "carries a digest" in firmware.contradictions(firmware.parse(bytes(log)))[0]


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(16) + b"\xff" * 16, bytes(40)])
def test_a_variable_that_is_not_as_long_as_it_says(data: bytes) -> None:
    with pytest.raises(MalformedError):
        firmware.parse_variable(data)


SECURE = next(e for e in firmware_log.boot() if "SecureBoot".encode("utf-16-le") in e.data)
SETUP = firmware_log.variable(firmware_log.GLOBAL, "SetupMode", b"\1")


@pytest.mark.parametrize(
    ("entries", "answer"),
    [
        ([SECURE], True),
        (firmware_log.boot(secure=False), False),
        ([], None),
        ([SECURE, SECURE], None),
        ([Entry(7, firmware_log.SEPARATOR, bytes(4)), SECURE], None),
        ([replace(SECURE, pcr=1)], None),
        ([SECURE.relabelled(firmware_log.IPL)], None),
        ([replace(SECURE, digest=b"\1" * 32)], None),
        ([replace(SECURE, data=SETUP)], None),
        ([replace(SECURE, data=b"no variable")], None),
        ([replace(SECURE, data=SECURE.data.replace(firmware_log.GLOBAL, bytes(16)))], None),
        ([replace(SECURE, data=SECURE.data[:-1] + b"\2")], False),
    ],
)
def test_secure_boot_is_only_what_the_firmware_measured(
    entries: list[Entry], answer: bool | None
) -> None:
    assert firmware.is_secure_boot_on(read(entries)) is answer


def test_a_measured_text_is_shown_without_control_characters() -> None:
    (event,) = read([firmware_log.command_line("init=/bin/sh\x1b[2J")])
    assert event.text() == "init=/bin/sh?[2J"
