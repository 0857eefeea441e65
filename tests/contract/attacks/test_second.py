"""Two verifiers agree: ours, and tpm2-tools with OpenSSL and a script of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ainit.attest.enrol import Enrolment
from tests.unit.attest.machine import Machine

from .mutations import Mutator
from .second import agree, second_of

Honest = tuple[Machine, Enrolment]
SAMPLE = 20


def test_both_accept_honest_machines(machine: Machine, tmp_path: Path) -> None:
    for _ in range(2):
        machine.boot()
        second = second_of(machine, tmp_path / "second")
        assert agree(second, machine, machine.enrol()) == (True, True)


@pytest.mark.parametrize("way", ["in_transit", "by_insider"])
def test_both_refuse_what_was_changed(honest: Honest, tmp_path: Path, way: str) -> None:
    machine, answer = honest
    mutator = Mutator(answer, 3)
    second = second_of(machine, tmp_path)
    assert agree(second, machine, mutator.granted) == (True, True)
    for number in range(SAMPLE):
        assert agree(second, machine, getattr(mutator, way)()) == (False, False), number


def test_the_second_one_asks_the_tools(
    honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, answer = honest
    second = second_of(machine, tmp_path / "files")
    tools = ("tpm2_checkquote", "openssl")
    for tool in tools:
        (tmp_path / tool).mkdir()
        for name in tools:
            real = shutil.which(name)
            assert real
            (tmp_path / tool / name).symlink_to("/bin/false" if name == tool else real)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", str(tmp_path / tool))
            assert agree(second, machine, answer) == (True, False)
