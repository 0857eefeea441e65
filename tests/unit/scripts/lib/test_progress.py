"""Progress lines: bars, times, and commands that are followed to their end."""

import io
import sys
from pathlib import Path

import pytest
from lib.host import CommandError
from lib.progress import follow, format_bar, format_elapsed, step


def test_durations_read_as_people_write_them() -> None:
    assert format_elapsed(4.24) == "4.2 s"
    assert format_elapsed(965.9) == "16 min 05 s"


def test_a_bar_stays_below_the_end_when_the_estimate_was_low() -> None:
    assert format_bar(1, 2, width=4) == "[##..]  50 %"
    assert format_bar(2, 2, width=4) == "[####] 100 %"
    assert format_bar(3, 2, width=4) == "[###.]  99 %"
    assert format_bar(1, 0, width=4) == "[....]   0 %"


def test_without_a_terminal_lines_are_plain_and_rare() -> None:
    out, clock = io.StringIO(), iter([0.0, 10.0, 31.0, 40.0, 42.0])
    with step("kernel", out, lambda: next(clock)) as progress:
        progress.update(1, 4)
        progress.update(2, 4, "half")
        progress.update(3, 4)
        progress.note("8 MiB")
    first, last = out.getvalue().splitlines()
    assert first.split() == ["kernel", "[############............]", "50", "%", "31.0", "s", "half"]
    assert last.split() == ["✓", "kernel", "42.0", "s", "8", "MiB"]


def test_a_step_that_fails_is_marked() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="no"), step("kernel", out):
        raise ValueError("no")
    assert out.getvalue().startswith("✗ kernel")


def test_a_followed_command_leaves_its_log_and_its_failure_is_ready_to_paste(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log" / "x.log"
    with step("x", io.StringIO()) as progress:
        follow([sys.executable, "-c", "print('well')"], log, progress, 1, 60)
        assert log.read_text() == "well\n"
        with pytest.raises(CommandError) as caught:
            follow([sys.executable, "-c", "print('bad'); exit(3)"], log, progress, 1, 60)
    assert "exit status 3" in str(caught.value)
    assert f"{sys.executable} -c 'print('\"'\"'bad" in str(caught.value)
    assert str(caught.value).endswith("bad")


def test_a_followed_command_ends_at_its_deadline(tmp_path: Path) -> None:
    endless = [sys.executable, "-c", "import signal; signal.pause()"]
    with (
        step("x", io.StringIO()) as progress,
        pytest.raises(CommandError, match="no end after"),
    ):
        follow(endless, tmp_path / "x.log", progress, 1, deadline_s=0)
