"""The crash service as PID 1 starts and ends it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ainit.child.client import VarlinkError
from ainit.crash.held import Held
from ainit.crash.record import Crash
from tests.support.service import Service
from tests.support.wait import wait_for

MARK = {"boot_id": "11111111-0000", "time": 1700000000.0, "kernel": "6.12.1-ainos"}


def start(folder: Path, state: Path | None = None) -> Service:
    before = (
        "import ainit.constants as constants\n"
        f"constants.STATE = {str(state or folder / 'state')!r}\n"
        f"constants.QUARANTINE = {str(folder / 'state/quarantine')!r}\n"
        "import os\n"
        f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    )
    return Service("ainit.crash", folder, before=before)


def mark(folder: Path) -> Path:
    path = folder / "state/crash/running"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_an_unclean_end_is_listed_and_shown(tmp_path: Path) -> None:
    mark(tmp_path).write_text(json.dumps(MARK))
    with start(tmp_path) as service:
        answer: Any = service.call("org.ainos.Crash.List")
        (crash,) = answer["crashes"]
        shown: Any = service.call("org.ainos.Crash.Show", id=crash["id"])
    assert answer["problem"] == ""
    assert (crash["kind"], crash["cause"]) == ("unclean", "ended without shutdown")
    assert shown["crash"] == crash
    assert json.loads(mark(tmp_path).read_text())["boot_id"] != MARK["boot_id"]


def test_what_was_kept_of_a_unit_in_quarantine(tmp_path: Path) -> None:
    piece = Crash("speech-20261130T202603Z", "quarantine", 1.8e9, "8f", "6.12", "speech: odd")
    Held(str(tmp_path / "state/quarantine")).add(piece, {"log.txt": b"last", "group.txt": b"x"}, ())
    with start(tmp_path) as service:
        listed: Any = service.call("org.ainos.Crash.List")
        shown: Any = service.call("org.ainos.Crash.Show", id=piece.id)
        text = service.call("org.ainos.Crash.File", id=piece.id, file="group.txt")
        for file in ("../record.json", "none", ""):
            with pytest.raises(VarlinkError, match="NoSuchCrash"):
                service.call("org.ainos.Crash.File", id=piece.id, file=file)
        for name in ("..", ".", "", "speech"):
            with pytest.raises(VarlinkError, match="NoSuchCrash"):
                service.call("org.ainos.Crash.File", id=name, file="log.txt")
    assert listed["crashes"] == [shown["crash"]] == [piece.to_record()]
    assert (shown["log"], shown["files"]) == ("last", ["group.txt", "log.txt", "record.json"])
    assert text == {"text": "x"}


def test_its_orderly_stop_takes_the_mark_away(tmp_path: Path) -> None:
    with start(tmp_path):
        assert mark(tmp_path).exists()
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        wait_for(lambda: not mark(tmp_path).exists(), "the mark to go")


def test_a_kill_leaves_the_mark(tmp_path: Path) -> None:
    with start(tmp_path):
        pass
    assert mark(tmp_path).exists()


def test_without_a_state_partition_it_is_ready_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with start(tmp_path, tmp_path / "file") as service:
        answer: Any = service.call("org.ainos.Crash.List")
    assert answer["problem"] == "Not a directory"


@pytest.mark.parametrize("name", ["20231114T221320Z-8f2a1c3e", "..", "", "/etc/passwd"])
def test_a_crash_that_is_not_there(tmp_path: Path, name: str) -> None:
    with start(tmp_path) as service, pytest.raises(VarlinkError, match="NoSuchCrash"):
        service.call("org.ainos.Crash.Show", id=name)
