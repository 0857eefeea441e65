"""``ainitctl run``, ``queue`` and ``job``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit.child.server import VarlinkError
from ainit.cli import run as module
from ainit.wire.protocol import Message

from .conftest import Run, Serve

RUN, JOBS, CANCEL = module.RUN, module.JOBS, module.CANCEL
JOB = {
    "name": "3.job", "command": ["/usr/bin/train", "-v"], "owner": "kim", "profiles": ["2g.20gb"],
    "priority": 0, "estimate_s": None, "deadline": None, "state": "allocating",
    "reason": "in the queue: 2 of 5", "over": False, "submitted": 10.0, "started": None,
    "ended": None, "exit_status": None, "gpu": None, "profile": None,
}  # fmt: skip
RUNS = {**JOB, "state": "ready", "reason": "", "started": 12.0, "gpu": 0, "profile": "2g.20gb"}
ENDED = {**JOB, "state": "failed", "reason": "exited with status 7", "over": True, "ended": 20.0}
LINE = {"unit": "3.job", "time": 13.0, "text": "at work", "priority": 6, "source": "unit",
        "fields": None}  # fmt: skip
COMMAND = ("run", "--gpu", "2g.20gb", "--", "/usr/bin/train", "-v")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)


class Job:
    """A job whose states come one after the other, and one line that it writes."""

    def __init__(self, *states: Mapping[str, object]) -> None:
        self.states = list(states)

    def jobs(self, _asked: Message) -> Mapping[str, object]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"jobs": [state]}

    def logs(self, asked: Message) -> Mapping[str, object]:
        cursors = asked["cursors"]
        assert isinstance(cursors, dict)
        new = cursors["3.job"] == 0
        ours = {**LINE, "source": "ainit", "text": "starting"}
        lines = [ours, LINE] if new else []
        return {"lines": lines, "dropped": 0, "cursors": {"3.job": 50}, "missed": {}}

    def answers(self) -> dict[str, object]:
        return {RUN: {"name": "3.job"}, JOBS: self.jobs, module.LOGS: self.logs, CANCEL: {}}


def followed(serve: Serve, *states: Mapping[str, object]) -> list[tuple[str, Message]]:
    return serve(Job(*states).answers()).calls  # type: ignore[arg-type]


def test_a_job_is_followed_to_its_end_and_its_status_is_ours(run: Run, serve: Serve) -> None:
    calls = followed(serve, JOB, JOB, RUNS, {**ENDED, "exit_status": 7})
    result = run(*COMMAND)
    assert (result.code, result.out) == (7, "at work\n")
    assert result.err.count("in the queue: 2 of 5") == 1
    assert calls[0] == (
        RUN,
        {"command": ["/usr/bin/train", "-v"], "profiles": ["2g.20gb"]},
    )


def test_everything_that_is_asked_for_arrives(run: Run, serve: Serve) -> None:
    calls = followed(serve, {**ENDED, "exit_status": 0})
    options = "--gpu 2g.20gb=0.5,3g.40gb --priority 5 --deadline 2h --estimate 30m --name big"
    more = "--owner kim --cpus 2.5 --memory 8G --model base --extension cuda --env SEED=a=b"
    assert run("run", *options.split(), *more.split(), "/usr/bin/train", "--fast").code == 0
    assert calls[0][1] == {
        "command": ["/usr/bin/train", "--fast"],
        "profiles": ["2g.20gb", "3g.40gb"],
        "speeds": {"2g.20gb": 0.5},
        "priority": 5,
        "deadline_s": 7200.0,
        "estimate_s": 1800.0,
        "name": "big",
        "owner": "kim",
        "cpus": 2.5,
        "memory_bytes": 8 << 30,
        "models": ["base"],
        "extensions": ["cuda"],
        "environment": {"SEED": "a=b"},
    }


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("[sandbox]\n", {}),
        ('[sandbox]\nread = ["/srv/images"]\nnetwork = "loopback"\n',
         {"read": ["/srv/images"], "network": "loopback"}),
    ],
)  # fmt: skip
def test_what_it_may_is_read_from_a_file(
    run: Run, serve: Serve, tmp_path: Path, text: str, record: dict[str, object]
) -> None:
    (tmp_path / "tight.toml").write_text(text)
    calls = followed(serve, ENDED)
    run(
        "run", "--gpu", "2g.20gb", "--sandbox", str(tmp_path / "tight.toml"), "--", "/usr/bin/train"
    )
    assert calls[0][1]["sandbox"] == record


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1: the table [sandbox] is missing"),
        ("sandbox = 3\n", "1: sandbox is a table"),
        ("[sandbox]\n[agent]\n", "2: unknown table [agent]"),
        ("[sandbox]\nreads = []\n", "2: unknown key reads"),
        ('[sandbox]\nread = ["/usr/lib/x"]\n', "2: read has /usr/lib/x: every agent may read it"),
        ('[sandbox]\nnetwork = ["agent:x"]\n', 'a job\'s network is "none" or "loopback"'),
        ('[sandbox]\nread = ["/var/lib/ainos/quarantine"]\n', "that is the machine's"),
    ],
)
def test_what_is_wrong_in_that_file_is_said_by_line(
    run: Run, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "tight.toml").write_text(text)
    path = str(tmp_path / "tight.toml")
    result = run("run", "--gpu", "2g.20gb", "--sandbox", path, "--", "/usr/bin/train")
    assert result.code == 1
    assert words in result.err


def test_one_that_a_signal_ended(run: Run, serve: Serve) -> None:
    followed(serve, {**ENDED, "exit_status": -9})
    result = run(*COMMAND)
    assert result.code == 137
    assert "3.job was ended by signal 9" in result.err


def test_one_that_was_refused_did_not_run(run: Run, serve: Serve) -> None:
    followed(serve, {**ENDED, "state": "refused", "reason": "must be measured"})
    result = run(*COMMAND)
    assert result.code == 1
    assert "3.job did not run: must be measured" in result.err


def test_one_that_is_not_followed(run: Run, serve: Serve) -> None:
    calls = followed(serve, JOB)
    result = run("run", "-d", "--gpu", "2g.20gb", "/usr/bin/train")
    assert (result.code, result.out) == (0, "3.job\n")
    assert [method for method, _ in calls] == [RUN]


def test_interrupting_cancels(run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = followed(serve, RUNS, RUNS, {**ENDED, "exit_status": -15})
    pauses = iter([KeyboardInterrupt])

    def interrupted(_seconds: float) -> None:
        if (error := next(pauses, None)) is not None:
            raise error

    monkeypatch.setattr("ainit.cli.run.time.sleep", interrupted)
    result = run(*COMMAND)
    assert result.code == 143
    assert "cancels 3.job" in result.err
    assert (CANCEL, {"name": "3.job"}) in calls


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--gpu", "", "is profiles such as"),
        ("--gpu", "1g.10gb=fast", "is no speed"),
        ("--deadline", "soon", "is no duration"),
        ("--memory", "much", "is no size"),
        ("--env", "SEED", "is not NAME=VALUE"),
        ("--priority", "1000", "is not in the range"),
    ],
)
def test_a_command_line_that_is_wrong(run: Run, option: str, value: str, message: str) -> None:
    rest = () if option == "--gpu" else ("--gpu", "1g.10gb")
    result = run("run", option, value, *rest, "/usr/bin/true")
    assert result.code == 2
    assert message in result.err


def test_what_the_machine_refuses_is_said(run: Run, serve: Serve) -> None:
    serve({RUN: VarlinkError("org.ainos.Control.Refused", {"reason": "x is no program"})})
    result = run(*COMMAND)
    assert result.code == 1
    assert "refused: x is no program" in result.err


def test_the_queue(run: Run, serve: Serve) -> None:
    waiting = {
        "name": "3.job", "kind": "job", "owner": "kim", "profiles": ["2g.20gb", "3g.40gb"],
        "position": 1, "priority": 0, "waited_s": 130.0, "estimate_s": None, "deadline": None,
        "share": 0.5, "rank": 10.2, "reason": "1 of 1, no GPU has room",
    }  # fmt: skip
    serve({"org.ainos.Gpu.Queue": {"waiting": [waiting], "moves": ["web"]}})
    out = run("queue").out
    assert "2g.20gb 3g.40gb" in out
    assert "2min 10s" in out
    assert "1 of 1, no GPU has room" in out
    assert "web was asked to stop" in out
    assert json.loads(run("queue", "--json").out)["moves"] == ["web"]


def test_jobs(run: Run, serve: Serve) -> None:
    serve({JOBS: {"jobs": [RUNS, {**ENDED, "exit_status": 7}]}})
    out = run("job", "list").out
    assert "2g.20gb of GPU 0" in out
    assert "/usr/bin/train -v" in out
    assert len(json.loads(run("job", "list", "--json").out)["jobs"]) == 2


def test_cancel(run: Run, serve: Serve) -> None:
    server = serve({CANCEL: {}})
    assert run("job", "cancel", "3", "big.job").code == 0
    assert server.calls == [(CANCEL, {"name": "3.job"}), (CANCEL, {"name": "big.job"})]


def test_following_one_that_is_there(run: Run, serve: Serve) -> None:
    followed(serve, RUNS, {**ENDED, "exit_status": 3})
    result = run("job", "follow", "3")
    assert (result.code, result.out) == (3, "at work\n")
