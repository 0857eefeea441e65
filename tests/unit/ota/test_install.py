"""A release goes into the other slot: whatever a power cut leaves of that, the machine boots."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.linux import efi, gpt_disk
from ainit.ota import disk, esp_files, install, slots, uki
from ainit.ota.install import Staged
from tests.support import dbx, slot_machine
from tests.support.slot_machine import Machine, boots, contents, image, loader, root_hash

OLD, NEW, BEFORE = "0.2.0", "0.3.0", "0.1.0"


@cache
def made(*, other: str = BEFORE) -> bytes:
    """A machine that runs 0.2.0 from slot A, after a boot, and has 0.1.0 in slot B."""
    entries = {f"ainos_{OLD}+2-1.efi": OLD}
    held = {"a": OLD}
    if other:
        entries[f"ainos_{other}+3-0.efi"] = other
        held["b"] = other
    return slot_machine.make(entries, held)


@pytest.fixture(autouse=True)
def ground(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    files = {"uki": image(NEW), "approval": b"word", "loader": loader("2")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return Staged(NEW, root_hash(NEW), *(str(tmp_path / name) for name in files))


def fill(root: int, tree: int) -> None:
    for descriptor, content in zip((root, tree), contents(NEW), strict=True):
        os.pwrite(descriptor, content, 0)


def installed(
    staged: Staged, monkeypatch: pytest.MonkeyPatch, data: bytes | None = None
) -> Machine:
    machine = Machine(data or made(), OLD, monkeypatch)
    install.install(staged, fill, ground=machine.ground)
    return machine


def last(machine: Machine) -> list[str]:
    return boots(list(machine.disk.cuts(torn=0))[-1])


def test_the_next_boot_takes_it(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = installed(staged, monkeypatch)
    assert last(machine) == [NEW, OLD]
    names = {each.name for each in machine.part.names()}
    assert names == {f"ainos_{OLD}+2-1.efi", f"ainos_{NEW}+3-0.efi", f"ainos_{NEW}.seal.json"}


@pytest.mark.parametrize("other", [BEFORE, ""])
def test_a_cut_anywhere(other: str, staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = installed(staged, monkeypatch, made(other=other))
    seen = {tuple(boots(held)) for held in machine.disk.cuts(torn=1)}
    before = {(OLD, other)} if other else set()
    assert seen == {*before, (OLD,), (NEW, OLD)}


def test_the_running_slot_is_not_touched(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = installed(staged, monkeypatch)
    start, end = (slot_machine.start_of(name) for name in ("root_a", "root_b"))
    assert machine.disk.data[start:end] == made()[start:end]
    written = {number for epoch in machine.disk.epochs for number in epoch.sectors}
    assert not written & set(range(start // 512, end // 512))


def test_it_runs_anew_after_any_cut(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = list(installed(staged, monkeypatch).disk.cuts(torn=0))
    for held in cuts[:: len(cuts) // 4]:
        machine = Machine(held.data(), OLD, monkeypatch)
        if boots(held)[0] == NEW:
            continue
        install.install(staged, fill, ground=machine.ground)
        assert last(machine) == [NEW, OLD]


def test_the_other_slot_is_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(made(), OLD, monkeypatch)
    install.retire(machine.ground)
    assert last(machine) == [OLD]
    for held in machine.disk.cuts(torn=1):
        assert boots(held) in ([OLD, BEFORE], [OLD])
    uuids = {each.uuid for each in gpt_disk.read(machine.disk).partitions()}
    assert not uuids & {
        machine.ground.slots.other.root.uuid,
        machine.ground.slots.other.verity.uuid,
    }


def test_nothing_is_retired_where_the_running_entry_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(made(), "0.9.9", monkeypatch)
    with pytest.raises(RefusedError, match=r"0\.9\.9, which runs, is not on the ESP"):
        install.retire(machine.ground)
    assert machine.disk.data == made()


def nothing(*_: object) -> None:
    """No step."""


@pytest.mark.parametrize(
    "fault",
    ["UUIDs before data", "UKI before data", "other entry left", "UKI shown while written"],
)
def test_these_tests_see_a_fault(
    fault: str, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "check_slot", nothing)
    if fault == "UUIDs before data":
        late = install.fill_slot

        def fill_slot(slot: disk.Slot, fill: install.Fill) -> None:
            install.name_slot(machine.ground, uki.halves(root_hash(NEW)))
            late(slot, fill)

        monkeypatch.setattr(install, "fill_slot", fill_slot)
    elif fault == "UKI before data":
        monkeypatch.setattr(install, "fill_slot", nothing)
        real = install.switch

        def switch(part: esp_files.Esp, name: str) -> None:
            real(part, name)
            write_late(machine)

        monkeypatch.setattr(install, "switch", switch)
    elif fault == "other entry left":
        monkeypatch.setattr(install, "retire", nothing)
    else:
        monkeypatch.setattr(esp_files, "sync_file", nothing)
        monkeypatch.setattr(slots, "hidden", lambda name: name)
        monkeypatch.setattr(install, "switch", nothing)
    machine = Machine(made(), OLD, monkeypatch)
    install.install(staged, fill, ground=machine.ground)
    with pytest.raises(AssertionError):
        every_cut(machine)


def write_late(machine: Machine) -> None:
    with gpt_disk.Device(machine.ground.slots.other.root.device, writable=True) as device:
        os.pwrite(device.descriptor, contents(NEW)[0], 0)
    machine.disk.flush()


def every_cut(machine: Machine) -> None:
    for held in machine.disk.cuts(torn=0):
        boots(held)


def test_pending_is_told_before_the_switch(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(made(), OLD, monkeypatch)
    seen: list[list[str]] = []
    told: list[str] = []

    def pending() -> None:
        machine.disk.flush()
        seen.append(last(machine))

    install.install(staged, fill, told.append, pending, machine.ground)
    assert seen == [[OLD]]
    assert told == [
        "the other slot is retired", "the other slot is written", "the other slot is read back"
    ]  # fmt: skip


def test_a_slot_that_reads_otherwise(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(made(), OLD, monkeypatch)
    with pytest.raises(RefusedError, match="the root has the hash"):
        install.install(staged, nothing, ground=machine.ground)
    assert last(machine) == [OLD]


def other(staged: Staged, tmp_path: Path, **changed: str | bytes) -> Staged:
    values = {}
    for name, value in changed.items():
        if isinstance(value, bytes):
            (tmp_path / "changed").write_bytes(value)
        values[name] = value if isinstance(value, str) else str(tmp_path / "changed")
    return replace(staged, **values)


@pytest.mark.parametrize(
    ("changed", "reason", "is_early"),
    [
        ({"version": "0.4.0"}, r"the UKI is of 0\.3\.0, not of 0\.4\.0", False),
        ({"root_hash": "0" * 64}, "names another root", False),
        ({"version": OLD}, r"0\.2\.0 is what runs", True),
        ({"root_hash": root_hash(OLD)}, r"0\.3\.0 is what runs", True),
        ({"uki": loader("1")}, "no signed UKI", False),
        ({"uki": b"MZ"}, "PE image", False),
        ({"dbx": b"x" * 99}, "list of revocations", True),
    ],
)
def test_what_does_not_belong_together(
    changed: dict[str, str | bytes],
    reason: str,
    is_early: bool,
    staged: Staged,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(made(), OLD, monkeypatch)
    with pytest.raises(RefusedError, match=reason):
        install.install(other(staged, tmp_path, **changed), fill, ground=machine.ground)
    assert (machine.disk.data == made()) == is_early
    assert last(machine) == ([OLD, BEFORE] if is_early else [OLD])


@pytest.mark.parametrize(
    ("revoked", "which", "is_early"),
    [
        (image(NEW), "the new image", False),
        (image(OLD), rf"EFI/Linux/ainos_{OLD}", True),
        (loader("1"), "EFI/BOOT/BOOTX64.EFI", True),
        (loader("2"), "the new loader", False),
    ],
)
def test_a_list_that_revokes_what_is_needed(
    revoked: bytes,
    which: str,
    is_early: bool,
    staged: Staged,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(made(), OLD, monkeypatch)
    wanted = other(staged, tmp_path, dbx=dbx.update([dbx.digest(revoked)]))
    with pytest.raises(RefusedError, match=f"it revokes {which}"):
        install.install(wanted, fill, ground=machine.ground)
    assert last(machine) == ([OLD, BEFORE] if is_early else [OLD])


def test_a_list_of_revocations_is_appended(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    told: list[str] = []
    monkeypatch.setattr(efi, "append_revocations", written.append)
    machine = Machine(made(), OLD, monkeypatch)
    data = dbx.update([bytes(32)])
    install.install(other(staged, tmp_path, dbx=data), fill, told.append, ground=machine.ground)
    assert written == [data]
    assert told[-1] == install.PCR_7
    assert last(machine) == [NEW, OLD]


def test_a_list_that_is_not_taken(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: bytes) -> None:
        raise UnavailableError("the firmware")

    monkeypatch.setattr(efi, "append_revocations", refuse)
    machine = Machine(made(), OLD, monkeypatch)
    with pytest.raises(UnavailableError):
        install.install(
            other(staged, tmp_path, dbx=dbx.update([bytes(32)])), fill, ground=machine.ground
        )
    assert last(machine) == [OLD]
