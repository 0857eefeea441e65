"""``ainitctl logs``: lines, losses, streams."""

from __future__ import annotations

import json

from .conftest import Run, Serve

LINES = [
    {"unit": "gpu", "time": 4.25, "text": "2 GPUs, emulated"},
    {"unit": "gpu", "time": 5.0, "text": "\x1b[2Jgone?"},
]


def test_logs_show_time_unit_and_text_and_no_control_characters(run: Run, serve: Serve) -> None:
    server = serve({"org.ainos.Control.Logs": {"lines": LINES, "dropped": 0}})
    result = run("logs", "gpu", "-n", "2")
    assert result.out == (
        "[    4.250000] gpu: 2 GPUs, emulated\n[    5.000000] gpu: \\x1b[2Jgone?\n"
    )
    assert result.err == ""
    assert server.calls == [("org.ainos.Control.Logs", {"lines": 2, "unit": "gpu"})]


def test_logs_json_is_one_line_an_object_and_untouched(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Logs": {"lines": LINES, "dropped": 0}})
    result = run("logs", "--json")
    assert [json.loads(line) for line in result.out.splitlines()] == LINES


def test_logs_follow_prints_until_the_stream_ends_and_tells_losses_apart(
    run: Run, serve: Serve
) -> None:
    stream: list[dict[str, object]] = [
        {"lines": LINES[:1], "dropped": 100},
        {"lines": LINES[1:], "dropped": 0},
        {"lines": [], "dropped": 7},
        {"lines": LINES[:1], "dropped": 7},
    ]
    server = serve({"org.ainos.Control.Logs": stream})
    result = run("logs", "-f")
    assert len(result.out.splitlines()) == 3
    assert result.err.splitlines() == [
        "ainitctl: 100 bytes of older output are no longer kept",
        "ainitctl: 7 bytes were skipped: they came faster than they were read",
    ]
    assert server.calls == [("org.ainos.Control.Logs", {"lines": 50, "follow": True})]
