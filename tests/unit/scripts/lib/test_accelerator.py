"""KVM is used only after a trial, and the trial is made once for each start of the host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lib import accelerator
from lib.accelerator import Accelerator
from lib.host import HostError


class Trials:
    """Counts trials; each gives ``result``."""

    def __init__(self, *, result: bool) -> None:
        self.result = result
        self.count = 0

    def __call__(self) -> bool:
        self.count += 1
        return self.result


@pytest.fixture
def boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    monkeypatch.setattr(accelerator, "BOOT_ID", path)
    monkeypatch.delenv("AINOS_ACCELERATOR", raising=False)
    return path


@pytest.mark.parametrize(("result", "chosen"), [(True, Accelerator.KVM), (False, Accelerator.TCG)])
def test_the_trial_decides_and_is_remembered(
    boot_id: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: bool,
    chosen: Accelerator,
) -> None:
    trials = Trials(result=result)
    monkeypatch.setattr(accelerator, "is_kvm_usable", trials)
    cache = tmp_path / "accelerator.json"
    assert [accelerator.choose(cache=cache) for _ in range(2)] == [chosen] * 2
    assert trials.count == 1
    boot_id.write_text("second\n")
    accelerator.choose(cache=cache)
    assert trials.count == 2


@pytest.mark.parametrize("content", ["", "[]", '{"boot_id": "first", "accelerator": "vmx"}'])
def test_a_damaged_memory_is_no_answer(
    boot_id: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(accelerator, "is_kvm_usable", Trials(result=False))
    cache = tmp_path / "accelerator.json"
    cache.write_text(content)
    assert accelerator.choose(cache=cache) is Accelerator.TCG
    assert json.loads(cache.read_text()) == {"boot_id": "first", "accelerator": "tcg"}


def test_a_person_can_decide(
    boot_id: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "is_kvm_usable", Trials(result=False))
    monkeypatch.setenv("AINOS_ACCELERATOR", "kvm")
    assert accelerator.choose(cache=tmp_path / "cache") is Accelerator.KVM
    monkeypatch.setenv("AINOS_ACCELERATOR", "xen")
    with pytest.raises(HostError, match="'xen', neither kvm nor tcg"):
        accelerator.choose(cache=tmp_path / "cache")
