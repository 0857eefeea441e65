"""Each fault of ``make run TAMPER=``, on a machine of its own, judged by the same scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lib.scenario import SCENARIOS, judge
from lib.tamper import TAMPERS

FAULTS = sorted(set(SCENARIOS) - {""})


def test_every_fault_has_a_scenario() -> None:
    assert set(TAMPERS) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught(fault: str, observe: Callable[[str], dict[str, Any]]) -> None:
    assert judge(fault, observe(fault)) == []
