"""``ainitctl gpu plan``, ``apply`` and ``events``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ainit.wire.protocol import VarlinkError

from .conftest import Run, Serve

FILE = """\
version: v1
mig-configs:
  mixed:
    - devices: [0]
      mig-enabled: true
      mig-devices: {"1g.10gb": 1}
    - devices: [1]
      mig-enabled: true
      mig-devices: {"3g.40gb": 1}
"""
SLOT = {"gpu": "GPU-aa", "index": 0, "profile": "3g.40gb", "start": 4, "size": 4}
CHANGES = {
    "keep": [{**SLOT, "profile": "1g.10gb", "start": 0, "size": 1}],
    "remove": [{**SLOT, "instance": 2, "agent": "speech"}],
    "create": [{**SLOT, "profile": "2g.20gb", "size": 2}],
    "disturbed": ["speech"],
}
PLAN = {"plan": CHANGES, "problems": []}
PROBLEM = {"gpu": 1, "entry": 1, "reason": "there is no room"}
EVENT = {"number": 5, "time": 12.5, "kind": "begin", "text": "transaction 3"}
METHODS = "org.ainos.Gpu"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mixed.yaml"
    path.write_text(FILE)
    return str(path)


def test_a_plan_shows_what_changes_and_whom_it_disturbs(run: Run, serve: Serve, file: str) -> None:
    server = serve({f"{METHODS}.Plan": PLAN})
    result = run("gpu", "plan", file)
    assert result.code == 0
    cells = [line.split() for line in result.out.splitlines()]
    assert ["0", "remove", "3g.40gb", "4-7", "2", "speech"] in cells
    assert ["0", "create", "2g.20gb", "4-5", "-", "-"] in cells
    assert ["0", "keep", "1g.10gb", "0", "-", "-"] in cells
    assert "stopped for it, and started again: speech" in result.out
    [(_, parameters)] = server.calls
    entries: Any = parameters["entries"]
    assert parameters["unknown"] == "keep"
    assert [each["gpus"] for each in entries] == [[0], [1]]


def test_a_dry_run_is_a_plan(run: Run, serve: Serve, file: str) -> None:
    serve({f"{METHODS}.Plan": PLAN})
    assert "2g.20gb" in run("gpu", "apply", "--dry-run", file).out


def test_what_is_as_it_shall_be_says_so(run: Run, serve: Serve, file: str) -> None:
    same = {**CHANGES, "remove": [], "create": [], "disturbed": []}
    serve({f"{METHODS}.Plan": {"plan": same, "problems": []}})
    assert "nothing changes" in run("gpu", "plan", file).out


def test_problems_have_the_line_of_their_entry(run: Run, serve: Serve, file: str) -> None:
    nothing: dict[str, list[object]] = {"keep": [], "remove": [], "create": [], "disturbed": []}
    serve({f"{METHODS}.Plan": {"plan": nothing, "problems": [PROBLEM]}})
    result = run("gpu", "plan", file)
    assert (result.code, result.err) == (1, f"{file}:7: GPU 1: there is no room\n")
    result = run("gpu", "plan", "--json", file)
    assert result.code == 1
    assert json.loads(result.out)["problems"] == [PROBLEM]


def test_an_impossible_apply_has_the_line_too(run: Run, serve: Serve, file: str) -> None:
    serve(
        {
            f"{METHODS}.Events": {"events": []},
            f"{METHODS}.Apply": VarlinkError(f"{METHODS}.Impossible", {"problems": [PROBLEM]}),
        }
    )
    result = run("gpu", "apply", file)
    assert (result.code, result.err) == (1, f"{file}:7: GPU 1: there is no room\n")


def applied(end: str, reason: str = "") -> dict[str, Any]:
    return {
        f"{METHODS}.Events": {"events": [EVENT]},
        f"{METHODS}.Apply": {**PLAN, "transaction": 3},
        f"{METHODS}.Progress": {"phase": None, "end": end, "reason": reason},
    }


def test_apply_follows_the_transaction_to_its_end(run: Run, serve: Serve, file: str) -> None:
    server = serve(applied("committed"))
    result = run("gpu", "apply", "--unknown", "adopt", file)
    assert result.code == 0
    assert "begin" in result.out
    called = dict(server.calls)
    assert called[f"{METHODS}.Apply"]["name"] == "mixed"
    assert called[f"{METHODS}.Apply"]["unknown"] == "adopt"
    assert called[f"{METHODS}.Progress"] == {"transaction": 3}
    assert called[f"{METHODS}.Events"] == {"after": 5}  # what was before is not shown as new


def test_a_rollback_is_a_failure_with_its_reason(run: Run, serve: Serve, file: str) -> None:
    serve(applied("rolled-back", "3g.40gb at slice 4 could not be made in 5 tries"))
    result = run("gpu", "apply", file)
    assert result.code == 1
    assert "rolled-back: 3g.40gb at slice 4" in result.err


def test_nobody_needs_to_wait(run: Run, serve: Serve, file: str) -> None:
    server = serve(applied("committed"))
    assert run("gpu", "apply", "--no-wait", file).code == 0
    assert f"{METHODS}.Progress" not in dict(server.calls)


def test_another_transaction_is_said_in_words(run: Run, serve: Serve, file: str) -> None:
    busy = VarlinkError(f"{METHODS}.Busy", {"reason": "transaction 2 is under way"})
    serve({f"{METHODS}.Events": {"events": []}, f"{METHODS}.Apply": busy})
    result = run("gpu", "apply", file)
    assert (result.code, result.err) == (1, "ainitctl: transaction 2 is under way\n")


def test_events_are_listed(run: Run, serve: Serve) -> None:
    serve({f"{METHODS}.Events": {"events": [EVENT]}})
    assert run("gpu", "events").out.split() == ["12.500", "begin", "transaction", "3"]
