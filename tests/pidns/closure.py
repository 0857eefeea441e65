"""The lines of PID 1: which there are, where a function begins, and why some are not got to.

>>> first_line("pid1/loop.py", "Loop.turn") > 1
True
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType

PACKAGE = Path(__file__).resolve().parents[2] / "ainit"
Line = tuple[str, int]

# Why nothing in a namespace gets to lines of a file; of the others, they handle an error that no
# stimulus causes, or are a way of the machine that ends it (it is for tests/qemu to go there).
ELSEWHERE = {
    "pid1/platform.py": "the ground of a real machine, tests/qemu",
    "pid1/mounts.py": "the ground of a real machine, tests/qemu",
    "linux/block.py": "the ground of a real machine, tests/qemu",
    "linux/gpt.py": "the ground of a real machine, tests/qemu",
    "linux/efi.py": "the ground of a real machine, tests/qemu",
    "linux/tpm.py": "the TPM of a namespace is PCRs in memory",
    "linux/watchdog.py": "a namespace has no hardware watchdog",
    "linux/pressure.py": "the machine's memory is never under pressure here",
    "pid1/shutdown.py": "ends the machine",
}


def _codes(file: str) -> Iterator[CodeType]:
    path = PACKAGE / file
    pending = [compile(path.read_bytes(), str(path), "exec")]
    while pending:
        code = pending.pop()
        yield code
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]


@cache
def lines(file: str) -> dict[int, str]:
    """Every line of a file that is executed, and the function that it is of."""
    found: dict[int, str] = {}
    for code in _codes(file):
        first = code.co_firstlineno if code.co_name != "<module>" else 0
        for _, _, line in code.co_lines():
            if line and line != first:
                found[line] = code.co_qualname
    for node in ast.parse((PACKAGE / file).read_bytes()).body:  # what only a checker of types sees
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in range(node.lineno + 1, (node.end_lineno or 0) + 1):
                found.pop(line, None)
    return found


def first_line(file: str, function: str) -> int:
    """The first line of a function's body. Raises LookupError when there is no such function."""
    for code in _codes(file):
        if code.co_qualname == function:
            return min(
                line for _, _, line in code.co_lines() if line and line > code.co_firstlineno
            )
    raise LookupError(f"{file} has no {function}")


def unreached(reached: Iterable[Line]) -> list[tuple[str, int, str, str]]:
    """Lines of the files in ``reached`` that are not in it: file, line, function and reason."""
    known = set(reached)
    found = []
    for file in sorted({file for file, _ in known}):
        for line, function in sorted(lines(file).items()):
            if (file, line) not in known:
                reason = ELSEWHERE.get(file, "no stimulus leads there")
                found.append((file, line, function, reason))
    return found


def coverage(reached: Iterable[Line], files: Iterable[str]) -> dict[str, float]:
    """Which share of each file's lines is in ``reached``."""
    got = Counter(file for file, line in set(reached) if line in lines(file))
    return {file: got[file] / len(lines(file)) for file in files}
