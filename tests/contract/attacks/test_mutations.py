"""A fixed sample of what ``make soak-trust`` draws two million of."""

from __future__ import annotations

import pytest

from ainit.attest.enrol import Enrolment
from tests.unit.attest.machine import Machine

from .mutations import Mutator

Honest = tuple[Machine, Enrolment]
SAMPLE = 600


@pytest.mark.parametrize("seed", [1, 2])
def test_changed_evidence_is_never_accepted(honest: Honest, seed: int) -> None:
    mutator = Mutator(honest[1], seed)
    assert honest[0].judge(mutator.granted).accepted
    for number in range(SAMPLE):
        changed = mutator.by_insider() if number % 2 else mutator.in_transit()
        assert not honest[0].judge(changed).accepted, number


def test_the_same_seed_draws_the_same(honest: Honest) -> None:
    one, other = Mutator(honest[1], 7), Mutator(honest[1], 7)
    for _ in range(50):
        assert one.in_transit().evidence == other.in_transit().evidence
        assert one.by_insider().evidence.log_cel == other.by_insider().evidence.log_cel
