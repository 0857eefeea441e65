"""Which tests can tell: those that execute a statement, and those that a module reaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lib import mutant_tests, mutants
from lib.mutant_tests import Coverage

MODULE = "ainit/policy/plan.py"
SOURCE = "def outer():\n    def inner():\n        return 1\n    return inner\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tree in which one module and one file of tests import the plan."""
    for name, text in {
        MODULE: "LIMIT = 1\n",
        "ainit/policy/graph.py": "from .plan import LIMIT\n",
        "ainit/policy/other.py": "from . import graph\n",
        "tests/test_names.py": "from ainit.policy import plan\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    mutant_tests.importers.cache_clear()
    yield tmp_path
    mutant_tests.importers.cache_clear()


def coverage() -> Coverage:
    ran = {
        MODULE: {0: {"tests/test_a.py::f"}, 3: {"tests/test_a.py::f", "tests/test_a.py::quick"}},
        "ainit/policy/graph.py": {0: {"tests/test_b.py::f"}},
        "ainit/policy/other.py": {0: {"tests/test_c.py::f"}},
    }
    names = [*(f"tests/test_{one}.py::f" for one in ("a", "b", "c", "plan", "names"))]
    seconds = {**dict.fromkeys(names, 2.0), "tests/test_a.py::quick": 1.0}
    return Coverage(ran, seconds, {MODULE: {"outer"}})


def test_a_mutant_of_a_function_meets_the_tests_of_its_lines_the_quickest_first() -> None:
    (inner,) = [one for one in mutants.find(SOURCE) if one.what == "1 → 2"]
    assert coverage().tests(MODULE, inner) == ["tests/test_a.py::quick", "tests/test_a.py::f"]
    assert coverage().is_early(MODULE, inner)
    assert not coverage().is_early("ainit/policy/graph.py", inner)


def test_a_module_has_tests_of_its_own_and_reaches_others(tree: Path) -> None:
    assert coverage().own(MODULE) == {"tests/test_plan.py::f"}
    assert coverage().near(MODULE) == {
        f"tests/test_{one}.py::f" for one in ("a", "b", "names")
    }  # not those that only meet it through two imports


def test_what_was_recorded_survives_json() -> None:
    assert Coverage.from_record(coverage().to_record()) == coverage()
