"""What is learned of the shipped agents, and of one that keeps notes, beside the sandbox that
somebody wrote by hand: as many things, and the same replies afterwards.

Each runs with far too wide a sandbox first.
"""

from __future__ import annotations

import pytest

from tests.support.audited import Audited
from tests.support.learned import AGENT_NAMES, watched


@pytest.mark.parametrize("name", AGENT_NAMES)
def test_the_learned_sandbox_is_the_one_written_by_hand(name: str) -> None:
    with Audited() as agent:
        found = watched(agent, name).learn()
    assert found.wide >= 13
    assert found.ratio <= 1.1
    assert found.denied == 0
    assert found.beyond == []
