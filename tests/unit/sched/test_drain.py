"""PID 1 as the one who stops and starts the holders of instances."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.child.client import Client
from ainit.errors import AinosError, UnavailableError
from ainit.sched.drain import Units
from ainit.wire.protocol import VarlinkError
from tests.support.control import Answer, ControlServer
from tests.support.replies import STATUS, UNIT

CONTROL = "org.ainos.Control"


def unit(
    name: str, *, desired: str, state: str, after: list[str], gpu: str | None = None
) -> dict[str, object]:
    held = {"profile": "1g.10gb", "uuid": gpu, "gpu": 0} if gpu else None
    fields = {"name": name, "desired": desired, "state": state, "after": after, "gpu": held}
    return {**UNIT, **fields}


@pytest.fixture
def server() -> Iterator[ControlServer]:
    units = [
        unit("speech", desired="up", state="ready", after=["gpu"], gpu="MIG-speech"),
        unit("voice", desired="up", state="ready", after=["speech"]),
        unit("phone", desired="up", state="ready", after=["voice"]),
        unit("tape", desired="down", state="inactive", after=["speech"], gpu="MIG-tape"),
        unit("other", desired="up", state="ready", after=["gpu"]),
        unit("resting", desired="down", state="stopping", after=[]),
    ]
    with tempfile.TemporaryDirectory(prefix="ainos-") as folder:
        answers: dict[str, Answer] = {
            f"{CONTROL}.Status": {**STATUS, "units": units},
            **{f"{CONTROL}.{each}": {} for each in ("Start", "Stop", "Revoke")},
        }
        with ControlServer(Path(folder, "control"), answers) as found:
            yield found


def units_at(server: ControlServer) -> Units:
    return Units(lambda: Client(str(server.path), 5.0))


def asked(server: ControlServer) -> list[tuple[str, object]]:
    return [
        (method.removeprefix(f"{CONTROL}."), parameters["name"])
        for method, parameters in server.calls
        if not method.endswith("Status")
    ]


def test_what_starts_after_an_agent_goes_down_with_it(server: ControlServer) -> None:
    assert units_at(server).affected(["speech"]) == ("speech", "voice", "phone")
    assert units_at(server).affected([]) == ()


def test_an_agent_that_is_no_unit_cannot_be_stopped(server: ControlServer) -> None:
    with pytest.raises(UnavailableError, match="no unit ghost to stop"):
        units_at(server).affected(["speech", "ghost"])


def test_each_agent_is_stopped(server: ControlServer) -> None:
    units_at(server).stop(["speech", "other"])
    assert asked(server) == [("Stop", "speech"), ("Stop", "other")]


def test_a_unit_on_its_way_down_still_runs(server: ControlServer) -> None:
    running = units_at(server).running(["speech", "tape", "resting", "ghost"])
    assert running == ("speech", "resting")


def test_only_what_is_down_is_started(server: ControlServer) -> None:
    units_at(server).start(["speech", "tape", "ghost"])
    assert asked(server) == [("Start", "tape")]


def test_from_what_is_up_the_instance_that_is_gone_is_taken(server: ControlServer) -> None:
    """A plain restart would keep it."""
    units_at(server).restart(["speech", "other", "tape", "ghost"])
    assert asked(server) == [("Revoke", "speech")]
    _, said = server.calls[-1]
    assert said["uuid"] == "MIG-speech"


def test_a_refusal_is_an_error_with_its_reason(server: ControlServer) -> None:
    server.answers[f"{CONTROL}.Stop"] = VarlinkError(f"{CONTROL}.Refused", {"reason": "no"})
    with pytest.raises(AinosError, match="Stop of speech was refused"):
        units_at(server).stop(["speech"])


def test_a_pid_1_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        Units(lambda: Client(str(tmp_path / "nobody"), 1.0)).running(["speech"])
