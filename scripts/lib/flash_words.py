"""What scripts/flash says: the disks there are, the question before it writes, what comes next."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from lib.flash import Image
from lib.flash_disks import (
    Disk,
    Machine,
    candidates,
    contents,
    format_size,
    twins,
)
from lib.flash_table import Placed
from lib.flash_use import refusals
from lib.host import HostError

HEADINGS = ("disk", "model", "serial", "size", "by", "on it", "")


def listing(machine: Machine, needed: int) -> str:
    """Return a table of the machine's disks, and of each whether an image may be written there."""
    rows = [HEADINGS]
    for disk in candidates(machine):
        by = f"{disk.transport}, removable" if disk.removable else disk.transport
        why = "; ".join(refusals(machine, disk, needed))
        state = f"no: {why}" if why else "free"
        name = str(machine.dev / disk.name)
        row = (name, disk.model or "-", disk.serial or "-")
        rows.append((*row, format_size(disk.size), by, contents(machine, disk), state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def check_twins(machine: Machine, name: str, placed: Placed, *, allowed: bool) -> None:
    """Warn of other disks that carry partitions of this image, or may carry some unseen.

    Unless it is ``allowed``, raise HostError when there is one. ``name`` is the disk written to.
    """
    uuids = {each.uuid for each in placed.partitions}
    found = twins(machine, name, uuids)
    if found.same:
        disks = (f"{other} ({', '.join(labels)})" for other, labels in found.same.items())
        text = (
            f"this image is on another disk, too: {', '.join(disks)}. A machine with both does not "
            "start AINOS: PID 1 uses root, state and boot loader of one disk only, and the "
            "kernel's choice between two equal roots would be luck"
        )
        if not allowed:
            raise HostError(
                f"{text}. Detach that disk, or say --same-disk-ids and never start AINOS with both"
            )
        print(f"warning: {text}", file=sys.stderr)
    if found.unread:
        print(f"warning: not readable, so not compared: {', '.join(found.unread)}", file=sys.stderr)


def confirm(given: str | None, disk: Disk, what: str, ask: Callable[[str], str] | None) -> None:
    """Raise HostError unless the disk's model, or its size when it has none, was typed.

    ``given`` is what --yes says; ``ask`` asks a person, None when there is nobody.
    """
    kind = "model" if disk.model else "size"
    if given is None:
        if ask is None:
            raise HostError(f"there is no terminal to confirm on; say --yes '{disk.identity}'")
        print(f"{what}\nEverything on it is lost. To go on, type its {kind}: {disk.identity}")
        given = ask("> ")
    if " ".join(given.split()) != disk.identity:
        raise HostError(f"{given!r} is not the {kind} of {disk.name}, {disk.identity!r}")


def question(image: Image, disk: Disk, place: str, held: str) -> str:
    """Return what is about to be done."""
    words = [place, disk.model, disk.serial and f"serial {disk.serial}", format_size(disk.size)]
    words += [disk.transport, "removable" if disk.removable else "", held]
    return f"{image.title} goes to\n  {', '.join(word for word in words if word)}"


def identities(image: Image, placed: Placed) -> str:
    """Return which UUIDs the disk got."""
    kept = [each.name for each in placed.partitions if each.uuid in image.kept]
    new = [each.name for each in placed.partitions if each.uuid not in image.kept]
    return (
        f"UUIDs: {' and '.join(kept)} have those that the signed command line names, "
        f"the disk, {', '.join(new)} new ones"
    )


def advice(image: Image) -> str:
    """Return what to do with the disk now."""
    consoles = re.findall(r"\bconsole=(\S+)", image.manifest["cmdline"])
    return "\n".join(
        (
            "Next:",
            "1. Put the disk into the server. No other disk there may hold this image.",
            "2. In the firmware: UEFI, TPM 2.0 and Secure Boot on, Secure Boot in Setup Mode;",
            "   then enrol db, KEK and PK, in this order; secureboot/enrol --auth DIR writes them.",
            "3. Start from the disk. The first words come from the firmware and the boot loader;",
            f"   later ones are on {', '.join(consoles)}.",
            "docs/install.md goes on from here.",
        )
    )
