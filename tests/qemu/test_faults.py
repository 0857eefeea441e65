"""Each fault of ``make run TAMPER=``, on a machine of its own, judged by the same scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lib.scenario import SCENARIOS, judge
from lib.tamper import TAMPERS

# Altered evidence is tried on the machine that test_healthy.py boots anyway.
FAULTS = sorted(set(SCENARIOS) - {"", "evidence"})


def test_every_fault_has_a_scenario() -> None:
    assert set(TAMPERS) == set(SCENARIOS) - {""}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught(fault: str, observe: Callable[[str], dict[str, Any]]) -> None:
    assert judge(fault, observe(fault)) == []
