"""``ainitctl call``: any method by name."""

from __future__ import annotations

import json

import pytest

from ainit.wire.protocol import VarlinkError
from tests.support.replies import UNIT

from .conftest import Run, Serve

LINE = {
    "unit": "gpu",
    "time": 4.25,
    "text": "2 GPUs, emulated",
    "priority": 6,
    "source": "unit",
}
NOTHING: dict[str, object] = {"lines": [], "dropped": 0, "cursors": {}, "missed": {}}


def test_call_prints_the_answer_as_it_is(run: Run, serve: Serve) -> None:
    server = serve({"org.ainos.Control.Describe": {"unit": UNIT}})
    result = run("call", "org.ainos.Control.Describe", '{"name": "file-type"}')
    assert json.loads(result.out) == {"unit": UNIT}
    assert server.calls == [("org.ainos.Control.Describe", {"name": "file-type"})]


def test_call_more_prints_one_answer_a_line(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Logs": [NOTHING, {**NOTHING, "lines": [LINE]}]})
    result = run("call", "--more", "org.ainos.Control.Logs", '{"follow": true}')
    assert [len(json.loads(line)["lines"]) for line in result.out.splitlines()] == [0, 1]


@pytest.mark.parametrize(
    "words", [["Status"], ["org.ainos.Control.Status", "{"], ["org.ainos.Control.Status", "[]"]]
)
def test_call_refuses_what_is_no_call_before_it_connects(run: Run, words: list[str]) -> None:
    assert run("call", *words).code == 2


def test_call_shows_any_error(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Start": VarlinkError("org.example.Odd", {"why": "so"})})
    result = run("call", "org.ainos.Control.Start", '{"name": "x"}')
    assert (result.code, "org.example.Odd" in result.err) == (1, True)
