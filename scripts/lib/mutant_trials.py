"""Tries mutants against tests: a process of its own that reads orders and writes verdicts.

``python mutant_trials.py FILE`` with JSON in FILE: ``root`` (a copy of the repository), ``tests``
(paths in it), ``modules`` (path → numbers of mutants), ``jobs``. Standard output gets a line of
JSON for each mutant: ``module``, ``number``, ``verdict`` (killed, survived, uncovered). Which tests
execute which lines is found out first.

A mutant of a function's body is put in a fork of a process that has collected all tests, as the
code of that function, and meets the tests that execute its statement, the quickest first.

One that takes effect at import is put in a fork that has imported nothing of ours, and meets the
module's own tests, then all that execute something of it or of what imports it. So does one of a
function that cannot be given other code (it is wrapped), one whose statement no test was seen to
execute, and one that lived through the first way although its function ran before any test did:
what it made then, a table or a closure, was not the mutant's.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path[0] = str(Path(__file__).resolve().parents[1])  # nothing of the copy, nothing beside us

from lib import mutants  # noqa: E402
from lib.mutant_pool import KILLED, SURVIVED, UNTRIED, Pool, bound  # noqa: E402
from lib.mutant_tests import OPTIONS, Coverage, Quick, importers, recorded  # noqa: E402
from lib.mutants import Mutant  # noqa: E402

COLLECTION_CPU_S = 60
_verdicts = -1
UNCOVERED = "uncovered"

Order = tuple[str, Mutant]


class Bounded(Quick):
    """Bounds each test in time."""

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        bound(self.coverage.limit([item.nodeid]))


class Trials(Bounded):
    """Runs, instead of the collected tests, each mutant of a function against those it needs."""

    def __init__(self, orders: Sequence[Order], coverage: Coverage, jobs: int) -> None:
        super().__init__(coverage)
        self.again: list[Order] = []
        self._orders = orders
        self._pool = Pool(jobs, self._judge)

    def _judge(self, module: str, mutant: Mutant, verdict: str) -> None:
        is_open = verdict != KILLED and self.coverage.is_early(module, mutant)
        if is_open or verdict == UNTRIED:
            self.again.append((module, mutant))
        else:
            say(module, mutant, verdict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for module, mutant in self._orders:
            tests = self.coverage.tests(module, mutant)
            if not tests:
                self.again.append((module, mutant))
                continue

            def trial(
                module: str = module, mutant: Mutant = mutant, tests: Sequence[str] = tests
            ) -> str:
                if not put_in(module, mutant):
                    return UNTRIED
                for test in tests:
                    item = items[test]
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                    if session.testsfailed:
                        return KILLED
                return SURVIVED

            self._pool.add(module, mutant, trial, self.coverage.limit(tests))
        self._pool.drain()
        return True


class Imported(Bounded):
    """Runs some tests of their files, the quickest first, and those that the mutant renamed."""

    def __init__(self, coverage: Coverage, tests: Collection[str]) -> None:
        super().__init__(coverage)
        self._tests = tests

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        super().pytest_collection_modifyitems(items)
        seconds = self.coverage.seconds
        names = self._tests
        items[:] = [item for item in items if item.nodeid in names or item.nodeid not in seconds]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0))


def dotted(module: str) -> str:
    """The name of a module, given its path below the repository."""
    return module.removesuffix(".py").replace("/", ".")


def put_in(module: str, mutant: Mutant) -> bool:
    """Give a function of an imported module the code that the mutant has; whether that can be."""
    path = Path.cwd() / module
    tree = mutants.apply(path.read_text(encoding="utf-8"), mutant)
    code = compile(tree, str(path), "exec")
    found: object = sys.modules[dotted(module)]
    for name in mutant.function:
        found = vars(found).get(name)
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if not isinstance(found, types.FunctionType):
        return False
    new = _code_like(found.__code__, code)
    if new is None or new.co_freevars != found.__code__.co_freevars:
        return False
    found.__code__ = new
    return True


def _code_like(old: types.CodeType, within: types.CodeType) -> types.CodeType | None:
    """The code of the function that stands where the old one did."""
    for one in within.co_consts:
        if isinstance(one, types.CodeType):
            same = (one.co_qualname, one.co_firstlineno) == (old.co_qualname, old.co_firstlineno)
            if found := one if same else _code_like(old, one):
                return found
    return None


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
    sys.dont_write_bytecode = False  # each trial at import would compile the tests anew
    modules: dict[str, list[int]] = orders["modules"]
    coverage = recorded(orders["tests"], list(modules))
    inner: list[tuple[str, Mutant]] = []
    outer: list[tuple[str, Mutant]] = []
    for module, numbers in modules.items():
        found = mutants.find(Path(module).read_text(encoding="utf-8"))
        for number in numbers:
            (inner if found[number].function else outer).append((module, found[number]))
    again = _in_functions(inner, orders, coverage) if inner else []
    _at_import([*outer, *again], coverage, orders["jobs"])


def _in_functions(
    mutants_of: Sequence[Order], orders: dict[str, Any], coverage: Coverage
) -> list[Order]:
    """Try the mutants of functions; those that are to be tried at import remain."""
    reader, writer = os.pipe()
    if not os.fork():
        trials = Trials(mutants_of, coverage, orders["jobs"])
        pytest.main([*OPTIONS, *orders["tests"]], plugins=[trials])
        with os.fdopen(writer, "w") as file:
            json.dump([mutants_of.index(one) for one in trials.again], file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        again = [mutants_of[index] for index in json.load(file)]
    os.wait()
    return again


def _at_import(mutants_of: Sequence[Order], coverage: Coverage, jobs: int) -> None:
    def judge(module: str, mutant: Mutant, verdict: str) -> None:
        unseen = mutant.function and not coverage.tests(module, mutant)
        say(module, mutant, UNCOVERED if unseen and verdict == SURVIVED else verdict)

    pool = Pool(jobs, judge)
    importers()  # once for all forks
    for module, mutant in mutants_of:

        def trial(module: str = module, mutant: Mutant = mutant) -> str:
            sys.meta_path.insert(0, Finder(module, mutant))
            own = coverage.own(module)
            for tests in (own, coverage.near(module) - own):
                files = sorted({test.partition("::")[0] for test in tests})
                if tests and pytest.main([*OPTIONS, *files], plugins=[Imported(coverage, tests)]):
                    return KILLED
            return SURVIVED

        pool.add(module, mutant, trial, COLLECTION_CPU_S)
    pool.drain()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
