"""Write a release into the slot that does not run, and let the next boot take it.

Until the last step, whatever happens, the running slot starts as it did: its partitions and its
entry are not touched. At that step the other slot holds what its UKI names, on the disk, read back.
`install` may be interrupted anywhere and runs anew from the start.

    install(Staged("0.2.0", root_hash, uki, approval, loader, dbx), fill, print)

===================  ==================================================================
`check`              it is not what runs, and revokes nothing that does
`retire`             the other slot's entries go from the loader, then its UUIDs (`clear_slot`)
`fill_slot`          its two partitions are written, and the file of the UKI
`flush_slot`         and flushed
`check_uki`          UKI, root hash and version belong together; it is not revoked
`check_slot`         and read back, block by block, against the signed root hash
`name_slot`          their UUIDs become the halves of the root hash
`replace_loader`     in `boot`; where a new one is given
`prepare`            in `boot`: approval and UKI, hidden, read back
`revoke`             the firmware's ``dbx``; where one is given
`pending`            the caller writes down what is about to happen
`switch`             the loader sees the entry
===================  ==================================================================

A list of revocations changes PCR 7 from the next boot on, of either slot: a state that is sealed to
it has to be sealed anew. It is appended last, so that only an update that is whole does so.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from .. import __version__
from ..child import esp
from ..errors import RefusedError
from ..linux import efi, gpt_disk
from . import boot, disk, revocation, slots, uki, verity
from .disk import Slot
from .esp_files import IMAGES, Esp, show
from .pe import Image

Fill = Callable[[int, int], None]
Tell = Callable[[str], None]
PCR_7 = "the list of revocations changes PCR 7: a sealed state has to be sealed anew"


@dataclass(frozen=True, slots=True)
class Staged:
    """What is installed. All but version and root hash are paths of verified files; ``uki`` may be
    made while the slot is filled. Those that a release does not have are None. ``dbx`` is an
    authenticated append.
    """

    version: str
    root_hash: str
    uki: str
    approval: str | None = None
    loader: str | None = None
    dbx: str | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """Where it is installed: disk, slots and ESP; ``version`` runs, started by the entry
    ``selected``.
    """

    slots: disk.Slots
    part: Esp
    version: str
    selected: str

    @classmethod
    def find(cls) -> Ground:
        """This machine's. Raises AinosError."""
        selected = efi.loader_text("LoaderEntrySelected")
        return cls(disk.find(), Esp(esp.device()), __version__, selected)


def install(
    staged: Staged,
    fill: Fill,
    tell: Tell = lambda _: None,
    pending: Callable[[], None] = lambda: None,
    ground: Ground | None = None,
) -> None:
    """Install a release. ``fill`` writes root and hash tree through two descriptors. Raises
    RefusedError for what must not be installed, another AinosError or OSError for what failed; then
    the running slot is what boots, but the other one may be gone.
    """
    ground = ground or Ground.find()
    check(staged, ground)
    tell("the other slot is retired")
    retire(ground)
    tell("the other slot is written")
    fill_slot(ground.slots.other, fill)
    flush_slot(ground.slots.other)
    wanted = check_uki(staged)
    tell("the other slot is read back")
    check_slot(ground.slots.other, wanted)
    name_slot(ground, wanted.uuids)
    if staged.loader is not None:
        boot.replace_loader(ground.part, staged.loader)
    name = boot.prepare(ground.part, staged.version, staged.uki, staged.approval)
    if staged.dbx is not None:
        revoke(staged.dbx)
        tell(PCR_7)
    pending()
    switch(ground.part, name)


def check(staged: Staged, ground: Ground) -> None:
    """Raise RefusedError when this is what runs already, or when the machine would not start again
    with what it revokes.
    """
    running = ground.slots.running
    if (
        staged.version == ground.version
        or str(uki.halves(staged.root_hash)[0]) == running.root.uuid
    ):
        raise RefusedError(f"{staged.version} is what runs")
    if staged.dbx is not None:
        _check_revoked(staged.dbx, _images(ground))


def check_uki(staged: Staged) -> uki.Uki:
    """What the UKI starts. Raises RefusedError when that is not what is installed, or when it, or
    its loader, would be revoked.
    """
    found = uki.read(_content(staged.uki))
    if found.version != staged.version:
        raise RefusedError(f"the UKI is of {found.version}, not of {staged.version}")
    if found.root_hash != staged.root_hash:
        raise RefusedError("the UKI names another root than the release")
    if staged.dbx is not None:
        images = {"the new image": found.image}
        if staged.loader is not None:
            images["the new loader"] = Image(_content(staged.loader))
        _check_revoked(staged.dbx, images)
    return found


def _check_revoked(path: str, images: dict[str, Image]) -> None:
    if why := revocation.refusal(revocation.parse(_content(path)), images):
        raise RefusedError(f"the list of revocations is not appended: {why}")


def retire(ground: Ground | None = None) -> None:
    """Make the slot that does not run unbootable: its entries first, then its UUIDs. Raises
    RefusedError when the entry that runs is not on the ESP: nothing else must go then.
    """
    ground = ground or Ground.find()
    boot.remove_others(ground.part, slots.stem(ground.version), ground.selected)
    clear_slot(ground)


def clear_slot(ground: Ground) -> None:
    """Give the other slot's partitions UUIDs that nobody asks for."""
    name_slot(ground, (uuid.uuid4(), uuid.uuid4()))


def fill_slot(slot: Slot, fill: Fill) -> None:
    """Have root and hash tree written."""
    with (
        gpt_disk.Device(slot.root.device, writable=True) as root,
        gpt_disk.Device(slot.verity.device, writable=True) as tree,
    ):
        fill(root.descriptor, tree.descriptor)


def flush_slot(slot: Slot) -> None:
    """Wait until both are on the disk."""
    for part in (slot.root, slot.verity):
        with gpt_disk.Device(part.device, writable=True) as device:
            device.flush()


def check_slot(slot: Slot, wanted: uki.Uki) -> None:
    """Read both from the disk, not from memory, and compare every block with the root hash. Raises
    RefusedError.
    """
    with gpt_disk.Device(slot.root.device) as root, gpt_disk.Device(slot.verity.device) as tree:
        verity.check(root.descriptor, tree.descriptor, wanted.root_hash, wanted.geometry)


def name_slot(ground: Ground, uuids: tuple[uuid.UUID, uuid.UUID]) -> None:
    """Give the other slot's partitions these UUIDs."""
    other = ground.slots.other
    with gpt_disk.Device(ground.slots.disk, writable=True) as device:
        table = gpt_disk.read(device)
        for part, identity in zip((other.root, other.verity), uuids, strict=True):
            table = table.named(table.labelled(part.label).number, identity)
        gpt_disk.write(device, table)


def revoke(path: str) -> None:
    """Append to the firmware's list."""
    efi.append_revocations(_content(path))


def switch(part: Esp, name: str) -> None:
    """Let the loader see the entry: from now on the next boot takes it."""
    show(part, IMAGES, slots.hidden(name), name)


def _images(ground: Ground) -> dict[str, Image]:
    """What the machine starts with now."""
    stem = slots.stem(ground.version)
    names = [each.name for each in boot.entries(ground.part) if each.stem == stem]
    with ground.part.mounted() as root:
        paths = [f"{IMAGES}/{name}" for name in names]
        paths.append(f"{boot.LOADERS}/{boot.loader_name()}")
        return {path: Image(_content(f"{root}/{path}")) for path in paths}


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
