"""Attacks with the firmware's log, whose event types no digest covers, and with what was booted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.unit.attest import firmware_log
from tests.unit.attest.firmware_log import Entry

from .attack import Ground, both, stopped_by, unsaid

REPLAY = stopped_by("the firmware's log leads to the quoted PCRs", unsaid("replay"))
PREDICTED = stopped_by("the PCR is the predicted one", unsaid("golden"))


def told(
    ground: Ground, booted: list[Entry], log: list[Entry], unpredicted: Collection[int] = ()
) -> bool:
    """The machine boots like this, and its firmware's log is another one; believed, by a verifier
    without predictions of some PCRs?
    """
    ground.machine.boot(booted)
    ground.machine.firmware_log.write_bytes(firmware_log.write(log))
    return ground.answers(unpredicted)


def exchanged(text: bytes, digest: bytes) -> list[Entry]:
    """A boot in which the event with this text has another digest."""
    return [
        replace(entry, digest=digest) if entry.data == text else entry
        for entry in firmware_log.boot()
    ]


DRIVER = Entry(2, 0x80000004, b"an option ROM", b"\x66" * 32)


@REPLAY
def driver_hidden(ground: Ground) -> bool:
    """An option ROM ran before the loader; the log does not mention it."""
    return told(ground, [DRIVER, *firmware_log.boot()], firmware_log.boot())


@REPLAY
def firmware_log_cut_short(ground: Ground) -> bool:
    """The log ends before what was measured last."""
    late = Entry(5, firmware_log.EFI_ACTION, b"one thing more")
    return told(ground, [*firmware_log.boot(), late], firmware_log.boot())


@REPLAY
def firmware_events_exchanged(ground: Ground) -> bool:
    """Two events of one PCR change places."""
    entries = firmware_log.boot()
    return told(ground, entries, [entries[1], entries[0], *entries[2:]])


@REPLAY
def event_that_was_never_extended(ground: Ground) -> bool:
    """An event is added for a PCR that nothing else used."""
    return told(
        ground, firmware_log.boot(), [*firmware_log.boot(), Entry(8, firmware_log.IPL, b"never")]
    )


@REPLAY
def locality_claimed(ground: Ground) -> bool:
    """The log claims that a hardware root of trust started the TPM."""
    claim = Entry(0, firmware_log.NO_ACTION, b"StartupLocality\0\3")
    return told(ground, firmware_log.boot(), [claim, *firmware_log.boot()])


@REPLAY
def pcr_that_no_log_explains(ground: Ground) -> bool:
    """Something was extended behind all logs."""
    ground.machine.boot()
    ground.machine.tpm.tpm().extend(8, b"\x01" * 32)
    return ground.answers()


@stopped_by("an unknown type of firmware event is refused", unsaid("firmware-event", "unknown"))
def firmware_event_of_an_unknown_type(ground: Ground) -> bool:
    """A driver's event gets a type that a verifier might pass over."""
    entries = firmware_log.boot()
    return told(ground, entries, [entries[0].relabelled(0x12345678), *entries[1:]])


@stopped_by("there is one separator for each PCR", unsaid("firmware-event", "separators"))
def separators_relabelled(ground: Ground) -> bool:
    """The marks between firmware and loader become ordinary events: nothing is before them now."""
    hidden = [
        entry.relabelled(firmware_log.IPL) if entry.type == firmware_log.SEPARATOR else entry
        for entry in firmware_log.boot()
    ]
    return told(ground, firmware_log.boot(), hidden)


@stopped_by("a separator reports no error", unsaid("firmware-event", "reports an error"))
def firmware_that_failed(ground: Ground) -> bool:
    """A firmware whose own measurement failed says so in a separator, as the profile asks."""
    entries = [
        replace(entry, data=b"\1\0\0\0")
        if (entry.pcr, entry.type) == (2, firmware_log.SEPARATOR)
        else entry
        for entry in firmware_log.boot()
    ]
    return told(ground, entries, entries)


