"""Modules are asked for once each, in batches, and what kmod says is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from ainit.devices import modules
from ainit.devices.modules import ALIASES_MAX, BATCH, Loader, are_there, load


class Kmod:
    """Takes the place of modprobe; while ``gate`` is closed it does not come back."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.answers: dict[str, str] = {}
        self.slow: set[str] = set()

    def __call__(self, names: Iterable[str]) -> str:
        batch = list(names)
        self.begun.set()
        assert self.gate.wait(30)
        self.batches.append(batch)
        if late := self.slow.intersection(batch):
            raise TimeoutError(f"{late.pop()} is late")
        return "\n".join(self.answers[name] for name in batch if name in self.answers)


@pytest.fixture
def kmod() -> Kmod:
    return Kmod()


def test_every_name_is_asked_for_once(kmod: Kmod) -> None:
    loader = Loader(kmod, lambda: None)
    loader.want(["pci:b", "pci:a", "pci:a"])
    loader.want(["pci:a", "usb:c"])
    assert loader.settle(30)
    assert sorted(name for batch in kmod.batches for name in batch) == ["pci:a", "pci:b", "usb:c"]


def test_names_that_wait_go_onto_one_command_line(kmod: Kmod) -> None:
    kmod.gate.clear()
    loader = Loader(kmod, lambda: None)
    loader.want(["first"])
    assert kmod.begun.wait(30)
    loader.want(f"later{number:03}" for number in range(BATCH + 1))
    kmod.gate.set()
    assert loader.settle(30)
    assert [len(batch) for batch in kmod.batches] == [1, BATCH, 1]


def test_who_waits_is_not_held_up_by_a_slow_driver(kmod: Kmod) -> None:
    kmod.gate.clear()
    loader = Loader(kmod, lambda: None)
    loader.want(["slow"])
    assert not loader.settle(0.01)
    kmod.gate.set()
    assert loader.settle(30)


def test_problems_are_kept_and_the_next_batch_goes_on(kmod: Kmod) -> None:
    kmod.answers["nvidia"] = "could not insert 'nvidia': No such device"
    finished: list[int] = []
    loader = Loader(kmod, lambda: finished.append(1))
    loader.want(["nvidia"])
    assert loader.settle(30)
    loader.want(["igb"])
    assert loader.settle(30)
    assert list(loader.problems) == ["could not insert 'nvidia': No such device"]
    assert kmod.batches == [["nvidia"], ["igb"]]


def test_a_driver_that_is_too_slow_costs_no_other_its_module(kmod: Kmod) -> None:
    kmod.gate.clear()
    loader = Loader(kmod, lambda: None)
    loader.want(["first"])
    assert kmod.begun.wait(30)
    kmod.slow.add("b")
    kmod.answers.update(c="c: no such device", d="d: no such device")
    loader.want(["a", "b", "c", "d"])
    kmod.gate.set()
    assert loader.settle(30)
    assert kmod.batches == [["first"], ["a", "b", "c", "d"], ["a"], ["b"], ["c"], ["d"]]
    assert list(loader.problems) == ["b is late", "c: no such device", "d: no such device"]


def test_it_is_settled_only_when_the_last_was_tried_and_told(kmod: Kmod) -> None:
    told: list[int] = []
    loader = Loader(kmod, lambda: told.append(len(kmod.batches)))
    for number in range(1, 200):
        loader.want([f"pci:{number}"])
        assert loader.settle(30)
        assert told[-1] == len(kmod.batches) == number


def test_each_line_of_what_kmod_says_is_a_problem_of_its_own(kmod: Kmod) -> None:
    kmod.answers.update(a="a: no such device", b="b: no such device")
    loader = Loader(kmod, lambda: None)
    kmod.gate.clear()
    loader.want(["first"])
    assert kmod.begun.wait(30)
    loader.want(["a", "b"])
    kmod.gate.set()
    assert loader.settle(30)
    assert list(loader.problems) == ["a: no such device", "b: no such device"]


def test_a_device_that_invents_names_is_not_followed_for_ever(kmod: Kmod) -> None:
    loader = Loader(kmod, lambda: None)
    loader.want(f"usb:{number}" for number in range(ALIASES_MAX + 10))
    assert loader.settle(30)
    assert sum(len(batch) for batch in kmod.batches) == ALIASES_MAX
    assert list(loader.problems) == [modules.FULL]


def _modprobe(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "modprobe"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(modules, "MODPROBE", str(path))


def test_modprobe_gets_options_then_names_and_no_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _modprobe(tmp_path, monkeypatch, f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    assert load(["pci:v*", "-x; reboot"]) == ""
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[-3:] == ["--", "pci:v*", "-x; reboot"]


def test_what_modprobe_says_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "modprobe: ERROR: could not insert 'x': Key was rejected by service"
    _modprobe(tmp_path, monkeypatch, f'echo "{said}" >&2; exit 1')
    assert load(["x"]) == "ERROR: could not insert 'x': Key was rejected by service"


def test_a_modprobe_that_hangs_or_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _modprobe(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(modules, "DEADLINE_S", 0.1)
    with pytest.raises(TimeoutError, match=r"modprobe did not end in 0\.1 s: x"):
        load(["x"])
    monkeypatch.setattr(modules, "MODPROBE", str(tmp_path / "none"))
    assert load(["x"]).startswith("modprobe cannot be run")


def test_an_image_has_modules_when_it_has_their_index(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/{{release}}/modules.alias.bin"
    assert not are_there(pattern)
    (tmp_path / os.uname().release).mkdir()
    (tmp_path / os.uname().release / "modules.alias.bin").touch()
    assert are_there(pattern)
