"""``ainitctl update``."""

from __future__ import annotations

import pytest

from ainit.child.client import VarlinkError

from .conftest import Run, Serve, rows

STATUS: dict[str, object] = {
    "state": "offered",
    "reason": "0.2.0 is offered",
    "next": "`ainitctl update install`",
    "version": "0.1.0",
    "image": "base-x86_64",
    "pending": "",
    "offered": "0.2.0",
    "hindrance": "",
    "checked": 1_800_000_000.0,
    "repository": "https://updates.example",
    "channel": "stable",
    "automatic": "check",
    "window": 7200.0,
    "healthy_s": 300,
    "healthy_for": None,
    "version_floor": "0",
    "data_format_floor": 1,
    "slots": [
        {"version": "0.1.0", "tries": 3, "runs": True},
        {"version": "0.0.9", "tries": 0, "runs": False},
    ],
    "job": None,
}
I = "org.ainos.Update"  # noqa: E741


def work(**more: object) -> dict[str, object]:
    job = {"id": 3, "what": "install", "done": 0, "total": 0, "finished": False, "reason": ""}
    return {"job": {**job, **more}}


def test_status(run: Run, serve: Serve) -> None:
    serve({f"{I}.Status": STATUS})
    result = run("update", "status")
    assert result.code == 0
    assert "next       `ainitctl update install`" in result.out
    assert "looked at  2027-01-15 08:00:00" in result.out
    assert "https://updates.example, stable, automatic: check, next window in 2h 0min" in result.out
    assert rows(result.out)["0.1.0"] == ["0.1.0", "3", "yes"]
    assert rows(result.out)["0.0.9"] == ["0.0.9", "0", "-"]


def test_a_trial_shows_for_how_long_it_was_healthy(run: Run, serve: Serve) -> None:
    serve({f"{I}.Status": {**STATUS, "state": "trial", "healthy_for": 61.0}})
    assert "healthy for  1min 1s of 5min 0s" in run("update", "status").out


def test_trouble_is_an_exit_code(run: Run, serve: Serve) -> None:
    serve({f"{I}.Status": {**STATUS, "state": "trouble", "reason": "no route to host"}})
    result = run("update", "status")
    assert result.code == 1
    assert "no route to host" in result.err


def test_check_says_what_there_is(run: Run, serve: Serve) -> None:
    server = serve({f"{I}.Check": work(what="check", finished=True), f"{I}.Status": STATUS})
    assert run("update", "check").out == "0.2.0 is offered: `ainitctl update install`\n"
    assert server.calls[0] == (f"{I}.Check", {})


def test_check_says_why_it_is_not_for_this_machine(run: Run, serve: Serve) -> None:
    status = {**STATUS, "hindrance": "0.1.0 runs already"}
    serve({f"{I}.Check": work(what="check", finished=True), f"{I}.Status": status})
    assert run("update", "check").out == "0.1.0 runs already\n"


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ((), {"version": None, "reboot": False}),
        (("0.2.0", "--reboot"), {"version": "0.2.0", "reboot": True}),
    ],
)
def test_install_shows_how_far_it_is(
    run: Run, serve: Serve, words: tuple[str, ...], parameters: dict[str, object]
) -> None:
    steps = [work(done=512, total=1536), work(done=1536, total=1536, finished=True)]
    server = serve({f"{I}.Install": work(), f"{I}.Job": steps})
    result = run("update", "install", *words)
    assert (result.code, result.err) == (0, "install: 1.5K of 1.5K\n")
    assert ("boots next" in result.out) is not parameters["reboot"]
    assert server.calls[0] == (f"{I}.Install", parameters)


def test_an_installation_that_failed(run: Run, serve: Serve) -> None:
    serve({f"{I}.Install": work(), f"{I}.Job": [work(finished=True, reason="no room")]})
    result = run("update", "install")
    assert result.code == 1
    assert "install: no room" in result.err


def test_somebody_else_began_something(run: Run, serve: Serve) -> None:
    serve({f"{I}.Install": work(), f"{I}.Job": [work(id=4)]})
    result = run("update", "install")
    assert result.code == 1
    assert "something else was begun" in result.err


def test_history(run: Run, serve: Serve) -> None:
    entry = {"time": 1.8e9, "version": "0.2.0", "before": "0.1.0", "outcome": "installed"}
    fell = {**entry, "outcome": "fell-back", "reason": "speech is failed"}
    serve({f"{I}.History": {"entries": [{**entry, "reason": ""}, fell]}})
    lines = run("update", "history").out.splitlines()
    assert lines[0].split() == ["TIME", "VERSION", "BEFORE", "OUTCOME", "WHY"]
    assert lines[1].endswith("fell-back  speech is failed")
    assert lines[2].startswith("2027-01-15 08:00:00  0.2.0    0.1.0   installed")


def test_rollback_and_cancel(run: Run, serve: Serve) -> None:
    serve(
        {
            f"{I}.Rollback": work(what="rollback", finished=True),
            f"{I}.Cancel": {"what": "0.2.0"},
        }
    )
    assert "reboots" in run("update", "rollback").out
    assert run("update", "cancel").out == "cancelled: 0.2.0\n"


def test_busy_and_refused_are_said(run: Run, serve: Serve) -> None:
    busy = VarlinkError(f"{I}.Busy", {"reason": "check is being done"})
    failed = VarlinkError(f"{I}.Failed", {"reason": "nothing is under way"})
    serve({f"{I}.Check": busy, f"{I}.Cancel": failed})
    assert run("update", "check").err == "ainitctl: check is being done\n"
    assert run("update", "cancel").err == "ainitctl: nothing is under way\n"
