"""Every attack of the catalogue fails, and would not without the one check that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lib import trust_attacks

from ainit.attest.enrol import Enrolment
from tests.unit.attest.machine import Machine

from . import firmware, identities, keys, logs, quotes, store
from .attack import CATALOGUE, Attack, Ground

MODULES = (firmware, identities, keys, logs, quotes, store)
LEAST = 60


@pytest.fixture
def ground(honest: tuple[Machine, Enrolment], machine: Machine, tmp_path: Path) -> Ground:
    return Ground(machine, honest[1], honest[0], tmp_path)


@pytest.mark.parametrize("attack", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_it_fails_and_would_succeed_without_the_check(
    attack: Attack, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not attack.run(ground)
    attack.lack(monkeypatch)
    assert attack.run(ground)


def test_there_are_enough_and_each_says_what_it_does() -> None:
    assert len(CATALOGUE) >= LEAST
    tales = [attack.tale for attack in CATALOGUE.values()]
    assert all(re.fullmatch(r"[A-Z].*[.?]", tale) for tale in tales)
    assert len(set(tales)) == len(tales)


def test_the_document_has_them_all() -> None:
    assert trust_attacks.DOCUMENT.read_text() == trust_attacks.document()
    assert sorted(trust_attacks.PARTS) == sorted(
        module.__name__.rpartition(".")[2] for module in MODULES
    )
