"""What each reading command shows."""

from __future__ import annotations

import json

import pytest

from ainit.wire.protocol import VarlinkError
from tests.support.replies import MEASUREMENTS, STATUS, UNIT

from .conftest import Run, Serve

CONTROL = "org.ainos.Control."


def rows(text: str) -> dict[str, list[str]]:
    """Plain output by the first word of each line."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def test_status_shows_health_its_findings_and_every_unit(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Status": STATUS})
    result = run("status")
    assert result.code == 0
    shown = rows(result.out)
    assert shown["health"] == ["health", "degraded"]
    assert "speech is refused: model silero-vad" in result.out
    assert "kernel 2.5s, ainit 1.2s" in result.out
    assert shown["file-type"][1:7] == ["agent", "ready", "71", "2", "50.0M", "1h"]
    assert shown["file-type"][-4:] == ["1g.10gb", "on", "GPU", "0"]
    assert shown["speech"][1:6] == ["agent", "refused", "-", "0", "-"]


def test_status_failed_shows_only_what_is_wrong(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Status": STATUS})
    shown = rows(run("status", "--failed").out)
    assert "speech" in shown
    assert "file-type" not in shown


def test_unit_show(run: Run, serve: Serve) -> None:
    server = serve({CONTROL + "Describe": {"unit": UNIT}})
    result = run("unit", "show", "file-type")
    assert server.calls == [(CONTROL + "Describe", {"name": "file-type"})]
    shown = rows(result.out)
    assert shown["memory"] == ["memory", "50.0M"]
    assert shown["provides"] == ["provides", "org.ainos.agent.FileType"]
    assert "reason" not in shown
    assert json.loads(run("unit", "show", "file-type", "--json").out) == {"unit": UNIT}


def test_start_goes_through_every_name_in_order(run: Run, serve: Serve) -> None:
    server = serve({CONTROL + "Start": {}})
    assert run("start", "b", "a").code == 0
    assert [parameters for _, parameters in server.calls] == [{"name": "b"}, {"name": "a"}]


def test_measurements(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Measurements": MEASUREMENTS})
    result = run("measurements")
    lines = result.out.splitlines()
    assert lines[1].split() == ["0", "13", "model", "magika", "sha256:" + "cd" * 32]
    assert lines[2].endswith("the signature does not match")
    assert lines[-1] == "PCR 13  " + "12" * 32


LINES = [
    {"unit": "gpu", "time": 4.25, "text": "2 GPUs, emulated"},
    {"unit": "gpu", "time": 5.0, "text": "\x1b[2Jgone?"},
]


def test_logs_show_time_unit_and_text_and_no_control_characters(run: Run, serve: Serve) -> None:
    server = serve({CONTROL + "Logs": {"lines": LINES, "dropped": 0}})
    result = run("logs", "gpu", "-n", "2")
    assert result.out == (
        "[    4.250000] gpu: 2 GPUs, emulated\n[    5.000000] gpu: \\x1b[2Jgone?\n"
    )
    assert result.err == ""
    assert server.calls == [(CONTROL + "Logs", {"lines": 2, "unit": "gpu"})]


def test_logs_json_is_one_line_an_object_and_untouched(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Logs": {"lines": LINES, "dropped": 0}})
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
    server = serve({CONTROL + "Logs": stream})
    result = run("logs", "-f")
    assert len(result.out.splitlines()) == 3
    assert result.err.splitlines() == [
        "ainitctl: 100 bytes of older output are no longer kept",
        "ainitctl: 7 bytes were skipped: they came faster than they were read",
    ]
    assert server.calls == [(CONTROL + "Logs", {"lines": 50, "follow": True})]


def test_call_prints_the_answer_as_it_is(run: Run, serve: Serve) -> None:
    server = serve({CONTROL + "Describe": {"unit": UNIT}})
    result = run("call", CONTROL + "Describe", '{"name": "file-type"}')
    assert json.loads(result.out) == {"unit": UNIT}
    assert server.calls == [(CONTROL + "Describe", {"name": "file-type"})]


def test_call_more_prints_one_answer_a_line(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Logs": [{"lines": [], "dropped": 0}, {"lines": LINES, "dropped": 0}]})
    result = run("call", "--more", CONTROL + "Logs", '{"follow": true}')
    assert [len(json.loads(line)["lines"]) for line in result.out.splitlines()] == [0, 2]


@pytest.mark.parametrize(
    "words", [["Status"], [CONTROL + "Status", "{"], [CONTROL + "Status", "[]"]]
)
def test_call_refuses_what_is_no_call_before_it_connects(run: Run, words: list[str]) -> None:
    assert run("call", *words).code == 2


def test_call_shows_any_error(run: Run, serve: Serve) -> None:
    serve({CONTROL + "Start": VarlinkError("org.example.Odd", {"why": "so"})})
    result = run("call", CONTROL + "Start", '{"name": "x"}')
    assert (result.code, "org.example.Odd" in result.err) == (1, True)


def test_models_list(run: Run, serve: Serve) -> None:
    admitted = {
        "name": "magika",
        "kind": "model",
        "state": "admitted",
        "digest": "sha256:" + "cd" * 32,
        "signer": "publisher",
        "path": "/var/lib/ainos/models/objects/cdcd/model.onnx",
        "reason": "",
    }
    refused = {**admitted, "name": "placement", "kind": "policy", "state": "refused"}
    refused.update(digest="", signer="", reason="not signed")
    serve({"org.ainos.Store.Models": {"models": [admitted, refused]}})
    shown = rows(run("models", "list").out)
    assert shown["magika"] == [
        "magika",
        "model",
        "admitted",
        "sha256:" + "cd" * 32,
        "publisher",
        "-",
    ]
    assert shown["placement"] == ["placement", "policy", "refused", "-", "-", "not", "signed"]
