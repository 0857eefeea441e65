from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_format
import pytest
from lib import policy as builder

from ainit.sched import candidates, decide
from ainit.sched import onnx as onnx_module
from ainit.sched.candidates import Question
from ainit.sched.errors import PolicyError, PolicyLateError
from ainit.sched.onnx import Policy
from ainit.sched.place import Device
from ainit.sched.state import single
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.policies import path_of
from tests.unit.sched.test_place import holding

H100 = "NVIDIA H100 80GB HBM3"
EMPTY = board("H100-80GB", 0)


def question(profile: str, *devices: Device) -> Question:
    return candidates.ask(single(profile, devices))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(path_of(), deadline=30.0)


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[Callable[[Any], None]], str]:
    """The shipped policy with one thing changed."""

    def alter(change: Callable[[Any], None]) -> str:
        model = onnx_format.load(path_of())
        change(model)
        path = tmp_path / "altered.onnx"
        path.write_bytes(model.SerializeToString())
        return str(path)

    return alter


def test_a_legal_candidate_is_chosen_and_scored(policy: Policy) -> None:
    asked = question("1g.10gb", holding(EMPTY, ("1g.10gb", 0), ("2g.20gb", 4)))
    answer = policy.propose(asked.rows, asked.legal, [H100])
    assert asked.legal[answer.choice]
    assert answer.score > builder.MASKED / 2


def test_the_mask_is_in_the_graph(policy: Policy) -> None:
    """Whichever single candidate is legal is chosen, whatever its score."""
    asked = question("1g.10gb", EMPTY)
    for only in range(len(asked.legal)):
        legal = [index == only for index in range(len(asked.legal))]
        assert policy.propose(asked.rows, legal, [H100]).choice == only


def test_it_scores_what_its_weights_say(policy: Policy) -> None:
    """The graph is the function that training evaluates."""
    weights = builder.load()
    asked = question("1g.10gb", holding(EMPTY, ("1g.10gb", 0)), board("H100-80GB", 1))
    rows = np.array(asked.rows).reshape(len(asked.legal), -1)
    hidden = np.maximum(rows @ weights.first + weights.bias, 0.0)
    scores = np.where(asked.legal, rows @ weights.linear + hidden @ weights.second, -1e9)
    answer = policy.propose(asked.rows, asked.legal, [H100])
    assert answer.score == pytest.approx(scores.max(), abs=1e-5)
    assert scores[answer.choice] == pytest.approx(scores.max(), abs=1e-5)


def test_nan_is_no_answer() -> None:
    nan = Policy.load(path_of("nan"), deadline=30.0)
    asked = question("1g.10gb", EMPTY)
    with pytest.raises(PolicyError, match="NaN"):
        nan.propose(asked.rows, asked.legal, [H100])


def test_a_policy_that_takes_for_ever_is_stopped() -> None:
    """The one that loops is refused as late already when it is tried out."""
    with pytest.raises(PolicyError, match="late: stopped"):
        Policy.load(path_of("late"), trial_deadline=0.05)


def test_an_answer_after_the_deadline_is_late(policy: Policy) -> None:
    ticks = iter([0.0, 0.2])
    slow = Policy(policy._session, [H100], deadline=0.1, clock=lambda: next(ticks))
    asked = question("1g.10gb", EMPTY)
    with pytest.raises(PolicyError, match="late"):
        slow.propose(asked.rows, asked.legal, [H100])


def test_an_unknown_board_is_refused(policy: Policy) -> None:
    asked = question("1g.10gb", EMPTY)
    with pytest.raises(PolicyError, match="not fitted to NVIDIA Unknown"):
        policy.propose(asked.rows, asked.legal, [H100, "NVIDIA Unknown"])


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_a_feature_out_of_range_is_refused(policy: Policy, value: float) -> None:
    asked = question("1g.10gb", EMPTY)
    asked.rows[45] = value
    with pytest.raises(PolicyError, match="out of range"):
        policy.propose(asked.rows, asked.legal, [H100])


def test_features_of_another_shape_fail(policy: Policy) -> None:
    with pytest.raises(PolicyError, match="the policy failed"):
        policy.propose(array("f", [0.0] * 3), [True], [H100])
    with pytest.raises(PolicyError, match="the policy failed"):
        policy.propose(array("f", [0.0] * 3), [True] * 2, [H100])


def test_what_is_no_model_does_not_load(tmp_path: Path) -> None:
    path = tmp_path / "placement.onnx"
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(str(path))
    path.write_bytes(b"not a model")
    with pytest.raises(PolicyError, match="does not load"):
        Policy.load(str(path))
    path.write_bytes(bytes(2 << 20))
    with pytest.raises(PolicyError, match="larger"):
        Policy.load(str(path))


def test_other_features_are_refused(altered: Callable[[Callable[[Any], None]], str]) -> None:
    def change(model: Any) -> None:
        [schema] = [each for each in model.metadata_props if each.key == "ainos.schema"]
        schema.value = "0" * 64

    with pytest.raises(PolicyError, match="fitted to other features"):
        Policy.load(altered(change))


def test_other_outputs_are_refused(altered: Callable[[Callable[[Any], None]], str]) -> None:
    def change(model: Any) -> None:
        del model.graph.output[0]

    with pytest.raises(PolicyError, match="outputs are not"):
        Policy.load(altered(change))


def test_onnxruntime_is_loaded_only_for_a_policy() -> None:
    code = (
        "import sys\nfrom ainit.sched.__main__ import load_decider\n"
        "decider, deadline = load_decider(None)\n"
        "assert (decider.state, deadline) == ('missing', 0.0)\n"
        "assert 'onnxruntime' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_telemetry_is_off_before_the_library_is_loaded() -> None:
    code = (
        "import os\nos.environ.pop('ORT_DISABLE_TELEMETRY', None)\n"
        "import ainit.sched.onnx\nassert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_a_policy_that_does_not_load_is_refused_by_name(tmp_path: Path) -> None:
    from ainit.sched.__main__ import load_decider

    path = tmp_path / "placement.onnx"
    path.write_bytes(b"not a model")
    decider, _ = load_decider(str(path))
    assert decider.state == decide.REFUSED
    assert "does not load" in decider.reason


@pytest.mark.parametrize(
    ("typical", "said", "soft"),
    [
        (0.00005, "", 0.001),  # a millisecond for who is brisk
        (0.0002, "", 0.01),
        (1.0, "", 0.25),  # never beyond what stops it
        (0.00005, "20", 0.02),
        (0.00005, "9000", 0.25),
        (0.00005, "soon", 0.001),
    ],
)
def test_the_soft_deadline(
    monkeypatch: pytest.MonkeyPatch, typical: float, said: str, soft: float
) -> None:
    monkeypatch.setenv(onnx_module.DEADLINE_VARIABLE, said)
    assert onnx_module._soft(typical, onnx_module.DEADLINE_S) == pytest.approx(soft)


def test_a_usable_answer_that_comes_late_is_not_taken(policy: Policy) -> None:
    asked = question("1g.10gb", EMPTY)
    ticks = iter([0.0, 0.002])
    slow = Policy(policy._session, [H100], clock=lambda: next(ticks), soft=0.001)
    with pytest.raises(PolicyLateError, match=r"late: 2.0 ms of 1.0"):
        slow.propose(asked.rows, asked.legal, asked.boards)
