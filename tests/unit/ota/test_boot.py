"""What a loader finds on the ESP, whatever a power cut leaves of a change to it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.linux import fat
from ainit.linux.gpt_disk import Disk
from ainit.ota import boot, esp_files, slots
from ainit.ota.esp_files import IMAGES, Esp, put, show
from tests.support import esp_image
from tests.support.cut_disk import Cut
from tests.support.esp_image import CutEsp, seen

OLD, NEW = b"old image " * 200, b"new image " * 230
LOADER, LATER = b"loader" * 300, b"a later loader" * 120
RUNNING = "ainos_0.1.0+2-1.efi"
FILES = {
    "EFI/BOOT/BOOTX64.EFI": LOADER,
    f"EFI/Linux/{RUNNING}": OLD,
    "EFI/Linux/ainos_0.1.0.seal.json": b"old approval",
    "loader/loader.conf": b"timeout 0\n",
}
OTHER = {
    "EFI/Linux/ainos_0.0.9+0-3.efi": b"other image " * 90,
    "EFI/Linux/ainos_0.0.9.seal.json": b"{}",
}


@cache
def made(*, other: bool = False) -> bytes:
    return esp_image.make(FILES | OTHER if other else FILES)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def new(tmp_path: Path) -> dict[str, str]:
    """The files of a release."""
    contents = {"uki": NEW, "approval": b"new approval", "loader": LATER}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


Files = dict[str, str]
Change = Callable[[Esp, Files], object]
CHANGES: dict[str, Change] = {
    "install": lambda part, new: boot.install(part, "0.2.0", new["uki"], new["approval"]),
    "remove": lambda part, _: boot.remove(part, "ainos_0.0.9"),
    "rearm": lambda part, _: boot.rearm(part, f"\\EFI\\Linux\\{RUNNING}"),
    "condemn": lambda part, _: boot.condemn(part, f"\\EFI\\Linux\\{RUNNING}"),
    "loader": lambda part, new: boot.replace_loader(part, new["loader"]),
}
WHOLE = {OLD, NEW, OTHER["EFI/Linux/ainos_0.0.9+0-3.efi"]}


def changed(change: str, new: Files) -> CutEsp:
    part = CutEsp(made(other=change == "remove"))
    CHANGES[change](part, new)
    return part


def check(held: Cut, change: str) -> None:
    """The running image can be started, and whatever a loader may start is whole."""
    found = seen(held)
    assert all(content in WHOLE for _, content in found)
    counted = [slots.entry(name) for name, content in found if content == OLD]
    assert [each.stem for each in counted if each] == ["ainos_0.1.0"]
    if change != "condemn":
        assert all(each.left for each in counted if each)
    assert all(slots.entry(name) for name, _ in found)
    loaders = dict(seen(held, boot.LOADERS))
    assert loaders["BOOTX64.EFI"] in (LOADER, LATER)


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_cut_anywhere(change: str, new: Files) -> None:
    states = set()
    for held in changed(change, new).disk.cuts(torn=2):
        check(held, change)
        states.add(tuple(seen(held)) + tuple(seen(held, boot.LOADERS)))
    assert len(states) >= 2


@pytest.mark.parametrize("change", list(CHANGES))
def test_the_next_run_makes_it_good(change: str, new: Files) -> None:
    cuts = list(changed(change, new).disk.cuts(torn=0))
    wanted = listed(changed(change, new))
    for held in cuts[:: max(len(cuts) // 3, 1)]:
        part = CutEsp(held.data())
        boot.remove(part, "ainos_0.2.0")
        if change in {"rearm", "condemn"}:
            name = next(each.name for each in boot.entries(part) if each.stem == "ainos_0.1.0")
            (boot.rearm if change == "rearm" else boot.condemn)(part, f"/EFI/Linux/{name}")
        else:
            CHANGES[change](part, new)
        assert listed(part) == wanted


def listed(part: CutEsp) -> dict[str, bytes]:
    return {
        each.name: esp_image.content(part.disk, each)
        for folder in (IMAGES, boot.LOADERS)
        for each in part.names(folder)
    }


def test_an_image_is_installed(new: Files) -> None:
    part = CutEsp(made())
    assert boot.install(part, "0.2.0", new["uki"], new["approval"]) == "ainos_0.2.0+3-0.efi"
    assert listed(part) == {
        RUNNING: OLD,
        "ainos_0.1.0.seal.json": b"old approval",
        "ainos_0.2.0+3-0.efi": NEW,
        "ainos_0.2.0.seal.json": b"new approval",
        "BOOTX64.EFI": LOADER,
    }
    assert [each.name for each in boot.entries(part)] == [RUNNING, "ainos_0.2.0+3-0.efi"]


def test_the_version_that_is_there_is_not_installed_again(new: Files) -> None:
    part = CutEsp(made())
    with pytest.raises(RefusedError, match=r"an entry of 0\.1\.0 already"):
        boot.install(part, "0.1.0", new["uki"], None)
    assert part.disk.data == made()


def test_an_image_is_removed_with_its_approval() -> None:
    part = CutEsp(made(other=True))
    boot.remove(part, "ainos_0.0.9")
    assert listed(part) == listed(CutEsp(made()))


def test_tries_are_digits_in_place() -> None:
    part = CutEsp(made())
    before = part.names()
    assert boot.rearm(part, f"\\EFI\\Linux\\{RUNNING}") == "ainos_0.1.0+3-0.efi"
    assert [each.cluster for each in part.names()] == [each.cluster for each in before]
    assert boot.rearm(part, "/EFI/Linux/ainos_0.1.0+3-0.efi") == "ainos_0.1.0+3-0.efi"
    assert boot.condemn(part, "/EFI/Linux/ainos_0.1.0+3-0.efi") == "ainos_0.1.0+0-3.efi"
    names = {name for cut in part.disk.cuts(torn=8) for name, _ in seen(cut)}
    assert names <= {f"ainos_0.1.0+{left}-{done}.efi" for left in "023" for done in "013"}


def test_one_that_was_started_ten_times_and_never_confirmed(new: Files) -> None:
    part = CutEsp(made())
    put(part, IMAGES, "ainos_0.1.0+0-10.efj", new["uki"])
    show(part, IMAGES, "ainos_0.1.0+0-10.efj", "ainos_0.1.0+0-10.efi")
    old = next(each for each in part.names() if each.name == RUNNING)
    esp_files.discard(part, IMAGES, old)
    wanted = {"ainos_0.1.0+3-0.efi": NEW, "ainos_0.1.0.seal.json": b"old approval"}
    assert boot.confirm(part, "/EFI/Linux/ainos_0.1.0+0-10.efi", "", "0.1.0") in wanted
    assert {name: listed(part)[name] for name in wanted} == wanted
    assert [name for name, _ in seen(part.disk)] == ["ainos_0.1.0+3-0.efi"]


def test_what_is_confirmed() -> None:
    part = CutEsp(made())
    assert boot.confirm(part, "", "ainos_0.1.0.efi", "0.1.0") == ""
    assert boot.confirm(part, "", "", "0.1.0") == ""
    assert boot.confirm(part, f"\\EFI\\Linux\\{RUNNING}", "", "0.1.0") == "ainos_0.1.0+3-0.efi"


def test_an_entry_that_is_not_there() -> None:
    with pytest.raises(UnavailableError, match="is not on the ESP"):
        boot.rearm(CutEsp(made()), "/EFI/Linux/ainos_9+2-1.efi")


def test_the_loader_is_replaced_once(new: Files) -> None:
    part = CutEsp(made())
    assert boot.replace_loader(part, new["loader"])
    assert seen(part.disk, boot.LOADERS) == [("BOOTX64.EFI", LATER)]
    count = len(part.disk.log)
    assert not boot.replace_loader(part, new["loader"])
    assert "write" not in part.disk.log[count:]


def test_what_an_interruption_left_is_deleted(new: Files) -> None:
    part = CutEsp(made())
    boot.prepare(part, "0.2.0", new["uki"], new["approval"])
    put(part, boot.LOADERS, "_OOTX64.EFI", new["loader"])
    show(part, boot.LOADERS, "_OOTX64.EFI", "BOOTX64.EFI")
    assert [name for name, _ in seen(part.disk, boot.LOADERS)] == ["BOOTX64.EFI"] * 2
    boot.tidy(part)
    assert listed(part).keys() == listed(CutEsp(made())).keys()


def test_two_names_of_the_same_clusters_lose_one_name_only(new: Files) -> None:
    """As a firmware leaves them that was cut between its new name and the end of the old one."""
    part = CutEsp(made())
    boot.install(part, "0.1.0-x", new["uki"], None)
    first, second = (each for each in part.names() if slots.entry(each.name))
    entry = part.disk.data[first.at + 20 : first.at + 32]
    part.disk.data[second.at + 20 : second.at + 32] = entry
    other = next(each for each in part.names() if each.name == "ainos_0.1.0-x+3-0.efi")
    assert other.cluster == first.cluster
    boot.remove(part, "ainos_0.1.0-x")
    assert seen(part.disk) == [(RUNNING, OLD)]


def test_the_entry_with_more_tries_stays(new: Files) -> None:
    part = CutEsp(made())
    put(part, IMAGES, "ainos_0.1.0+3-0.efj", new["uki"])
    show(part, IMAGES, "ainos_0.1.0+3-0.efj", "ainos_0.1.0+3-0.efi")
    boot.tidy(part)
    assert seen(part.disk) == [("ainos_0.1.0+3-0.efi", NEW)]


def test_an_entry_without_its_counter_is_adopted() -> None:
    part = CutEsp(made())
    held = next(each for each in part.names() if each.name == RUNNING)
    part.disk.data[held.at - 64] = 0xE5
    assert [name for name, _ in seen(part.disk)] == ["AINOS_~1.EFI"]
    assert boot.confirm(part, "", "ainos_~1.efi", "0.1.0") == "ainos_0.1.0+3-0.efi"
    assert seen(part.disk) == [("ainos_0.1.0+3-0.efi", OLD)]
    assert listed(part)["ainos_0.1.0.seal.json"] == b"old approval"  # or the state stays locked
    with pytest.raises(UnavailableError, match="no entry without a counter"):
        boot.adopt(part, "ainos_0.1.0+3-0.efi", "0.1.0")


def test_what_reads_otherwise_is_not_shown(new: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    part = CutEsp(made())
    monkeypatch.setattr(
        esp_files, "write_file", lambda descriptor, _: os.write(descriptor, NEW[:-1])
    )
    with pytest.raises(UnavailableError, match="reads otherwise"):
        boot.install(part, "0.2.0", new["uki"], None)
    assert seen(part.disk) == [(RUNNING, OLD)]


def _unflushed(disk: Disk, changes: dict[int, int]) -> None:
    for place, value in changes.items():
        start = place // 512 * 512
        data = bytearray(disk.read(start, 512))
        data[place - start] = value
        disk.write(start, bytes(data))


@pytest.mark.parametrize("fault", ["shown while it is written", "no flush between the loaders"])
def test_these_tests_see_a_fault(fault: str, new: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "shown while it is written":
        monkeypatch.setattr(slots, "hidden", lambda name: name)
        monkeypatch.setattr(boot, "show", lambda *_: None)
        part = changed("install", new)
    else:
        monkeypatch.setattr(fat, "_put", _unflushed)
        part = changed("loader", new)
    with pytest.raises((AssertionError, KeyError)):
        check_all(part)


def check_all(part: CutEsp) -> None:
    for held in part.disk.cuts(torn=0):
        check(held, "loader")
