"""``ainitctl sandbox``: an agent of a manifest or of the machine, explained and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.policy.plan import AGENT, SERVICE, Plan, Unit
from ainit.wire.protocol import VarlinkError

from .conftest import Run, Serve

HEAD = '[agent]\ndescription = "Keeps notes"\nexec = ["/usr/bin/python3", "."]\n[sandbox]\n'
CONTROL = "org.ainos.Control"
OVERLAY = "org.ainos.Audit.Overlay"
AS_MANIFEST = {"sandbox": None, "digest": "", "problem": ""}


def write(folder: Path, name: str, table: str) -> str:
    """The directory of an agent with this [sandbox]."""
    (folder / name).mkdir()
    (folder / name / "manifest.toml").write_text(HEAD + table)
    return str(folder / name)


def plan_of(**sandbox: object) -> dict[str, object]:
    """What GetPlan answers of a machine with a service ``log`` and an agent ``notes``."""
    unit = Unit("notes", AGENT)
    unit.sandbox = sandbox
    plan = Plan([Unit("log", SERVICE), unit], {"hostname": "ainos"}).to_record()
    return {"plan": plan, "base": plan, "files": {}}


def test_explain_a_directory(run: Run, tmp_path: Path) -> None:
    result = run("sandbox", "explain", write(tmp_path, "notes", 'write = ["/srv/notes"]\n'))
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "notes: Keeps notes"
    assert lines[lines.index("writes") + 1 :][:2] == [
        "  /tmp, its own, empty at each start",
        "  /srv/notes",
    ]
    assert lines[lines.index("network") + 1] == "  none: local sockets only"


def test_explain_a_manifest_for_scripts(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path, "notes", 'network = ["agent:speech"]\n')
    result = run("sandbox", "explain", f"{folder}/manifest.toml", "--json")
    found = json.loads(result.out)
    assert (result.code, found["agent"]) == (0, "notes")
    assert found["grants"] == [{"matter": "call", "what": "speech"}]
    assert "calls the agent speech" in found["explanation"]["network"]


def test_explain_an_agent_of_the_machine(run: Run, serve: Serve) -> None:
    server = serve({f"{CONTROL}.GetPlan": plan_of(read=["/srv/in"]), OVERLAY: AS_MANIFEST})
    result = run("sandbox", "explain", "notes")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("notes\n\nreads\n")
    assert "\n  /srv/in\n" in result.out
    assert [method for method, _ in server.calls] == [f"{CONTROL}.GetPlan", OVERLAY]


def test_explain_an_agent_that_was_tightened(run: Run, serve: Serve) -> None:
    tightened = {"sandbox": {"read": ["/srv/in/a"]}, "digest": "sha256:12", "problem": ""}
    serve({f"{CONTROL}.GetPlan": plan_of(read=["/srv/in"]), OVERLAY: tightened})
    said = run("sandbox", "explain", "notes").out
    assert said.startswith("notes\n\ntightened on this machine\n  sha256:12\n\nreads\n")
    assert "\n  /srv/in/a\n" in said
    found = json.loads(run("sandbox", "explain", "notes", "--json").out)
    assert found["grants"] == [{"matter": "read", "what": "/srv/in/a"}]
    assert found["overlay"]["digest"] == "sha256:12"


def test_explain_an_agent_that_will_be_refused(run: Run, serve: Serve) -> None:
    looser = {"sandbox": {"read": ["/srv"]}, "digest": "sha256:12", "problem": "allows more"}
    serve({f"{CONTROL}.GetPlan": plan_of(read=["/srv/in"]), OVERLAY: looser})
    said = run("sandbox", "explain", "notes").out
    assert "  with which it is refused at its next start: allows more\n" in said
    assert "\n  /srv/in\n" in said


def test_explain_without_the_audit_service(run: Run, serve: Serve) -> None:
    gone = VarlinkError(f"{CONTROL}.Unavailable", {"interface": "org.ainos.Audit", "reason": "x"})
    serve({f"{CONTROL}.GetPlan": plan_of(read=["/srv/in"]), OVERLAY: gone})
    result = run("sandbox", "explain", "notes")
    assert result.code == 0
    assert "not known" in result.err
    assert "\n  /srv/in\n" in result.out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("log", "ainitctl: log is a service: only agents are in a sandbox\n"),
        ("x", "ainitctl: there is no unit x, and no file; `ainitctl status` lists units\n"),
    ],
)
def test_what_is_no_agent(run: Run, serve: Serve, name: str, message: str) -> None:
    serve({f"{CONTROL}.GetPlan": plan_of()})
    result = run("sandbox", "explain", name)
    assert (result.code, result.out, result.err) == (1, "", message)


def test_a_plan_that_is_none(run: Run, serve: Serve) -> None:
    serve({f"{CONTROL}.GetPlan": {**plan_of(), "plan": {"schema": 99}}})
    result = run("sandbox", "explain", "notes")
    assert (result.code, result.out) == (3, "")
    assert "plan in the answer is no plan: plan of unknown schema 99" in result.err


def test_a_manifest_that_is_wrong(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path, "notes", 'read = ["srv"]\nnetwork = "all"\n')
    result = run("sandbox", "explain", folder)
    assert (result.code, result.out) == (1, "")
    assert [line.split(" ")[0] for line in result.err.splitlines()] == [
        f"{folder}/manifest.toml:5:",
        f"{folder}/manifest.toml:6:",
    ]


@pytest.mark.parametrize("path", ["./missing", "there/is/none"])
def test_a_path_that_is_not_there(run: Run, path: str) -> None:
    result = run("sandbox", "explain", path)
    assert result.code == 1
    assert "cannot be read" in result.err


def test_a_packed_bundle_is_opened_first(run: Run) -> None:
    result = run("sandbox", "explain", "./notes.erofs")
    assert (result.code, result.out) == (1, "")
    assert "is a packed bundle; `mount -o ro,loop notes.erofs DIRECTORY`" in result.err


def calling() -> dict[str, object]:
    """What GetPlan answers of a machine with two agents, one of which may call the other."""
    notes, speech = Unit("notes", AGENT), Unit("speech", AGENT)
    notes.sandbox = {"network": ["agent:speech"]}
    speech.provides = ["org.ainos.agent.Speech", "org.example.Own"]
    plan = Plan([notes, speech, Unit("log", SERVICE)], {"hostname": "ainos"}).to_record()
    return {"plan": plan, "base": plan, "files": {}}


def test_the_machine_s_rules_as_policies(run: Run, serve: Serve) -> None:
    serve({f"{CONTROL}.GetPlan": calling()})
    result = run("sandbox", "cedar")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if line.startswith("@id")] == [
        '@id("PID 1")',
        '@id("notes: agent:speech")',
    ]
    assert '\n  resource == AINOS::Agent::"speech"\n' in result.out


@pytest.mark.parametrize("arguments", [("--entities",), ("--json",)], ids=str)
def test_their_entities(run: Run, serve: Serve, arguments: tuple[str, ...]) -> None:
    serve({f"{CONTROL}.GetPlan": calling()})
    result = run("sandbox", "cedar", *arguments)
    found = json.loads(result.out)
    if arguments == ("--json",):
        assert found["policies"].startswith('@id("PID 1")\n')
        found = found["entities"]
    named = {each["uid"]["id"]: [one["id"] for one in each["parents"]] for each in found}
    assert named["org.ainos.agent.Speech.Detect"] == ["org.ainos.agent.Speech"]
    assert named["org.ainos.Control.Status"] == ["org.ainos.Control"]
    assert (named["notes"], named["log"], named["org.example.Own"]) == ([], [], [])


def test_diff_of_two_directories(run: Run, tmp_path: Path) -> None:
    old = write(tmp_path, "old", 'read = ["/srv"]\nnetwork = ["a.org:1"]\n')
    new = write(tmp_path, "new", 'read = ["/srv/a", "/opt/x"]\nnetwork = ["a.org:1"]\n')
    result = run("sandbox", "diff", old, new)
    assert (result.code, result.err) == (1, "")
    assert result.out.splitlines() == [
        "  may read /srv/a",
        "+ may read /opt/x",
        "- no more: may read /srv",
    ]


def test_a_tighter_one_is_no_failure(run: Run, tmp_path: Path) -> None:
    old = write(tmp_path, "old", 'read = ["/srv"]\n')
    new = write(tmp_path, "new", "")
    assert run("sandbox", "diff", old, new).code == 0
    result = run("sandbox", "diff", old, new, "--json")
    assert (result.code, json.loads(result.out)) == (
        0,
        {
            "looser": False,
            "changes": [{"looser": False, "text": "no more: may read /srv"}],
        },
    )


def test_the_machine_against_a_manifest(run: Run, serve: Serve, tmp_path: Path) -> None:
    serve({f"{CONTROL}.GetPlan": plan_of(write=["/srv"])})
    result = run("sandbox", "diff", "notes", write(tmp_path, "notes", 'write = ["/srv"]\n'))
    assert (result.code, result.out) == (0, "the same\n")


def test_control_characters_are_visible(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path, "notes", 'read = ["/srv/\\u001b[2J"]\n')
    assert "\x1b" not in run("sandbox", "explain", folder).out
