"""``ainitctl logs``: lines, losses, streams, and the files of a boot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ainit.cli import logs as command
from ainit.cli.reply import record
from ainit.pid1 import log_methods
from tests.support.log_host import LogHost
from tests.support.replies import STATUS
from tests.support.wait import wait_for

from .conftest import Run, Serve

CONTROL = "org.ainos.Control.Logs"
FILES = "org.ainos.Log.Read"


def line(text: str, time: float, priority: int = 6) -> dict[str, object]:
    return {
        "unit": "gpu",
        "time": time,
        "text": text,
        "priority": priority,
        "source": "unit",
        "fields": None,
    }


LINES = [line("2 GPUs, emulated", 4.25), line("\x1b[2Jgone?", 5.0, 3)]


def answer(lines: list[dict[str, object]], dropped: int = 0) -> dict[str, object]:
    return {"lines": lines, "dropped": dropped, "cursors": {"gpu": 7}, "missed": {}}


def test_logs_show_time_unit_and_text_and_no_control_characters(run: Run, serve: Serve) -> None:
    server = serve({CONTROL: answer(LINES)})
    result = run("logs", "gpu", "-n", "2")
    assert result.out == (
        "[    4.250000] gpu: 2 GPUs, emulated\n[    5.000000] gpu: \\x1b[2Jgone?\n"
    )
    assert result.err == ""
    assert server.calls == [(CONTROL, {"lines": 2, "unit": "gpu"})]


def test_logs_json_is_one_line_an_object_and_untouched(run: Run, serve: Serve) -> None:
    serve({CONTROL: answer(LINES)})
    result = run("logs", "--json")
    assert [json.loads(text) for text in result.out.splitlines()] == LINES


def test_logs_follow_prints_until_the_stream_ends_and_tells_losses_apart(
    run: Run, serve: Serve
) -> None:
    stream = [answer(LINES[:1], 100), answer(LINES[1:]), answer([], 7), answer(LINES[:1], 7)]
    server = serve({CONTROL: stream})
    result = run("logs", "-f")
    assert len(result.out.splitlines()) == 3
    assert result.err.splitlines() == [
        f"ainitctl: 100 bytes {command.NOT_KEPT}",
        "ainitctl: 7 bytes were skipped: they came faster than they were read",
    ]
    assert server.calls == [(CONTROL, {"lines": 50, "follow": True})]


@pytest.mark.parametrize(("level", "shown"), [("err", 1), ("3", 1), ("2", 0), ("debug", 2)])
def test_logs_by_priority_are_chosen_before_they_are_counted(
    run: Run, serve: Serve, level: str, shown: int
) -> None:
    server = serve({CONTROL: answer([*LINES[1:], *LINES[:1]])})
    result = run("logs", "-p", level, "-n", "2")
    assert len(result.out.splitlines()) == shown
    assert server.calls == [(CONTROL, {"lines": 10_000})]


@pytest.mark.parametrize(("since", "seconds"), [("30", 30), ("1.5m", 90), ("1h", 3600)])
def test_logs_since_some_time_ago(run: Run, serve: Serve, since: str, seconds: float) -> None:
    machine = {**record(STATUS, "machine"), "uptime": 100_000.0}
    old, new = line("old", 100_000.0 - seconds - 1), line("new", 100_000.0 - seconds + 1)
    serve({CONTROL: answer([old, new]), "org.ainos.Control.Status": {**STATUS, "machine": machine}})
    result = run("logs", "--since", since)
    assert [text.split(": ")[1] for text in result.out.splitlines()] == ["new"]


def test_logs_of_a_boot_come_from_the_files(run: Run, serve: Serve) -> None:
    server = serve({FILES: {"boot": "ab", "lines": LINES}})
    result = run("logs", "gpu", "--boot", "previous", "-p", "warning", "-n", "7")
    assert result.out == "[    5.000000] gpu: \\x1b[2Jgone?\n"
    parameters = {"lines": 7, "unit": "gpu", "boot": "previous", "priority": 4}
    assert server.calls == [(FILES, parameters)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--boot", "previous", "-f"), "--boot goes with neither"),
        (("--boot", "previous", "--since", "5m"), "--boot goes with neither"),
        (("--since", "yesterday"), "is no duration such as"),
        (("--priority", "8"), "is none of emerg"),
        (("--priority", "loud"), "is none of emerg"),
    ],
)
def test_logs_refuse_what_makes_no_sense(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("logs", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err.replace("\n", " ")


def has(lines: list[str], count: int) -> bool:
    return len(lines) >= count


@pytest.fixture
def host(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogHost]:
    monkeypatch.setattr(log_methods, "_BATCH_SECONDS", 0.0)
    with LogHost(socket_path.parent) as made:
        made.start()
        yield made


def test_logs_follow_over_a_restart_of_pid_1_without_loss_or_repetition(
    run: Run, host: LogHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("click.echo", lambda text, **_: shown.append(text.split(": ")[1]))
    monkeypatch.setattr(command, "RETRY_SECONDS", 0.0)
    host.do(lambda: host.logs.say("u", "first"))
    thread = threading.Thread(target=run, args=("logs", "-f"), daemon=True)
    thread.start()
    wait_for(lambda: shown == ["first"], "the first line")
    expected = ["first"]
    for number in range(5):
        host.do(partial(host.logs.say, "u", f"before {number}"))
        host.do(host.start_over)
        host.do(partial(host.logs.say, "u", f"after {number}"))
        expected += [f"before {number}", f"after {number}"]
        count = 2 * number + 3
        wait_for(partial(has, shown, count), "the lines of both")
    assert shown == expected
    monkeypatch.setattr(command, "RETRIES", 0)
    host.do(host.start_over)
    thread.join(60)
    assert not thread.is_alive()
