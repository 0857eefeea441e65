"""Pages made of a control server's answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ainit.errors import AinosError, DeadlineError, UnavailableError
from ainit.metrics.source import Source
from ainit.wire.protocol import VarlinkError
from tests.support.accounts import account, in_pages
from tests.support.control import Answer, ControlServer
from tests.support.exposition import labels, parse
from tests.support.replies import STATUS

ACCOUNTS: Answer = in_pages([account(f"u{number:03}") for number in range(150)])


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ainos-") as folder:
        yield Path(folder, "control")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.monotonic`` says, in its last item."""
    now = [1000.0]
    monkeypatch.setattr("ainit.metrics.source.time.monotonic", lambda: now[-1])
    return now


def answers(accounts: Answer = ACCOUNTS) -> dict[str, Answer]:
    return {
        "org.ainos.Control.Status": STATUS,
        "org.ainos.Control.Accounting": accounts,
        "org.ainos.Gpu.Readings": {"emulated": False, "gpus": []},
    }


def test_a_page_holds_every_unit(path: Path) -> None:
    with ControlServer(path, answers()):
        page = parse(Source(str(path)).page().decode())
    assert len(page["ainos_unit_pids"].samples) == 150
    assert page["ainos_unit_state"].samples[labels(unit="speech", state="refused")] == 1


def test_a_page_is_kept_for_a_second(path: Path, clock: list[float]) -> None:
    with ControlServer(path, answers()) as server:
        source = Source(str(path))
        first = source.page()
        calls = len(server.calls)
        clock.append(1000.9)
        assert source.page() is first
        assert len(server.calls) == calls
        clock.append(1001.0)
        source.page()
        assert len(server.calls) == 2 * calls


def test_that_nobody_answers_is_kept_for_a_second_too(path: Path, clock: list[float]) -> None:
    source = Source(str(path))
    with pytest.raises(UnavailableError):
        source.page()
    with ControlServer(path, answers()):
        with pytest.raises(UnavailableError):
            source.page()
        clock.append(1001.0)
        assert source.page()


def test_late_answers_are_an_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()  # and nobody accepts
        with pytest.raises(DeadlineError):
            Source(str(path), deadline_s=0.01).page()


def test_a_malformed_answer_is_an_error(path: Path) -> None:
    server = ControlServer(path, answers({"units": 1}))
    with server:
        with pytest.raises(AinosError):
            Source(str(path)).page()
        server.problems.clear()


PART = {
    "instance": 1, "uuid": "MIG-aa", "agent": "speech", "profile": "1g.10gb",
    "memory_used_mib": 512, "memory_mib": 9984, "processes": 2,
}  # fmt: skip
READING = {
    "index": 0, "uuid": "GPU-aa", "name": "H100", "bus": "00000000:01:00.0", "state": "ready",
    "cordoned": False, "stale": False, "age_s": 2.0, "problem": "", "temperature_c": 66,
    "power_w": 412.5, "power_limit_w": 700.0, "clock_sm_mhz": 1980, "clock_memory_mhz": 2619,
    "throttle": ["power-cap"], "utilisation": None, "memory_used_mib": 1024,
    "memory_mib": 81920, "pcie_replays": 7, "persistence": True, "uncorrected": 0, "corrected": 3,
    "remapped": 0, "xids": 0, "parts": [PART],
}  # fmt: skip


def test_a_page_tells_of_gpus(path: Path) -> None:
    gpus: Answer = {"emulated": True, "gpus": [READING]}
    with ControlServer(path, {**answers(), "org.ainos.Gpu.Readings": gpus}):
        page = parse(Source(str(path)).page().decode())
    mine = labels(gpu="0", uuid="GPU-aa", emulated="true")
    assert page["ainos_gpu_temperature_celsius"].samples == {mine: 66}
    assert "ainos_unit_pids" in page


def test_a_gpu_service_that_is_away_costs_the_page_nothing_else(path: Path) -> None:
    refused = VarlinkError("org.varlink.service.InterfaceNotFound", {"interface": "org.ainos.Gpu"})
    with ControlServer(path, {**answers(), "org.ainos.Gpu.Readings": refused}):
        page = parse(Source(str(path)).page().decode())
    assert "ainos_unit_pids" in page
    assert not any(name.startswith("ainos_gpu") for name in page)


def test_a_gpu_service_that_never_answers_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ainit.metrics.source.GPU_SECONDS", 0.05)
    go_on = threading.Event()

    def never(_: object) -> dict[str, object]:
        go_on.wait(60)
        return {"emulated": True, "gpus": []}

    with ControlServer(path, {**answers(), "org.ainos.Gpu.Readings": never}):
        page = parse(Source(str(path)).page().decode())
        go_on.set()
    assert "ainos_unit_pids" in page
