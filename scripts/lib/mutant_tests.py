"""Which tests execute which lines, so that a mutant meets those that can tell.

coverage = recorded(["tests/unit/policy"], ["ainit/policy/graph.py"])
coverage.tests("ainit/policy/graph.py", mutant)
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from lib.mutants import Mutant

# Counts lines by a trace function of its own, for long: it says what something costs, not does.
COSTS = "test_an_event_costs_the_same_among_few_and_among_many"
OPTIONS = [
    *("-q", "-x", "-p", "no:randomly"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    "--deselect=tests/unit/pid1/test_supervisor.py::" + COSTS,
]
CPU_S_FLOOR = 3
CPU_FACTOR = 8


@dataclass(slots=True)
class Coverage:
    """Which tests execute which lines of a module, and how many seconds each test takes.

    Line 0 stands for any. ``early`` are the functions of a module that ran before the first test.
    """

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    early: dict[str, set[str]] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """The JSON form."""
        lines = {
            module: {line: sorted(tests) for line, tests in found.items()}
            for module, found in self.lines.items()
        }
        early = {module: sorted(functions) for module, functions in self.early.items()}
        return {"lines": lines, "seconds": self.seconds, "early": early}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Coverage:
        """What has this JSON form."""
        lines = {
            module: {int(line): set(tests) for line, tests in found.items()}
            for module, found in record["lines"].items()
        }
        early = {module: set(functions) for module, functions in record["early"].items()}
        return cls(lines, record["seconds"], early)

    def tests(self, module: str, mutant: Mutant) -> list[str]:
        """The tests that execute the statement of a function's mutant, the quickest first."""
        lines = self.lines.get(module, {})
        found: set[str] = set()
        for line in range(mutant.first, mutant.last + 1):
            found |= lines.get(line, set())
        return sorted(found, key=lambda test: (self.seconds[test], test))

    def is_early(self, module: str, mutant: Mutant) -> bool:
        """Whether the mutant's function ran before the first test."""
        return ".".join(mutant.function) in self.early.get(module, set())

    def own(self, module: str) -> set[str]:
        """The tests in files that are named after a module."""
        name = f"test_{Path(module).stem}"
        return {test for test in self.seconds if Path(test.partition("::")[0]).stem == name}

    def near(self, module: str) -> set[str]:
        """The tests that execute something of a module, or of one that imports it, or import it."""
        files = {module, *importers().get(Path(module).stem, ())}
        tests = {test for test in self.seconds if test.partition("::")[0] in files}
        return tests.union(*(self.lines.get(file, {}).get(0, set()) for file in files))

    def limit(self, tests: Sequence[str]) -> int:
        """Seconds of processor time that are more than enough for these tests."""
        return CPU_S_FLOOR + int(CPU_FACTOR * sum(self.seconds.get(test, 0) for test in tests))


@cache
def importers() -> dict[str, set[str]]:
    """Last part of a module's name → the files that import such a one."""
    found: dict[str, set[str]] = {}
    for path in (*Path("ainit").rglob("*.py"), *Path("tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names.append(getattr(node, "module", None) or "")
                for name in names:
                    found.setdefault(name.rpartition(".")[2], set()).add(str(path))
    return found


class Quick:
    """Hypothesis without a memory of former runs, without chance and without shrinking."""

    examples = 40

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        settings.register_profile(
            "mutants",
            deadline=None,
            max_examples=self.examples,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """State machines bring settings of their own."""
        for item in items:
            machine = getattr(item, "cls", None)
            if machine and isinstance(getattr(machine, "settings", None), settings):
                machine.settings = settings(stateful_step_count=50)


class Recorder(Quick):
    """Runs all tests once and notes what they execute."""

    examples = 8  # traced, each takes its time

    def __init__(self, modules: Sequence[str]) -> None:
        self.coverage = Coverage()
        self.failed: list[str] = []
        self._files = {str(Path.cwd() / module): module for module in modules}
        self._root = f"{Path.cwd()}/"
        self._seen: set[tuple[str, int]] = set()

    @staticmethod
    def _trace(function: Callable[..., Any] | None) -> None:
        sys.settrace(function)
        threading.settrace(function)

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        self._trace(self._early)

    @pytest.hookimpl
    def pytest_collection_finish(self) -> None:
        self._trace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._seen = set()
        began = time.process_time()
        self._trace(self._call)
        try:
            return (yield)
        finally:
            self._trace(None)
            self.coverage.seconds[item.nodeid] = time.process_time() - began
            for module, line in self._seen:
                lines = self.coverage.lines.setdefault(module, {})
                lines.setdefault(line, set()).add(item.nodeid)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def _early(self, frame: types.FrameType, event: str, argument: object) -> None:
        if module := self._files.get(frame.f_code.co_filename):
            function = frame.f_code.co_qualname.partition(".<locals>")[0]
            self.coverage.early.setdefault(module, set()).add(function)

    def _call(self, frame: types.FrameType, event: str, argument: object) -> Any:
        path = frame.f_code.co_filename
        seen = self._seen
        if path.startswith(self._root):
            seen.add((path.removeprefix(self._root), 0))
        module = self._files.get(path)
        if module is None:
            return None

        def line(frame: types.FrameType, event: str, _: object) -> Any:
            if event == "line":
                seen.add((module, frame.f_lineno))
            return line

        return line


def record(tests: Sequence[str], modules: Sequence[str]) -> Coverage:
    """What the tests execute, found out in a fork. Raises SystemExit when they fail as it is."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        recorder = Recorder(modules)
        status = pytest.main([*OPTIONS, *tests], plugins=[recorder])
        with os.fdopen(writer, "w") as file:
            json.dump([int(status), recorder.failed, recorder.coverage.to_record()], file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        status, failed, found = json.load(file)
    os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"the tests fail without any mutant: {failed}")
    return Coverage.from_record(found)


def recorded(tests: Sequence[str], modules: Sequence[str]) -> Coverage:
    """The same, from the file of a former run over the same texts."""
    digest = hashlib.sha256(json.dumps([tests, modules]).encode())
    texts = [Path(__file__), *Path("ainit").rglob("*.py"), *Path("tests").rglob("*.py")]
    for path in sorted(texts):
        digest.update(path.read_bytes())
    cache = Path(f"coverage-{digest.hexdigest()[:16]}.json")
    if not cache.exists():
        cache.write_text(json.dumps(record(tests, modules).to_record()), encoding="utf-8")
    return Coverage.from_record(json.loads(cache.read_text(encoding="utf-8")))
