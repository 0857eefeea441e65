"""``ainitctl top``: rates between two readings, order, one table or many."""

from __future__ import annotations

import itertools
import json
import sys

import pytest

from ainit.cli.top import usage
from tests.support.accounts import account, in_pages, unaccounted

from .conftest import Run, Serve, rows

METHOD = "org.ainos.Control.Accounting"
FIRST = [
    account("gpu", cpu_usec=1_000_000, io_read_bytes=10),
    account("shell", memory_bytes=1 << 20),
    unaccounted("idle"),
]
SECOND = [
    account("gpu", time=102.0, cpu_usec=4_000_000, io_read_bytes=4106, pids=9, oom_kills=1),
    account("shell", time=102.0, cpu_usec=20_000, restarts=2, memory_pressure=12.5),
    unaccounted("idle"),
    account("new", time=102.0, cpu_usec=5),
]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The intervals that were waited for; nothing waits."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


def order(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()][1:]


def test_one_table_when_nobody_watches(run: Run, serve: Serve, waits: list[float]) -> None:
    serve({METHOD: in_pages(FIRST, SECOND)})
    result = run("top")
    assert result.code == 0, result.err
    assert waits == [2.0]
    shown = rows(result.out)
    assert shown["gpu"] == (
        ["gpu", "ready", "150.0", "50.0M", "60.0M", "9", "2.0K", "0B", "0", "1", "0.0"]
    )
    assert shown["shell"][-3:] == ["2", "0", "12.5"]
    assert shown["new"][:3] == ["new", "ready", "-"]
    assert shown["idle"] == ["idle", "inactive", *["-"] * 6, "0", "-", "-"]
    assert order(result.out) == ["gpu", "shell", "idle", "new"]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "gpu"),
        ("cpu", "gpu"),
        ("memory", "gpu"),
        ("pids", "gpu"),
        ("io", "gpu"),
        ("restarts", "shell"),
        ("pressure", "shell"),
    ],
)
def test_the_largest_comes_first(
    run: Run, serve: Serve, waits: list[float], sort: str, first: str
) -> None:
    serve({METHOD: in_pages(FIRST, SECOND)})
    assert order(run("top", "--sort", sort).out)[0] == first


def test_names_are_sorted_from_a_to_z(run: Run, serve: Serve, waits: list[float]) -> None:
    serve({METHOD: in_pages(FIRST, SECOND)})
    assert order(run("top", "--sort", "name").out) == ["gpu", "idle", "new", "shell"]


def test_json_is_one_object(run: Run, serve: Serve, waits: list[float]) -> None:
    serve({METHOD: in_pages(FIRST, SECOND)})
    answer = json.loads(run("top", "--json", "--interval", "5").out)
    assert (answer["interval"], waits) == (5.0, [5.0])
    gpu = answer["units"][0]
    assert gpu == {
        **SECOND[0],
        "cpu_percent": 150.0,
        "io_read_bytes_per_s": 2048.0,
        "io_write_bytes_per_s": 0.0,
        "io_bytes_per_s": 2048.0,
    }


def test_several_tables_are_one_object_a_line(run: Run, serve: Serve, waits: list[float]) -> None:
    serve({METHOD: in_pages(FIRST, SECOND)})
    lines = run("top", "--json", "-n", "3").out.splitlines()
    assert [len(json.loads(line)["units"]) for line in lines] == [4, 4, 4]
    assert len(waits) == 3
    assert run("top", "-n", "2").out.count("UNIT") == 2


def test_an_interval_is_not_shorter_than_the_machine_reads(run: Run, serve: Serve) -> None:
    serve({})
    assert run("top", "--interval", "0.5").code == 2


def test_a_terminal_shows_tables_until_it_is_interrupted(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({METHOD: in_pages([account(f"u{n:03}") for n in range(150)])})
    intervals = itertools.count()

    def interrupt(seconds: float) -> None:
        if next(intervals) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("COLUMNS", "120")
    result = run("top")
    assert result.code == 130
    assert "u000" in result.out
    assert "u015" in result.out
    assert "u016" not in result.out  # no more than the screen holds
    assert result.out.count("UNIT") == 2


def test_counts_that_began_anew_give_no_rate() -> None:
    before = account("a", cpu_usec=5_000_000)
    assert usage(before, account("a", time=101.0, cpu_usec=7))["cpu_percent"] is None
    assert usage(before, before)["cpu_percent"] is None  # the same reading, from the cache
