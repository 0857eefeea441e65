"""What is tried, what is left, and what the figure says."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import bench, mutants, soak_mutants
from lib.soak_mutants import Module

SOURCE = "def f(a, b):\n    return a < b\n"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    monkeypatch.setattr(bench, "commit", lambda: "abc")
    return Module("ainit/policy/x.py", "digest", mutants.find(SOURCE))


def test_the_dead_are_not_tried_again_and_the_others_are(module: Module) -> None:
    verdicts = {"digest": {"0": "killed", "1": "survived"}}
    assert soak_mutants.draw([module], verdicts, 0) == {"ainit/policy/x.py": [1, 2]}
    assert soak_mutants.draw([module], {"of another text": {"0": "killed"}}, 0) == {
        "ainit/policy/x.py": [0, 1, 2]
    }


def test_a_sample_is_always_the_same(module: Module) -> None:
    first = soak_mutants.draw([module], {}, 2)
    assert first == soak_mutants.draw([module], {}, 2)
    assert sum(map(len, first.values())) == 2


def test_the_figure_is_of_those_that_were_tried(module: Module) -> None:
    verdicts = {"digest": {"0": "killed", "1": "uncovered"}}
    (entry,) = soak_mutants.goals([module], verdicts)
    assert (entry.goal, entry.value, entry.met) == ("pid1.mutants_surviving_pct", 50.0, False)
    assert (entry.peers["tried"], entry.peers["of"]) == (2, 3)
    dead = {str(number): "killed" for number in range(3)}
    (entry,) = soak_mutants.goals([module], {"digest": dead})
    assert entry.met
    (entry,) = soak_mutants.goals([module], {})
    assert (entry.value, entry.met) == (None, False)


def test_whoever_lives_is_named(module: Module) -> None:
    assert soak_mutants.survivors([module], {"digest": {"0": "killed", "1": "survived"}}) == [
        "ainit/policy/x.py:2: survived: a < b → a <= b"
    ]


def test_verdicts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    assert soak_mutants.kept(path) == {}
    soak_mutants.keep({"digest": {"0": "killed"}}, path)
    assert soak_mutants.kept(path) == {"digest": {"0": "killed"}}
