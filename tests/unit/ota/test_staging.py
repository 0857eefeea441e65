"""A release comes from a repository into the other slot, and boots next."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

import ainit.ota.staging as fetching
from ainit import constants
from ainit.errors import RefusedError, UnavailableError
from ainit.ota import install as slot
from ainit.ota.ports import Wanted
from tests.support import dbx, slot_machine
from tests.support.slot_machine import Machine, boots, contents, image, loader, root_hash
from tests.support.update_world import Shelf, quiet, release

OLD, NEW = "0.2.0", "0.3.0"
PREFIX = f"stable/base-x86_64/{NEW}/"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    entries = {f"ainos_{OLD}+2-1.efi": OLD, "ainos_0.1.0+3-0.efi": "0.1.0"}
    data = slot_machine.make(entries, {"a": OLD, "b": "0.1.0"})
    found = Machine(data, OLD, monkeypatch)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(fetching, "__version__", OLD)
    monkeypatch.setattr(slot.Ground, "find", classmethod(lambda cls: found.ground))
    return found


def shelf(**changed: bytes) -> Shelf:
    root, _ = contents(NEW)
    manifest = {"root": {"hash": root_hash(NEW), "data_blocks": 2, "salt": "0a"}}
    files = {
        "root.erofs": root,
        "uki.efi": image(NEW),
        "uki.seal.json": b"word",
        "systemd-bootx64.efi": loader("2"),
        "manifest.json": json.dumps(manifest).encode(),
        **{name.replace("_", "."): content for name, content in changed.items()},
    }
    return Shelf(content={PREFIX + name: content for name, content in files.items()})


def wanted(tmp_path: Path, pending: Callable[[], None] = lambda: None) -> Wanted:
    return Wanted(release(NEW), "stable", str(tmp_path / "staging"), pending)


def last(machine: Machine) -> list[str]:
    return boots(list(machine.disk.cuts(torn=0))[-1])


def test_it_boots_next_and_the_other_one_is_gone(machine: Machine, tmp_path: Path) -> None:
    seen: list[list[str]] = []
    said: list[str] = []
    told = wanted(tmp_path, lambda: seen.append(last(machine)))
    fetching.install(shelf(), told, quiet, said.append)
    assert last(machine) == [NEW, OLD]
    assert seen == [[OLD]]  # it was written down before the loader saw it
    assert any("bytes came, whole" in line for line in said)


@pytest.mark.parametrize("sealed", [True, False])
def test_revocations_do_not_lock_a_sealed_state(
    sealed: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = tmp_path / "seal.json"
    if sealed:
        seal.write_text("{}")
    monkeypatch.setattr(constants, "SEAL", str(seal))
    given = dbx.update([bytes(32)])
    said: list[str] = []
    revoked: list[str] = []
    monkeypatch.setattr(slot, "revoke", revoked.append)
    fetching.install(shelf(dbx=given), wanted(tmp_path), quiet, said.append)
    assert last(machine) == [NEW, OLD]
    assert (bool(revoked), any(fetching.LEFT_OUT in line for line in said)) == (not sealed, sealed)


def test_what_comes_is_held_against_what_was_signed(machine: Machine, tmp_path: Path) -> None:
    root, _ = contents(NEW)
    with pytest.raises(RefusedError, match="came out with the hash"):
        fetching.install(shelf(root_erofs=root[:-1] + b"\0"), wanted(tmp_path), quiet)
    assert last(machine) == [OLD]


def test_a_kernel_of_another_release(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"the UKI is of 0\.1\.0"):
        fetching.install(shelf(uki_efi=image("0.1.0")), wanted(tmp_path), quiet)
    assert last(machine) == [OLD]


def test_without_the_entry_that_runs_nothing_is_touched(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "__version__", "7.0")
    with pytest.raises(UnavailableError, match=r"the entry of 7.0 is not on the boot partition"):
        fetching.install(shelf(), wanted(tmp_path), quiet)
    assert last(machine) == [OLD, "0.1.0"]
