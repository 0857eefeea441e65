"""Trials: a mutant that a test sees is killed, wherever it takes effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lib import mutants, soak_mutants
from lib.mutants import Mutant

MODULE = """from functools import cache

LIMIT = 3
OTHER = 5
NAMES = ("name",)

class Box:
    @property
    def size(self):
        return 1

def below(number):
    return number < LIMIT

def never():
    return 7

def forever(number):
    while number:
        number -= 1
    return number

def at_least(bound):
    def check(number):
        return number > bound
    return check

positive = at_least(0)

def table():
    return {"key": 10}

TABLE = table()

@cache
def twice(number):
    return 2 * number
"""
TESTS = """import pytest

from package import module

def test_below():
    assert module.below(2)
    assert not module.below(3)

def test_size():
    assert module.Box().size == 1

def test_the_end():
    assert module.forever(2) == 0

def test_what_was_made_at_import():
    assert module.positive(1) and not module.positive(0)
    assert module.TABLE["key"] == 10

@pytest.mark.parametrize("name", module.NAMES)
def test_named_by_the_module(name):
    assert name

def test_twice():
    assert module.twice(0) == 0
"""
PROJECT = '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = ["--import-mode=importlib"]\n'


def try_all(root: Path) -> dict[str, str]:
    """What was changed → verdict."""
    (root / "package").mkdir()
    (root / "package/module.py").write_text(MODULE)
    (root / "test_module.py").write_text(TESTS)
    (root / "pyproject.toml").write_text(PROJECT)
    found: list[Mutant] = mutants.find(MODULE)
    numbers = [one.number for one in found]
    orders = {
        "root": str(root),
        "tests": ["test_module.py"],
        "modules": {"package/module.py": numbers},
        "jobs": 2,
    }
    (root / "orders.json").write_text(json.dumps(orders))
    done = subprocess.run(
        [sys.executable, str(soak_mutants.TRIALS), str(root / "orders.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["number"] for one in verdicts) == numbers
    return {f"{found[one['number']].what}": one["verdict"] for one in verdicts}


def test_verdicts(tmp_path: Path) -> None:
    verdicts = try_all(tmp_path)
    assert verdicts["number < LIMIT → number <= LIMIT"] == "killed"
    assert verdicts["3 → 4"] == "killed"
    assert verdicts["'name' → 'nameX'"] == "survived"  # the tests only have another name
    assert verdicts["5 → 6"] == "survived"
    assert verdicts["return 1 → return None"] == "killed"
    assert verdicts["7 → 8"] == "uncovered"
    assert verdicts["number -= 1 → pass"] == "killed"  # for it never ends
    assert verdicts["number > bound → number >= bound"] == "killed"  # of a closure made at import
    assert verdicts["10 → 11"] == "killed"
    assert verdicts["2 * number → 2 // number"] == "killed"  # of a function that is wrapped
    assert verdicts["2 → 3"] == "survived"
