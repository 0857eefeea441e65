"""Tries mutants against tests: a process of its own that reads orders and writes verdicts.

``python mutant_trials.py FILE`` with JSON in FILE: ``root`` (a copy of the repository), ``tests``
(paths in it), ``modules`` (path → numbers of mutants), ``jobs``. Standard output gets a line of
JSON for each mutant: ``module``, ``number``, ``verdict`` (killed, survived, uncovered). Which tests
execute which lines is found out first, and a mutant meets only the tests that execute its
statement, the quickest first.

A mutant of a function's body is put in a fork of a process that has collected all tests, as the
code of that function. One that takes effect at import is put in a fork that has imported nothing of
ours.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path[0] = str(Path(__file__).resolve().parents[1])  # nothing of the copy, nothing beside us

from lib import mutants  # noqa: E402
from lib.mutant_tests import OPTIONS, Coverage, Quick, recorded  # noqa: E402
from lib.mutants import Mutant  # noqa: E402

WALL_FACTOR = 10  # of processor time: the machine may be busy
MEMORY_BYTES = 4 << 30
_verdicts = -1
KILLED, SURVIVED, UNCOVERED = "killed", "survived", "uncovered"


class Trials(Quick):
    """Runs, instead of the collected tests, each mutant of a function against those it needs."""

    def __init__(self, orders: Sequence[tuple[str, Mutant]], coverage: Coverage, jobs: int) -> None:
        self._orders = orders
        self._coverage = coverage
        self._pool = Pool(jobs)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for module, mutant in self._orders:
            tests = self._coverage.tests(module, mutant)
            if not tests:
                say(module, mutant, UNCOVERED)
                continue

            def trial(
                module: str = module, mutant: Mutant = mutant, tests: Sequence[str] = tests
            ) -> bool:
                put_in(module, mutant)
                for test in tests:
                    item = items[test]
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                    if session.testsfailed:
                        return False
                return True

            self._pool.add(module, mutant, trial, self._coverage.limit(tests))
        self._pool.drain()
        return True


class Pool:
    """Forks, a few at a time. One that ends with 0 says that its mutant survived."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: dict[int, tuple[str, Mutant, float]] = {}

    def add(self, module: str, mutant: Mutant, trial: Callable[[], bool], limit: int) -> None:
        """Try it in a fork, with a limit in seconds of processor time."""
        while len(self._running) >= self._jobs:
            self._wait()
        pid = os.fork()
        if not pid:
            os._exit(_tried(trial, limit))
        self._running[pid] = (module, mutant, time.monotonic() + WALL_FACTOR * limit)

    def drain(self) -> None:
        """Wait for all."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in self._running:
                module, mutant, _ = self._running.pop(pid)
                say(module, mutant, SURVIVED if status == 0 else KILLED)
                return
            for late, (_, _, deadline) in self._running.items():
                if time.monotonic() > deadline:
                    os.kill(late, signal.SIGKILL)
            time.sleep(0.005)


def _tried(trial: Callable[[], bool], limit: int) -> int:
    """The exit status of a fork. Whatever goes wrong is the mutant's fault."""
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return 0 if trial() else 1
    except BaseException:  # noqa: BLE001 - of a fork, whose parent goes on
        return 1


def dotted(module: str) -> str:
    """The name of a module, given its path below the repository."""
    return module.removesuffix(".py").replace("/", ".")


def put_in(module: str, mutant: Mutant) -> None:
    """Give a function of an imported module the code that the mutant has. Raises LookupError."""
    path = Path.cwd() / module
    tree = mutants.apply(path.read_text(encoding="utf-8"), mutant)
    code = compile(tree, str(path), "exec")
    found: object = sys.modules[dotted(module)]
    for name in mutant.function:
        code = next(
            one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == name
        )
        found = vars(found)[name]
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if not isinstance(found, types.FunctionType):
        raise LookupError(f"{module}: {'.'.join(mutant.function)} is no plain function")
    found.__code__ = code


class _Loader(importlib.abc.InspectLoader):
    def __init__(self, path: str, tree: ast.Module) -> None:
        self._path = path
        self._tree = tree

    def get_source(self, fullname: str) -> str:
        return ast.unparse(self._tree)

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = compile(self._tree, self._path, "exec")
        return code


class Finder(importlib.abc.MetaPathFinder):
    """Lets one module be imported as its mutant."""

    def __init__(self, module: str, mutant: Mutant) -> None:
        path = Path.cwd() / module
        self._name = dotted(module)
        self._loader = _Loader(str(path), mutants.apply(path.read_text(encoding="utf-8"), mutant))

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As of any finder."""
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self._loader)


def say(module: str, mutant: Mutant, verdict: str) -> None:
    """Write a verdict to where standard output was."""
    line = json.dumps({"module": module, "number": mutant.number, "verdict": verdict})
    os.write(_verdicts, line.encode() + b"\n")


def main(orders: dict[str, Any]) -> None:
    """Carry the orders out."""
    global _verdicts
    _verdicts = os.dup(1)
    os.dup2(2, 1)  # for what pytest has to say
    os.chdir(orders["root"])
    modules: dict[str, list[int]] = orders["modules"]
    coverage = recorded(orders["tests"], list(modules))
    inner: list[tuple[str, Mutant]] = []
    outer: list[tuple[str, Mutant]] = []
    for module, numbers in modules.items():
        found = mutants.find(Path(module).read_text(encoding="utf-8"))
        for number in numbers:
            (inner if found[number].function else outer).append((module, found[number]))
    if inner and (pid := os.fork()):
        os.waitpid(pid, 0)
    elif inner:
        trials = Trials(inner, coverage, orders["jobs"])
        pytest.main([*OPTIONS, *orders["tests"]], plugins=[trials])
        os._exit(0)
    _at_import(outer, coverage, orders["jobs"])


def _at_import(orders: Sequence[tuple[str, Mutant]], coverage: Coverage, jobs: int) -> None:
    pool = Pool(jobs)
    for module, mutant in orders:
        tests = coverage.tests(module, mutant)
        if not tests:
            say(module, mutant, UNCOVERED)
            continue

        def trial(
            module: str = module, mutant: Mutant = mutant, tests: Sequence[str] = tests
        ) -> bool:
            sys.meta_path.insert(0, Finder(module, mutant))
            return pytest.main([*OPTIONS, *tests], plugins=[Quick()]) == 0

        pool.add(module, mutant, trial, coverage.limit(tests))
    pool.drain()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
