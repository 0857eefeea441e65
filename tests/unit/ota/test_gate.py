"""Whether a release is as healthy as the one before, for long enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ainit.ota import gate, history
from ainit.ota.gate import Answers, Gate, problems, restarts
from ainit.ota.history import State
from ainit.policy.update import REQUIRED
from tests.support.update_world import status, unit

NETWORK = {"interfaces": [{"name": "eth0", "state": "ready", "addresses": ["10.0.0.2/24"]}]}
GPUS = {"expected": None, "found": 2, "gpus": [{"index": 0, "state": "ready"}]}
WELL = Answers(status(unit("speech"), unit("off", "failed")), GPUS, NETWORK)
BEFORE = gate.before(WELL, State(history.PENDING, "2", "1"))


def test_what_was_there_before() -> None:
    assert (BEFORE.agents, BEFORE.interfaces, BEFORE.gpus) == (("speech",), ("eth0",), 2)
    assert problems(WELL, BEFORE, REQUIRED) == []


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (replace(WELL, status=status(unit("speech", "backoff", reason="x"))),
         "speech is backoff: x"),
        (replace(WELL, status=status(unit("speech"), findings=["store is down"])),
         "store is down"),
        (replace(WELL, status=status(unit("speech"), health="starting")),
         "the machine is starting"),
        (replace(WELL, status={}), "PID 1 does not answer"),
        (replace(WELL, gpus={**GPUS, "found": 1}), "1 of 2 GPUs are there"),
        (replace(WELL, gpus={**GPUS, "expected": 4}), "2 of 4 GPUs are there"),
        (replace(WELL, gpus={**GPUS, "gpus": [{"index": 1, "state": "lost"}]}), "GPU 1 is lost"),
        (replace(WELL, gpus="gpu is failed"), "the GPU service does not answer: gpu is failed"),
        (replace(WELL, network={"interfaces": []}), "eth0 has no address"),
        (replace(WELL, network="gone"), "the network service does not answer: gone"),
        (replace(WELL, evidence="no TPM"), "no evidence for a verifier: no TPM"),
        (replace(WELL, verdict="PCR 11"), "a verifier refused it: PCR 11"),
    ],
)  # fmt: skip
def test_what_speaks_against_it(answers: Answers, expected: str) -> None:
    assert problems(answers, BEFORE, REQUIRED) == [expected]


def test_what_is_not_required_is_not_looked_at() -> None:
    answers = Answers(status(unit("speech", "failed")), "down", "down", "none", "refused")
    assert problems(answers, BEFORE, ()) == []


def test_what_was_wrong_before_does_not_count() -> None:
    poor = Answers(status(health="degraded", findings=["disk is slow"]), "none", "none")
    known = gate.before(poor, State(history.PENDING, "2", "1"))
    assert problems(poor, known, REQUIRED) == []
    assert problems(replace(poor, status=status(findings=["disk is gone"])), known, REQUIRED) == [
        "disk is gone"
    ]


def test_an_agent_that_the_new_release_does_not_have_is_not_missed() -> None:
    assert problems(replace(WELL, status=status()), BEFORE, REQUIRED) == []


def test_restarts_of_agents_and_essential_units_count() -> None:
    units = [
        unit("speech", restarts=1),
        unit("store", kind="service", essential=True, restarts=2),
        unit("log", kind="service", restarts=3),
    ]
    assert restarts(Answers(status(*units))) == {"speech": 1, "store": 2}


def test_a_break_begins_it_anew() -> None:
    judge = Gate(healthy_s=100, within_s=1000, began=0)
    assert [judge.look([], {}, now) for now in (0, 50, 99)] == [gate.WAITING] * 3
    assert judge.look(["x"], {}, 99.5) == gate.WAITING
    assert [judge.look([], {}, now) for now in (100, 199)] == [gate.WAITING] * 2
    assert judge.look([], {}, 200) == gate.PASSED


def test_a_restart_between_two_looks_is_a_break() -> None:
    judge = Gate(healthy_s=10, within_s=1000, began=0)
    assert judge.look([], {"speech": 4}, 0) == gate.WAITING
    assert judge.look([], {"speech": 5}, 10) == gate.WAITING
    assert judge.reason == "speech was restarted"
    assert judge.look([], {"speech": 5}, 15) == gate.WAITING
    assert judge.look([], {"speech": 5}, 25) == gate.PASSED


def test_it_takes_no_longer_than_it_may() -> None:
    judge = Gate(healthy_s=100, within_s=300, began=1000)
    assert judge.look(["a is down", "b is down"], {}, 1299) == gate.WAITING
    assert judge.look(["a is down", "b is down"], {}, 1300) == gate.FAILED
    assert judge.reason == "not healthy within 300 s: a is down; b is down"


def test_no_time_at_all_is_one_healthy_look() -> None:
    assert Gate(0, 10, 0).look([], {}, 5) == gate.PASSED
