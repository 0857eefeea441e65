"""``ainitctl reset``: only whoever says the machine's name, and then it restarts."""

from __future__ import annotations

import io
import json

import pytest

from ainit.wire.protocol import Message, VarlinkError
from tests.support.replies import STATUS

from .conftest import Run, Serve

CONTROL = "org.ainos.Control"


class Machine:
    """What it was asked, in order."""

    def __init__(self, serve: Serve, *, refuses: bool = False) -> None:
        self.asked: list[object] = []
        self.refuses = refuses
        reset, reboot = self.reset, self.reboot
        names = (f"{CONTROL}.{name}" for name in ("Status", "Reset", "Reboot"))
        serve(dict(zip(names, (STATUS, reset, reboot), strict=True)))

    def reset(self, parameters: Message) -> dict[str, object]:
        if self.refuses:
            raise VarlinkError(f"{CONTROL}.Refused", {"reason": "nothing can be kept"})
        self.asked.append(parameters)
        return {"note": "the next boot resets the state"}

    def reboot(self, _: Message) -> dict[str, object]:
        self.asked.append("reboot")
        return {}


def test_it_is_asked_for_and_restarts(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(serve)
    monkeypatch.setattr("sys.stdin", io.StringIO("node1\n"))
    result = run("reset")
    assert result.code == 0
    assert "Everything on node1 is lost" in result.err
    assert result.out.endswith("the next boot resets the state\n")
    assert machine.asked == [{"name": "node1", "keep": []}, "reboot"]


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        ([], []),
        (["--keep-models"], ["models"]),
        (["--keep-config", "--keep-models"], ["models", "config"]),
    ],
)
def test_the_name_said_beforehand_and_what_stays(
    run: Run, serve: Serve, options: list[str], keep: list[str]
) -> None:
    machine = Machine(serve)
    result = run("reset", "--yes", "node1", *options, "--json")
    assert json.loads(result.out) == {"note": "the next boot resets the state"}
    assert machine.asked == [{"name": "node1", "keep": keep}, "reboot"]


@pytest.mark.parametrize("name", ["", "y", "node2"])
def test_another_name_resets_nothing(run: Run, serve: Serve, name: str) -> None:
    machine = Machine(serve)
    result = run("reset", "--yes", name)
    assert result.code == 1
    assert "is not the name of this machine, 'node1'" in result.err
    assert machine.asked == []


def test_a_machine_that_refuses_is_not_restarted(run: Run, serve: Serve) -> None:
    machine = Machine(serve, refuses=True)
    result = run("reset", "--yes", "node1")
    assert (result.code, machine.asked) == (1, [])
    assert "nothing can be kept" in result.err
