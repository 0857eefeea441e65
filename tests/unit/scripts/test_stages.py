"""What `scripts/test` makes of failures, in a tree of its own, with tests told how to end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 120.0
SETTINGS = '[tool.pytest.ini_options]\ncache_dir = "build/cache/pytest"\naddopts = ["-ra"]\n'
ONCE = """\
from pathlib import Path
def test_it():
    mark = Path(__file__).with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        raise AssertionError("the first time")
"""
ALWAYS = "def test_it():\n    assert False\n"
NEVER = "def test_it():\n    pass\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the script, without tests."""
    for folder in ("scripts", "tests/unit", "tests/contract", "build/venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy2(REPOSITORY / "scripts/test", tmp_path / "scripts/test")
    setup = tmp_path / "scripts/setup"
    setup.write_text("#!/bin/sh\n")
    setup.chmod(0o755)
    (tmp_path / "build/venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    return tmp_path


def run(tree: Path, stage: str, **tests: str) -> tuple[int, list[str]]:
    """The exit status and the lines from the summary on, after ``stage`` with these tests."""
    for name, text in tests.items():
        (tree / f"tests/{stage}/test_{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [tree / "scripts/test", stage],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout.partition("── summary\n")[2].splitlines()


def test_what_holds_the_second_time_is_unsteady(tree: Path) -> None:
    status, lines = run(tree, "contract", once=ONCE, fine=NEVER)
    assert status == 0
    assert [line.split()[:2] for line in lines[1:3]] == [
        ["contract", "FAILED"],
        ["contract-again", "ok"],
    ]
    assert lines[-1].startswith("total: 1 passed, 0 failed, 1 unsteady in ")


def test_what_fails_twice_has_failed(tree: Path) -> None:
    status, lines = run(tree, "contract", once=ONCE, always=ALWAYS, fine=NEVER)
    assert status == 1
    assert lines[-1].startswith("total: 1 passed, 2 failed, 0 unsteady in ")


def test_many_failures_are_not_tried_again(tree: Path) -> None:
    status, lines = run(tree, "contract", a=ONCE, b=ONCE, c=ONCE)
    assert status == 1
    assert [line.split()[0] for line in lines] == ["setup", "contract", "total:"]


def test_a_unit_test_has_one_chance(tree: Path) -> None:
    status, lines = run(tree, "unit", once=ONCE)
    assert status == 1
    assert lines[-1].startswith("total: 0 passed, 1 failed, 0 unsteady in ")
