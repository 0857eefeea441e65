"""Where files come from: a directory that is not left, a pace between the least and the most."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.child.source import Directory, Limits, Pace, open_source, small
from ainit.errors import DeadlineError, RefusedError


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """See time.monotonic."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """See time.sleep."""
        assert seconds >= 0
        self.now += seconds

    def pace(self, limits: Limits) -> Pace:
        """A pace by this clock."""
        return Pace(limits, self.monotonic, self.sleep)

    def bring(self, pace: Pace, count: int, seconds: float) -> None:
        """So many bytes come after so many seconds."""

        def wait() -> int:
            self.now += seconds
            return count

        assert pace.took(wait) == count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source/deep").mkdir(parents=True)
    (tmp_path / "source/deep/a b%").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "source"


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (3, 5, b"34"), (8, 99, b"89"), (4, 4, b""),
     (99, None, b""), (5, 2, b"")],
)  # fmt: skip
def test_a_directory_is_read_in_ranges(
    folder: Path, start: int, end: int | None, wanted: bytes
) -> None:
    with open_source(str(folder)) as source:
        assert b"".join(source.read("deep/a%20b%25", start, end)) == wanted
        assert source.size("deep/a%20b%25") == 10


@pytest.mark.parametrize(
    "name", ["../secret", "deep/../../secret", "%2e%2e/secret", "link", "a%00"]
)
def test_nothing_leads_out_of_a_directory(folder: Path, name: str) -> None:
    (folder / "link").symlink_to("../secret")
    with pytest.raises((RefusedError, OSError), match=r"leads out|symbolic links"):
        b"".join(Directory(str(folder)).read(name))


def test_a_small_file_is_small(folder: Path) -> None:
    source = Directory(str(folder))
    assert small(source, "deep/a%20b%25", 10) == b"0123456789"
    assert small(source, "missing", 10) == b""
    with pytest.raises(RefusedError, match="longer than 9 bytes"):
        small(source, "deep/a%20b%25", 9)


def test_a_server_that_sends_next_to_nothing_is_given_up() -> None:
    """A byte every 29 seconds is no silence, and no download either."""
    clock = Clock()
    pace = clock.pace(Limits(least=1000, least_over_s=60))
    clock.bring(pace, 1, 29)
    clock.bring(pace, 1, 29)
    with pytest.raises(DeadlineError, match="less than 1000 bytes a second"):
        clock.bring(pace, 1, 29)


def test_every_window_is_judged_by_itself() -> None:
    """Who was fast for an hour may not be slow for the next."""
    clock = Clock()
    pace = clock.pace(Limits(least=1000, least_over_s=60))
    for _ in range(60):
        clock.bring(pace, 10**9, 61)
    with pytest.raises(DeadlineError):
        clock.bring(pace, 59_999, 60)


def test_the_least_rate_is_enough() -> None:
    clock = Clock()
    pace = clock.pace(Limits(least=1000, least_over_s=60))
    for _ in range(100):
        clock.bring(pace, 30_000, 30)


def test_what_comes_is_slowed_down_to_the_rate() -> None:
    clock = Clock()
    pace = clock.pace(Limits(rate=1000, least=500))
    for _ in range(20):
        clock.bring(pace, 5000, 0.1)
    assert clock.now - 100 == pytest.approx(100, abs=0.2)


def test_our_own_waiting_is_not_the_servers() -> None:
    """At a rate below the least, the server is not to blame."""
    clock = Clock()
    pace = clock.pace(Limits(rate=10, least=1000, least_over_s=60))
    for _ in range(20):
        clock.bring(pace, 1000, 0.01)
