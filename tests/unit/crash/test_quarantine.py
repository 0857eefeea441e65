"""What is read of a unit that stands still, and what is left out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.crash import quarantine
from ainit.crash.held import Held
from ainit.crash.quarantine import Evidence, collect, of_group, of_processes

PIECE = "speech-20261130T202603Z"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """A directory as a control group's, with two processes in it and one below."""
    made = tmp_path / "group"
    (made / "below").mkdir(parents=True)
    kept = [subprocess.Popen(["sleep", "1000"]) for _ in range(3)]
    pids = [str(each.pid) for each in kept]
    (made / "cgroup.procs").write_text("\n".join(pids[:2]))
    (made / "below/cgroup.procs").write_text(pids[2])
    (made / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    yield made
    for each in kept:
        each.kill()
        each.wait()


def test_each_process_is_there_with_what_it_has(group: Path) -> None:
    evidence = Evidence()
    of_processes(evidence, str(group))
    pids = [*(group / "cgroup.procs").read_text().split()]
    pids += (group / "below/cgroup.procs").read_text().split()
    assert {f"process-{pid}.txt" for pid in pids} < set(evidence.contents)
    text = evidence.contents[f"process-{pids[0]}.txt"].decode()
    assert "== cmdline\nsleep 1000\n" in text
    assert "== status\nName:\tsleep\n" in text
    assert "== descriptors\n0 " in text
    assert f"net {os.readlink('/proc/self/ns/net')}" in text
    assert "environ" not in text
    networks = [name for name in evidence.contents if name.startswith("network-")]
    assert len(networks) == 1  # they share one
    assert not evidence.incomplete


def test_a_process_makes_no_parts_of_its_own(tmp_path: Path) -> None:
    forged = "x\n== status\nName:\tgood"
    (tmp_path / forged).mkdir()
    with (tmp_path / forged / forged).open("w") as file:
        argv = ["/bin/sh", "-c", "read -r line", forged]
        process = subprocess.Popen(argv, cwd=tmp_path / forged, stdin=subprocess.PIPE, stdout=file)
        try:
            (tmp_path / "cgroup.procs").write_text(str(process.pid))
            evidence = Evidence()
            of_processes(evidence, str(tmp_path))
        finally:
            process.communicate()
    text = evidence.contents[f"process-{process.pid}.txt"].decode()
    assert text.count("\n== status\n") == 1
    assert text.count("x\\x0a== status\\x0aName:") == 4  # argument, cwd, and an open file in it


def test_the_group_is_there(group: Path) -> None:
    evidence = Evidence()
    of_group(evidence, str(group))
    assert b"== cgroup.events\npopulated 1\nfrozen 1\n" in evidence.contents["group.txt"]
    of_group(evidence, str(group / "never-made"))


def test_a_process_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("4194305")
    evidence = Evidence()
    of_processes(evidence, str(tmp_path))
    assert b"== status\nNo such file or directory\n" in evidence.contents["process-4194305.txt"]


@pytest.mark.parametrize(
    ("bound", "value"), [("PROCESSES", 1), ("PART_BYTES", 64), ("ALL_BYTES", 256)]
)
def test_what_is_too_much_is_left_out_and_said_so(
    group: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(quarantine, bound, value)
    evidence = Evidence()
    evidence._room = quarantine.ALL_BYTES
    of_processes(evidence, str(group))
    assert evidence.incomplete
    assert sum(map(len, evidence.contents.values())) <= quarantine.ALL_BYTES


def test_without_pid_1_s_answer_the_rest_is_kept(group: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    collect(str(tmp_path / "no-socket"), str(group), str(kept), "speech", PIECE)
    (piece,) = Held(str(kept)).pieces()
    assert (piece.id, piece.incomplete) == (PIECE, True)
    assert "what PID 1 knows is missing" in (kept / PIECE / "problem.txt").read_text()
    assert (kept / PIECE).stat().st_mode & 0o777 == 0o700
    assert (kept / PIECE / "group.txt").exists()


def test_what_cannot_be_kept_is_an_error(group: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        collect("no-socket", str(group), str(tmp_path / "file/kept"), "speech", PIECE)
