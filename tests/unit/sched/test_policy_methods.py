"""Why something was decided, and another policy while the service runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.child.server import VarlinkError
from ainit.errors import UnavailableError
from ainit.linux import pci
from ainit.sched import decide
from ainit.sched.__main__ import watch
from ainit.sched.decide import Decider, Scorer
from ainit.sched.errors import PolicyError
from ainit.sched.onnx import Policy
from ainit.sched.service import Scheduler
from tests.unit.sched.policies import path_of
from tests.unit.sched.test_rounds import Hall


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


class Store:
    """PID 1 and the store behind it: hands over what a test says, in order."""

    def __init__(self, *found: str | Exception) -> None:
        self.found = list(found)
        self.asked: list[str] = []

    def hand(self, model: str) -> str:
        self.asked.append(f"hand {model}")
        answer = self.found.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def load(self, path: str) -> tuple[Scorer, float]:
        self.asked.append(f"load {path}")
        return Policy.load(path, 30.0, 0.05 if path == path_of("late") else 30.0), 1.5


def serving(scheduler: Scheduler, store: Store) -> None:
    scheduler.policies._hand, scheduler.policies._load = store.hand, store.load


def test_a_policy_is_measured_then_loaded_then_decides(hall: Hall) -> None:
    store = Store(path_of())
    serving(hall.scheduler, store)
    reply = hall.call("Reload")
    assert store.asked == ["hand placement", f"load {path_of()}"]
    assert (reply["policy"]["state"], reply["policy"]["deadline_ms"]) == ("active", 1.5)
    hall.ask("a.job", "2g.20gb")
    (decision,) = hall.call("Explain", name="a.job")["decisions"]
    assert decision["decided_by"] == "policy"
    assert decision["alternative"].startswith("start a.job 2g.20gb at 0:")
    assert decision["alternative_score"] <= decision["score"]
    assert set(decision["features"]) > {"duration", "strands"}


@pytest.mark.parametrize(
    "trouble",
    [
        UnavailableError("nobody there"),
        VarlinkError("org.ainos.Control.Refused", {"reason": "altered"}),
        path_of("late"),
        "/nonexistent",
    ],
    ids=["nobody", "refused", "late", "missing"],
)
def test_one_that_does_not_load_changes_nothing(hall: Hall, trouble: str | Exception) -> None:
    store = Store(path_of(), trouble)
    serving(hall.scheduler, store)
    hall.call("Reload")
    with pytest.raises(VarlinkError, match=r"Failed.*the policy in force stays"):
        hall.call("Reload")
    assert hall.call("Explain")["policy"]["state"] == "active"
    hall.ask("a.job", "2g.20gb")
    assert hall.call("Explain")["decisions"][0]["decided_by"] == "policy"


def test_decisions_of_one_unit_or_of_all(hall: Hall) -> None:
    hall.ask("a.job", "1g.10gb")
    hall.ask("b.job", "1g.10gb")
    assert len(hall.call("Explain")["decisions"]) == 2
    assert [each["agent"] for each in hall.call("Explain", name="b.job")["decisions"]] == ["b.job"]
    assert hall.call("Explain", name="c.job")["decisions"] == []
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        hall.scheduler.policies.explain({"name": 3})


def test_every_decision_is_a_line_of_the_log(hall: Hall) -> None:
    lines: list[str] = []
    hall.scheduler._log = lines.append
    hall.ask("a.job", "1g.10gb")
    (line,) = lines
    said = json.loads(line)
    assert (said["agent"], said["decided_by"], said["outcome"]) == (
        "a.job", "heuristic", "allocated",
    )  # fmt: skip
    assert said["features"]


def test_a_shadow_is_told_of(hall: Hall) -> None:
    hall.scheduler.policies._decider.shadow = decide.Shadow(Policy.load(path_of(), deadline=30.0))
    hall.ask("a.job", "2g.20gb")
    shadow = hall.call("Status")["policy"]["shadow"]
    assert (shadow["asked"], shadow["failed"]) == (1, 0)
    assert hall.call("Explain")["decisions"][0]["shadow"]


def test_a_shadow_that_does_not_load_is_said_and_no_harm(tmp_path: Path) -> None:
    decider = Decider(None, decide.MISSING, "none")
    assert watch(decider, None) == ""
    assert watch(decider, str(tmp_path / "nothing")).startswith(
        "refused: the policy cannot be read"
    )
    assert decider.shadow is None
    assert watch(decider, path_of()) == "watches"
    assert decider.shadow is not None


def test_what_is_near_a_gpu_is_said(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"numa_node": "1\n", "local_cpulist": "16-31\n"}
    monkeypatch.setattr(
        pci, "attribute", lambda device, name: files[name] if device == "0000:a0:00.0" else None
    )
    granted = hall.ask("a.job", "2g.20gb").values
    assert granted["numa"] == {"node": 1, "cpus": "16-31", "memory_nodes": "1"}


def test_a_gpu_that_nothing_is_near_is_no_error(hall: Hall) -> None:
    assert hall.ask("a.job", "2g.20gb").values["numa"] is None


def test_a_policy_error_is_the_reason() -> None:
    from ainit.sched.policy_methods import load

    with pytest.raises(PolicyError, match="cannot be read"):
        load("/nonexistent")
