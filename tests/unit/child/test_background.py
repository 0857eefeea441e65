"""A daemon that leaves its starter is still supervised: its end, its status, its SIGTERM."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
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
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with open(folder + "/ready.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(folder + "/ready.new", folder + "/ready")
signal.sigwait([signal.SIGTERM])
os._exit(status)
"""
# One whose parent stays as long as nobody tells it to go.
SLOW = DAEMON.replace("    os._exit(0)\n", "    signal.pause()\n")


def _start(*arguments: str, environment: Mapping[str, str] = os.environ) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ainit.child.background", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(environment)
    )


def test_it_is_ready_when_the_daemon_is_in_the_background(daemon: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [sys.executable, str(daemon), str(tmp_path), "0"]
        process = _start(*command, environment=environment)
        try:
            assert supervisor.recv(100) == b"READY=1"
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_one_that_cannot_start_is_never_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.setblocking(False)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        process = _start("/bin/false", environment=environment)
        process.communicate(timeout=60)
        assert process.returncode == 1
        with pytest.raises(BlockingIOError):
            supervisor.recv(100)


def _kill(process: subprocess.Popen[str]) -> None:
    """End it, whatever still holds the other end of its output."""
    process.kill()
    process.wait(30)
    if process.stdout:
        process.stdout.close()


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
        _kill(process)


def test_sigterm_reaches_a_daemon_whose_parent_had_not_left_yet(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    process = _start(sys.executable, str(program), str(tmp_path), "7")
    try:
        wait_for((tmp_path / "ready").exists, "the daemon")
        process.terminate()
        assert process.wait(30) == 7
    finally:
        _kill(process)


def test_the_death_of_the_daemon_is_the_end(daemon: Path, tmp_path: Path) -> None:
    process = _start(sys.executable, str(daemon), str(tmp_path), "0")
    try:
        wait_for((tmp_path / "ready").exists, "the daemon")
        subprocess.run(["kill", "-KILL", (tmp_path / "ready").read_text()], check=True)
        assert process.wait(30) == 128 + 9
    finally:
        _kill(process)


def test_without_what_it_is_for_there_is_nothing_to_do(tmp_path: Path) -> None:
    process = _start("--if", "/", "--if", str(tmp_path / "none"), "/bin/false")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == f"nothing to do: there is no {tmp_path / 'none'}\n"