@stopped_by("text that a digest covers is the text", unsaid("firmware-event", "not that of"))
def action_rewritten(ground: Ground) -> bool:
    """The text of a firmware action is rewritten; its digest stays."""
    entries = [
        replace(entry, data=b"Nothing happened", digest=entry.extended)
        if entry.data == b"Exit Boot Services Invocation"
        else entry
        for entry in firmware_log.boot()
    ]
    return told(ground, firmware_log.boot(), entries)


@stopped_by("what was not extended has no digest", unsaid("firmware-event", "carries a digest"))
def digest_of_nothing(ground: Ground) -> bool:
    """An event that is not extended carries a digest, for a verifier that looks for one."""
    claim = Entry(4, firmware_log.NO_ACTION, b"path of the good loader")
    raw = claim.write()
    forged = raw[:14] + b"\x04" * 32 + raw[46:]  # PCR, type, count and algorithm come first
    ground.machine.boot()
    log = firmware_log.write(firmware_log.boot()) + forged
    ground.machine.firmware_log.write_bytes(log)
    return ground.answers()


def off(entries: list[Entry]) -> Entry:
    """The event that tells of Secure Boot."""
    return next(entry for entry in entries if "SecureBoot".encode("utf-16-le") in entry.data)


@stopped_by("Secure Boot is on", unsaid("secure-boot", "is off"))
def secure_boot_off(ground: Ground) -> bool:
    """Secure Boot is off on a machine whose keys nobody predicted."""
    entries = firmware_log.boot(secure=False)
    return told(ground, entries, entries, unpredicted={7})


@stopped_by(
    "what tells of Secure Boot is covered by its digest",
    both(unsaid("firmware-event", "not that of"), unsaid("secure-boot", "does not say")),
)
def secure_boot_claimed(ground: Ground) -> bool:
    """Secure Boot is off; the log has the digest of that, and the text of the contrary."""
    entries = firmware_log.boot(secure=False)
    lie = replace(off(entries), data=off(entries).data[:-1] + b"\1", digest=off(entries).extended)
    log = [lie if entry is off(entries) else entry for entry in entries]
    return told(ground, entries, log, unpredicted={7})


@PREDICTED
def another_kernel(ground: Ground) -> bool:
    """A kernel that is signed by a trusted key and is not the build's, an old one for example."""
    entries = exchanged(b"path of the kernel image", b"\x77" * 32)
    return told(ground, entries, entries)


@PREDICTED
def another_loader(ground: Ground) -> bool:
    """Another boot loader that the firmware accepts."""
    entries = exchanged(b"path of the boot loader", b"\x78" * 32)
    return told(ground, entries, entries)


@PREDICTED
def keys_added(ground: Ground) -> bool:
    """A key was added to db: its owner may boot what he likes."""
    entries = [
        replace(entry, data=entry.data + b" and another")
        if entry.data.endswith(b"our db")
        else entry
        for entry in firmware_log.boot()
    ]
    return told(ground, entries, entries)


@PREDICTED
def foreign_initrd(ground: Ground) -> bool:
    """An initrd that the loader's entry names, beside the signed kernel image."""
    entries = [*firmware_log.boot(), Entry(9, 0x6, b"an initrd", b"\x79" * 32)]
    return told(ground, entries, entries)


@PREDICTED
def section_exchanged(ground: Ground) -> bool:
    """The command line in the kernel image is another one."""
    entries = [
        replace(entry, digest=b"\x7a" * 32) if entry.digest == b"\x12" * 32 else entry
        for entry in firmware_log.boot()
    ]
    return told(ground, entries, entries)


@stopped_by("nothing but ainit measures into its PCRs", unsaid("foreign-measurement"))
def command_line_added(ground: Ground) -> bool:
    """The stub measured a command line from outside of the image, on a machine whose configuration
    nobody predicted.
    """
    entries = [*firmware_log.boot(), firmware_log.command_line("init=/bin/sh")]
    return told(ground, entries, entries, unpredicted={12})
