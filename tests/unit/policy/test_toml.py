"""Every key has the line that an editor would show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import ConfigError
from ainit.policy.toml import parse

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1
"quoted key" = 2
dotted.inner = 3
dotted.other.deep = 4
dotted.X = 5

[table]   # a comment
array = [
  "a # no comment",
  ["nested", '[']
]
after_array = 1
basic = """
[not_a_table]
not_a_key = 1
\\""" still inside
"""
after_basic = 2
literal = \'\'\'
key = 'x' ''
\'\'\'
after_literal = 3
escaped = "ends with \\\\"
after_escaped = [ "\\"[" , "]" ]
inline = { a = 1, b = [1, 2] }
quotes = """"four""""
last = 4

[table.sub.deeper]
key = 1

[[list]]
name = "first"
  [[list.inner]]
  x = 1
  [[list.inner]]
  x = 2

[[list]]
name = "second"

  [[list.inner]]
  x = 3
[list.settings]
y = 1
'''
LINES = {text: number for number, text in enumerate(TEXT.split("\n"), start=1)}


def line(start: str, occurrence: int = 1) -> int:
    found = [n for n, text in enumerate(TEXT.split("\n"), 1) if text.strip().startswith(start)]
    return found[occurrence - 1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("top",), line("top")),
        (("quoted key",), line('"quoted key"')),
        (("dotted", "inner"), line("dotted.inner")),
        (("dotted",), line("dotted.inner")),
        (("dotted", "other", "deep"), line("dotted.other")),
        (("dotted", "other"), line("dotted.other")),
        (("dotted", "X"), line("dotted.X")),
        (("table",), line("[table]")),
        (("table", "array"), line("array")),
        (("table", "after_array"), line("after_array")),
        (("table", "basic"), line("basic")),
        (("table", "after_basic"), line("after_basic")),
        (("table", "literal"), line("literal")),
        (("table", "after_literal"), line("after_literal")),
        (("table", "after_escaped"), line("after_escaped")),
        (("table", "inline"), line("inline")),
        (("table", "inline", "b"), line("inline")),
        (("table", "quotes"), line("quotes")),
        (("table", "last"), line("last")),
        (("table", "sub"), line("[table.sub")),
        (("table", "sub", "deeper", "key"), line("key = 1")),
        (("list", 0, "name"), line("name", 1)),
        (("list", 0, "inner", 0, "x"), line("x = 1")),
        (("list", 0, "inner", 1, "x"), line("x = 2")),
        (("list", 1, "name"), line("name", 2)),
        (("list", 1, "inner", 0, "x"), line("x = 3")),
        (("list", 1, "settings", "y"), line("y = 1")),
        (("table", "absent"), line("[table]")),
        (("absent", "deep"), 1),
    ],
    ids=str,
)
def test_line(path: tuple[str | int, ...], expected: int) -> None:
    assert parse(TEXT, "a.toml").line(path) == expected


def test_a_key_in_single_quotes_has_its_line() -> None:
    document = parse("\n'a b' = 1\n'c.d'.e = 2\n['f g']\nx = 3\n", "a.toml")
    paths = (("a b",), ("c.d", "e"), ("f g",), ("f g", "x"))
    assert [document.line(path) for path in paths] == [2, 3, 4, 5]


def test_what_looks_like_a_key_inside_a_string_is_none() -> None:
    document = parse(TEXT, "a.toml")
    assert document.line(("table", "not_a_key")) == line("[table]")
    assert document.line(("not_a_table",)) == 1


values = st.one_of(
    st.sampled_from(
        [
            "1",
            "[\n1,\n2\n]",
            '"""\nx = 1\n[y]\n"""',
            "'''\n\"\n'''",
            '"""\nsay "x\n[y]\n"""',
            '"\\\\"',
            '"\\""',
            "'#'",
            "[ # x = 1\n'a' ] # [",
            "{ a = [1], b = '}' }",
            '["]", "[", \'"\']',
            "[\n[1],\n[2]\n]",
            '[\n"""\n[y]\n""",\n{ a = 1 }\n]',
            '"\u2028\x85"',
        ]
    ),
    st.integers().map(str),
)


@given(st.lists(st.tuples(st.booleans(), values), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_any_mix_of_values_and_tables(items: list[tuple[bool, str]], newline: str) -> None:
    text = ""
    expected: list[tuple[tuple[str | int, ...], int]] = []
    path: tuple[str | int, ...] = ()
    for index, (table, value) in enumerate(items):
        if table:
            path = (f"t{index}",)
            expected.append((path, text.count("\n") + 1))
            text += f"[t{index}] # {value.partition(chr(10))[0]}\n"
        expected.append(((*path, f"k{index}"), text.count("\n") + 1))
        text += f"k{index} = {value}\n"
    document = parse(text.replace("\n", newline), "a.toml")
    assert [(path, document.line(path)) for path, _ in expected] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = \n", "a.toml:2: not TOML: Invalid value"),
        ("a = 1\na = 2\n", "a.toml:2: not TOML: Cannot overwrite a value"),
        ("a = [\n1,\n", "a.toml:3: not TOML: "),
        ("\n\n= 1", "a.toml:3: not TOML: "),
        ("a = " + "[" * 50_000, "a.toml:1: not TOML: "),
        ("a = " + "9" * 5_000, "a.toml:1: not TOML: "),
        ("a = 0000-99-99", "a.toml:1: not TOML: "),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_toml_is_a_finding_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.toml")
    assert [str(finding)[: len(expected)] for finding in caught.value.findings] == [expected]


def test_the_place_is_told_once() -> None:
    with pytest.raises(ConfigError, match=r"^a\.toml:2: not TOML: Invalid value$"):
        parse("a = 1\nb = \n", "a.toml")


@given(st.text())
def test_any_text_is_a_document_or_a_finding(text: str) -> None:
    try:
        parse(text, "a.toml")
    except ConfigError as error:
        (finding,) = error.findings
        assert 1 <= finding.line <= text.count("\n") + 1


def test_tables_are_typed() -> None:
    document = parse("a = 1\nd = [{}, 1]\n[b]\n[[c]]\nx = 1\n[[c]]\nx = 2\n", "a.toml")
    assert [table.line("x") for table in document.tables("c")] == [5, 7]
    assert document.table("absent").values == {}
    for wrong in ("a", "b", "d"):
        with pytest.raises(ConfigError, match=f"{wrong} is an array of tables"):
            list(document.tables(wrong))
    with pytest.raises(ConfigError, match=r"a\.toml:1: a is a table"):
        document.table("a")


def test_brackets_without_an_end_are_a_finding() -> None:
    with pytest.raises(ConfigError, match=r"a\.toml:1: not TOML: nested too deeply"):
        parse("x = " + "[" * 100_000, "a.toml")
