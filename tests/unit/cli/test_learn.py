"""``ainitctl sandbox audit``, ``learn`` and ``revert``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ainit.wire.protocol import VarlinkError

from .conftest import Run, Serve

AUDIT = "org.ainos.Audit"
USE: dict[str, object] = {
    "matter": "read", "what": "/srv/a/x", "by": "openat", "count": 7, "first": 1700000000.0,
    "last": 1700003600.0,
}  # fmt: skip
PROPOSAL: dict[str, Any] = {
    "agent": "notes",
    "sandbox": {"read": ["/srv/a"], "system_calls": ["processes"]},
    "lines": [
        {"verdict": "narrow", "matter": "read", "what": "/srv",
         "new": [{"matter": "read", "what": "/srv/a"}], "uses": [USE]},
        {"verdict": "keep", "matter": "system calls", "what": "processes",
         "new": [{"matter": "system calls", "what": "processes"}],
         "uses": [{**USE, "matter": "system calls", "what": "clone", "by": "clone"}]},
        {"verdict": "drop", "matter": "execute", "what": "/usr/bin/git", "new": [], "uses": []},
    ],
    "before": 3,
    "after": 2,
    "tighter": True,
    "denied": [],
    "starts": 4,
    "seconds": 93780.0,
    "dropped": 0,
}  # fmt: skip
AGENT = {
    "name": "notes", "on": True, "watched": True, "starts": 4, "seconds": 93780.0, "uses": 12,
    "overlay": False,
}  # fmt: skip


def test_a_proposal_with_its_evidence_and_its_table(run: Run, serve: Serve) -> None:
    server = serve({f"{AUDIT}.Propose": {"proposal": PROPOSAL}})
    result = run("sandbox", "learn", "notes")
    assert (result.code, result.err) == (0, "")
    assert (
        result.out
        == """\
notes: watched for 1d 2h over 4 starts
  narrow  may read /srv: may read /srv/a is enough
          /srv/a/x by openat, 7 times, 2023-11-14 22:13:20 to 2023-11-14 23:13:20
  keep    may make the system calls of processes: start processes and wait for them
          clone, 7 times, 2023-11-14 22:13:20 to 2023-11-14 23:13:20
  drop    may execute /usr/bin/git: not used
2 of 3 things that it may remain

[sandbox]
read = ["/srv/a"]
system_calls = ["processes"]
"""
    )
    assert server.calls == [(f"{AUDIT}.Propose", {"agent": "notes"})]
    assert json.loads(run("sandbox", "learn", "notes", "--json").out)["proposal"] == PROPOSAL


def test_what_is_in_the_way_is_said(run: Run, serve: Serve) -> None:
    answer = {**PROPOSAL, "denied": [USE], "dropped": 3, "tighter": False}
    serve({f"{AUDIT}.Propose": {"proposal": answer}})
    said = run("sandbox", "learn", "notes").out
    assert "it would deny /srv/a/x: not to be applied\n" in said
    assert "3 uses had no room in the record" in said


@pytest.mark.parametrize(("options", "hours"), [([], 24.0), (["--hours", "0.5"], 0.5)])
def test_apply_says_how_to_bring_it_in_force(
    run: Run, serve: Serve, options: list[str], hours: float
) -> None:
    server = serve({f"{AUDIT}.Apply": {"proposal": PROPOSAL}})
    result = run("sandbox", "learn", "notes", "--apply", *options)
    assert result.code == 0
    assert result.out.endswith("in force from its next start on: `ainitctl restart notes`\n")
    assert server.calls == [(f"{AUDIT}.Apply", {"agent": "notes", "hours": hours})]


@pytest.mark.parametrize("command", [["learn", "notes"], ["revert", "notes"]])
def test_a_refusal_has_its_reason(run: Run, serve: Serve, command: list[str]) -> None:
    refused = VarlinkError(f"{AUDIT}.Refused", {"reason": "nothing was recorded yet"})
    serve({f"{AUDIT}.Propose": refused, f"{AUDIT}.Revert": refused})
    result = run("sandbox", *command)
    assert (result.code, result.out) == (1, "")
    assert result.err == "ainitctl: notes: nothing was recorded yet\n"


def test_what_is_no_agent(run: Run, serve: Serve) -> None:
    serve({f"{AUDIT}.Audit": VarlinkError(f"{AUDIT}.NoSuchAgent", {"agent": "log"})})
    result = run("sandbox", "audit", "log", "on")
    assert (result.code, result.err) == (
        1, "ainitctl: there is no agent log; `ainitctl status` lists units\n",
    )  # fmt: skip


@pytest.mark.parametrize("state", ["on", "off"])
def test_audit_is_switched(run: Run, serve: Serve, state: str) -> None:
    server = serve({f"{AUDIT}.Audit": {}})
    result = run("sandbox", "audit", "notes", state)
    assert result.out.startswith(f"audit of notes is {state} from its next start on")
    assert server.calls == [(f"{AUDIT}.Audit", {"agent": "notes", "on": state == "on"})]


def test_who_is_recorded(run: Run, serve: Serve) -> None:
    serve({f"{AUDIT}.List": {"agents": [AGENT]}})
    lines = run("sandbox", "audit").out.splitlines()
    assert lines[0].split() == [
        "AGENT", "AUDIT", "WATCHED", "STARTS", "TIME", "USES", "TIGHTENED",
    ]  # fmt: skip
    assert lines[1].split() == ["notes", "on", "now", "4", "1d", "2h", "12", "-"]
    assert json.loads(run("sandbox", "audit", "--json").out) == {"agents": [AGENT]}


def test_an_agent_is_switched_to_something(run: Run, serve: Serve) -> None:
    result = run("sandbox", "audit", "notes")
    assert result.code == 2
    assert "on" in result.err


@pytest.mark.parametrize(("overlay", "words"), [(True, "learned before"), (False, "manifest's")])
def test_revert(run: Run, serve: Serve, overlay: bool, words: str) -> None:
    serve({f"{AUDIT}.Revert": {"overlay": overlay}})
    result = run("sandbox", "revert", "notes")
    assert result.code == 0
    assert words in result.out
