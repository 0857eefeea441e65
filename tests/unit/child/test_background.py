"""A daemon that leaves its starter is still supervised: its end, its status, its SIGTERM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[3]
# A program that goes into the background as daemons do: parent gone, child in a session of its own.
DAEMON = """
import os, signal, sys
folder, status = sys.argv[1], int(sys.argv[2])
if os.fork():
    os._exit(0)
os.setsid()
def stop(*_):
    os._exit(status)
signal.signal(signal.SIGTERM, stop)
with open(folder + "/ready.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(folder + "/ready.new", folder + "/ready")
signal.pause()
"""


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ainit.child.background", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    path = tmp_path / "daemon.py"
    path.write_text(DAEMON)
    return path


@pytest.mark.parametrize("status", [0, 7])
def test_sigterm_reaches_the_daemon_and_its_status_comes_back(
    daemon: Path, tmp_path: Path, status: int
) -> None:
    process = _start(sys.executable, str(daemon), str(tmp_path), str(status))
    try:
        wait_for((tmp_path / "ready").exists, "the daemon")
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == status
    finally:
        process.kill()
        process.communicate()


def test_the_death_of_the_daemon_is_the_end(daemon: Path, tmp_path: Path) -> None:
    process = _start(sys.executable, str(daemon), str(tmp_path), "0")
    try:
        wait_for((tmp_path / "ready").exists, "the daemon")
        subprocess.run(["kill", "-KILL", (tmp_path / "ready").read_text()], check=True)
        assert process.wait(30) == 128 + 9
    finally:
        process.kill()
        process.communicate()


def test_without_what_it_is_for_there_is_nothing_to_do(tmp_path: Path) -> None:
    process = _start("--if", "/", "--if", str(tmp_path / "none"), "/bin/false")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == f"nothing to do: there is no {tmp_path / 'none'}\n"
