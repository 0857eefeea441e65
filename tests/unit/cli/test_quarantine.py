"""``ainitctl quarantine``."""

from __future__ import annotations

import json

import pytest

from tests.support.replies import STATUS, UNIT

from .conftest import Run, Serve, rows

BEGIN, END = "org.ainos.Control.Quarantine", "org.ainos.Control.Release"
PIECE = "speech-20261130T202603Z"
HELD = {
    **UNIT,
    "name": "speech",
    "state": "quarantined",
    "reason": "odd",
    "quarantine": {"reason": "odd", "by": "kim", "time": 1700000000, "evidence": PIECE},
}


def test_it_says_where_the_evidence_is(run: Run, serve: Serve) -> None:
    server = serve({BEGIN: {"evidence": PIECE, "frozen": True}})
    result = run("quarantine", "speech", "--reason", "odd")
    assert server.calls == [(BEGIN, {"name": "speech", "reason": "odd"})]
    assert (result.code, result.err) == (0, "")
    assert result.out == f"speech is in quarantine; its evidence: {PIECE}\n"
    assert json.loads(run("quarantine", "speech", "--reason", "odd", "--json").out)["frozen"]


def test_it_says_when_something_has_not_stopped(run: Run, serve: Serve) -> None:
    serve({BEGIN: {"evidence": PIECE, "frozen": False}})
    assert "has not stopped yet" in run("quarantine", "speech", "--reason", "odd").err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("speech",),
        ("--reason", "odd"),
        ("--release",),
        ("speech", "--list"),
        ("--list", "--reason", "odd"),
        ("speech", "--release", "--reason", "odd"),
    ],
)
def test_half_of_it_is_not_enough(run: Run, words: tuple[str, ...]) -> None:
    result = run("quarantine", *words)
    assert result.code == 2
    assert "give UNIT and --reason TEXT, UNIT and --release, or --list" in result.err


def test_what_is_held_is_listed(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Status": {**STATUS, "units": [UNIT, HELD]}})
    lines = run("quarantine", "--list").out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["speech", "quarantined", "2023-11-14", "22:13:20", "kim", PIECE, "odd"]
    ]
    units = json.loads(run("quarantine", "--list", "--json").out)["units"]
    assert [unit["name"] for unit in units] == ["speech"]


def test_it_is_released(run: Run, serve: Serve) -> None:
    server = serve({END: {}})
    assert (run("quarantine", "a", "--release").out, server.calls) == ("", [(END, {"name": "a"})])
    assert run("quarantine", "a", "--release", "--json").out == "{}\n"


def test_a_unit_says_that_it_is_held(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Describe": {"unit": HELD}})
    shown = rows(run("unit", "show", "speech").out)
    assert " ".join(shown["quarantine"][1:]) == "2023-11-14 22:13:20 by kim: odd"
    assert shown["evidence"] == ["evidence", PIECE]


def test_it_is_among_what_is_not_where_it_should_be(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Status": {**STATUS, "units": [UNIT, HELD]}})
    lines = run("status", "--failed").out.splitlines()
    assert [line.split()[0] for line in lines if "quarantined" in line] == ["speech"]
    assert not any(line.startswith(str(UNIT["name"])) for line in lines)
