"""Mutants: what is changed, what is left alone, and that each is one change."""

from __future__ import annotations

import ast

import pytest
from lib import mutants


def made(source: str) -> list[str]:
    """What each mutant of a module reads like, the module's first line aside."""
    return [ast.unparse(mutants.apply(source, one)) for one in mutants.find(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a == b", ["x = a != b"]),
        ("x = a < b", ["x = a <= b", "x = a >= b"]),
        ("x = a in b", ["x = a not in b"]),
        ("x = a and b", ["x = a or b", "x = b", "x = a"]),
        ("x = not a", ["x = a"]),
        ("x = a + b", ["x = a - b"]),
        ("x = 1", ["x = 2"]),
        ("x = True", ["x = False"]),
        ("x = 'word'", ["x = 'wordX'"]),
        ("x = b'w'", ["x = b'wX'"]),
        ("x = a if b else c", ["x = a", "x = c", "x = a if not b else c"]),
        ("x += a", ["x -= a", "pass"]),
        ("x.y = a", ["pass"]),
        ("f(a, b)", ["pass", "f(b, a)"]),
        ("x = max(a, b)", []),
        ("raise a", ["pass"]),
        ("del a", ["pass"]),
        ("while a:\n    break", ["while not a:\n    break", "while a:\n    pass"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
    ],
)
def test_what_is_changed(source: str, expected: list[str]) -> None:
    assert made(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""text"""',
        "def f(a: 'b') -> 'c':\n    'text'",
        "x: list[1]",
        "import a\nfrom b import c",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    x = 1",
        "class A:\n    __slots__ = ('a', 'b')",
        "__all__ = ['a']",
        "x = f'{a} is {b!r}'",
        "x = 'several words'",
        "@f(1)\ndef g():\n    pass",
        "x = None",
    ],
)
def test_what_is_left_alone(source: str) -> None:
    assert [one for one in made(source) if one != "pass"] == []


def test_a_mutant_knows_its_place() -> None:
    source = "class A:\n    x = 1\n    def f(self):\n        def g():\n            return 2\n"
    found = {one.what: one for one in mutants.find(source)}
    assert found["1 → 2"].function == ()
    inner = found["2 → 3"]
    assert (inner.function, inner.first, inner.last) == (("A", "f"), 5, 5)
    assert [one.number for one in mutants.find(source)] == [0, 1, 2]


def test_the_head_of_a_statement_is_not_all_of_it() -> None:
    source = "def f(a):\n    if (a or\n            b):\n        c()\n"
    found = {one.what: one for one in mutants.find(source)}
    assert (found["a or b → a"].first, found["a or b → a"].last) == (2, 3)


def test_a_default_takes_effect_when_it_is_defined() -> None:
    (one,) = mutants.find("def f(a=1):\n    pass\n")
    assert one.function == ()
