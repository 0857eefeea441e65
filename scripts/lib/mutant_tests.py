"""Which tests execute which lines, so that a mutant meets those that can tell.

coverage = recorded(["tests/unit/policy"], ["ainit/policy/graph.py"])
coverage.tests("ainit/policy/graph.py", mutant)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    """Which tests execute which lines of a module, and how many seconds each test takes."""

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests(self, module: str, mutant: Mutant) -> list[str]:
        """The tests that can tell, the quickest first."""
        lines = self.lines.get(module, {})
        found: set[str] = set()
        if mutant.function:
            for line in range(mutant.first, mutant.last + 1):
                found |= lines.get(line, set())
        else:
            found.update(*lines.values())
        return sorted(found, key=lambda test: (self.seconds[test], test))

    def limit(self, tests: Sequence[str]) -> int:
        """Seconds of processor time that are more than enough for these tests."""
        return CPU_S_FLOOR + int(CPU_FACTOR * sum(self.seconds[test] for test in tests))


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
        self._seen: set[tuple[str, int]] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._seen = set()
        began = time.process_time()
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.coverage.seconds[item.nodeid] = time.process_time() - began
            for module, line in self._seen:
                lines = self.coverage.lines.setdefault(module, {})
                lines.setdefault(line, set()).add(item.nodeid)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def _call(self, frame: types.FrameType, event: str, argument: object) -> Any:
        module = self._files.get(frame.f_code.co_filename)
        if module is None:
            return None
        seen = self._seen

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
        lines = {
            module: [(line, sorted(by)) for line, by in found.items()]
            for module, found in recorder.coverage.lines.items()
        }
        answer = [int(status), recorder.failed, lines, recorder.coverage.seconds]
        with os.fdopen(writer, "w") as file:
            file.write(json.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        status, failed, lines, seconds = json.load(file)
    os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"the tests fail without any mutant: {failed}")
    coverage = Coverage(seconds=seconds)
    for module, found in lines.items():
        coverage.lines[module] = {line: set(by) for line, by in found}
    return coverage


def recorded(tests: Sequence[str], modules: Sequence[str]) -> Coverage:
    """The same, from the file of a former run over the same texts."""
    digest = hashlib.sha256(json.dumps([tests, modules]).encode())
    for path in sorted([*Path("ainit").rglob("*.py"), *Path("tests").rglob("*.py")]):
        digest.update(path.read_bytes())
    cache = Path(f"coverage-{digest.hexdigest()[:16]}.json")
    if not cache.exists():
        found = record(tests, modules)
        lines = {
            module: {line: sorted(by) for line, by in lines.items()}
            for module, lines in found.lines.items()
        }
        cache.write_text(json.dumps([lines, found.seconds]), encoding="utf-8")
    lines, seconds = json.loads(cache.read_text(encoding="utf-8"))
    return Coverage(
        {
            module: {int(line): set(by) for line, by in found.items()}
            for module, found in lines.items()
        },
        seconds,
    )
