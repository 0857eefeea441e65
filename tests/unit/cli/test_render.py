"""Plain columns, terminal tables, sizes and spans."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.cli import render

ROOT = Path(__file__).resolve().parents[3]


def test_plain_columns_line_up_and_empty_cells_can_be_counted() -> None:
    assert render.plain(("A", "LONG"), [("x", ""), ("longer", "y")]) == (
        "A       LONG\nx       -\nlonger  y"
    )


@given(st.text())
def test_nothing_visible_can_drive_a_terminal(text: str) -> None:
    shown = render.visible(text)
    assert all(character == "\t" or ord(character) >= 32 for character in shown)
    assert not any(127 <= ord(character) < 160 for character in shown)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1536, "1.5K"),
        (50 << 20, "50.0M"),
        (3 << 40, "3.0T"),
        (None, ""),
    ],
)
def test_size(count: int | None, text: str) -> None:
    assert render.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"), (0.04, "0.0s"), (59.9, "59.9s"), (60, "1min 0s"), (3725, "1h 2min"),
        (90000, "1d 1h"), (None, ""),
    ],
)  # fmt: skip
def test_span(seconds: float | None, text: str) -> None:
    assert render.span(seconds) == text


class Terminal(io.StringIO):
    """Text output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table_with_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    render.table(("UNIT", "STATE"), [("gpu", "ready"), ("[bold]", "failed")])
    shown = terminal.getvalue()
    assert "\x1b[32mready" in shown
    assert "[bold]" in shown


def test_facts_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    render.facts([("name", "gpu"), ("pid", None), ("", "a finding")])
    assert capsys.readouterr().out == "name  gpu\n      a finding\n"


def test_tables_need_none_of_the_packages_that_the_image_leaves_out() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pygments', 'markdown_it', 'mdurl')))\n"
        "sys.stdout.isatty = lambda: True\n"
        "from ainit.cli import render; render.table(('UNIT',), [('gpu',)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.stderr, "gpu" in done.stdout) == ("", True)
