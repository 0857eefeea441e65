"""Build the scheduling policy: a small network in ONNX that scores candidates.

What it is: a linear function of the features and a few hidden units, shared by all candidates. Its
weights come from training in simulation (``make train``) and lie in ``scripts/policy.json``, so
that an image is built without training. The file is the same, byte for byte, wherever it is built.

The graph masks illegal candidates itself: ``choice = argmax(where(mask, scores, -1e9))``.

    policy.build(path)                      # or mutant="nan" | "overlap" | "late"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .host import BUILD, REPOSITORY, HostError, published

sys.path.insert(0, str(REPOSITORY))
from ainit.sched import features
from ainit.sched.place import Device, Profile

OUTPUT = BUILD / "model-sources" / "placement.onnx"
MUTANTS_OUTPUT = BUILD / "policy-mutants"
BOARDS = REPOSITORY / "ainit" / "sched" / "boards.json"
WEIGHTS = REPOSITORY / "scripts" / "policy.json"
MUTANTS = ("nan", "overlap", "late")  # what each does is in `_ending`
OPSET = 17
MASKED = -1e9

Array = npt.NDArray[np.float64]


def boards() -> dict[str, Device]:
    """Every board of the geometry data, empty, by product name."""
    document: Mapping[str, Mapping[str, Any]] = json.loads(BOARDS.read_text())["boards"]
    return {
        board["product"]: Device(
            index=0,
            uuid="",
            name=board["product"],
            mig=True,
            memory_mib=board["memory_mib"],
            profiles=tuple(
                Profile(
                    name=each["name"],
                    id=each["id"],
                    compute=each["compute"],
                    memory=each["memory"],
                    limit=each["limit"],
                    starts=tuple(each["starts"]),
                    memory_mib=each["memory_mib"],
                )
                for each in board["profiles"]
            ),
            instances=(),
        )
        for board in document.values()
    }


@dataclass(frozen=True, slots=True)
class Weights:
    """A scorer: ``linear`` by feature; ``first`` (feature by unit), ``bias`` and ``second`` of the
    hidden units, of which there may be none. ``fit`` says how it came about.
    """

    linear: Array
    first: Array
    bias: Array
    second: Array
    fit: str


def load(path: Path = WEIGHTS) -> Weights:
    """The weights of a file. Raises HostError, with its name, when they are of another schema."""
    document: Mapping[str, Any] = json.loads(path.read_text())
    if document.get("schema") != features.SCHEMA:
        raise HostError(f"{path}: trained on other features; run `make train`")
    width = len(features.NAMES)
    linear = np.array([document["linear"].get(name, 0.0) for name in features.NAMES])
    units = document["units"]
    first = np.zeros((width, max(len(units), 1)))
    for number, unit in enumerate(units):
        for name, value in unit["weights"].items():
            first[features.NAMES.index(name), number] = value
    bias = np.array([unit["bias"] for unit in units] or [0.0])
    second = np.array([unit["output"] for unit in units] or [0.0])
    return Weights(linear, first, bias, second, document["fit"])


def build(path: Path = OUTPUT, mutant: str | None = None, weights: Path = WEIGHTS) -> Path:
    """Write the policy, or one of the useless ones that tests need, and return its path."""
    model = _model(load(weights), mutant)
    with published(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _model(fitted: Weights, mutant: str | None) -> Any:
    first = fitted.first
    weights = {
        "linear": fitted.linear.reshape(-1, 1),
        "first": first,
        "bias": fitted.bias,
        "second": fitted.second.reshape(-1, 1),
        "masked": np.array(MASKED),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "first"], ["projected"]),
        helper.make_node("Add", ["projected", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["bent"]),
        helper.make_node("MatMul", ["features", "linear"], ["straight"]),
        helper.make_node("Add", ["straight", "bent"], ["column"]),
        helper.make_node("Flatten", ["column"], ["row"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    constants.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat"))
    nodes.append(helper.make_node("Reshape", ["row", "flat"], ["raw"]))
    nodes += _ending(mutant, constants)
    graph = helper.make_graph(
        nodes,
        "placement",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", first.shape[0]]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["n"]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("choice", TensorProto.INT64, [1]),
        ],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="ainos"
    )
    metadata = {
        "ainos.kind": "placement",
        "ainos.schema": features.SCHEMA,
        "ainos.boards": "\n".join(boards()),
        "ainos.normalisation": features.NORMALISATION,
        "ainos.fit": f"test: {mutant}" if mutant else fitted.fit,
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _ending(mutant: str | None, constants: list[Any]) -> Sequence[Any]:
    """From raw scores to ``scores`` and ``choice``; a mutant goes wrong here."""
    if mutant == "nan":
        constants.append(numpy_helper.from_array(np.array(np.nan, dtype=np.float32), "nan"))
        spoil = [helper.make_node("Mul", ["raw", "nan"], ["spoiled"])]
        return [*spoil, *_choose("spoiled", ["mask", "spoiled", "masked"], "choice")]
    if mutant == "overlap":
        # The mask upside down: an occupied placement when there is one, else one that is none.
        return [
            *_choose("raw", ["mask", "masked", "raw"], "worst"),
            helper.make_node("Cast", ["mask"], ["bits"], to=TensorProto.INT64),
            helper.make_node("ReduceMin", ["bits"], ["all"], axes=[0], keepdims=1),
            helper.make_node("Cast", ["all"], ["is_all"], to=TensorProto.BOOL),
            helper.make_node("Shape", ["raw"], ["count"]),
            helper.make_node("Where", ["is_all", "count", "worst"], ["choice"]),
        ]
    if mutant == "late":
        return [*_endless(constants), *_choose("slow", ["mask", "slow", "masked"], "choice")]
    return _choose("raw", ["mask", "raw", "masked"], "choice")


def _choose(scores: str, where: list[str], choice: str) -> list[Any]:
    masked = "scores" if where[1] == scores else "upside_down"
    nodes = [
        helper.make_node("Where", where, [masked]),
        helper.make_node("ArgMax", [masked], [choice], axis=0, keepdims=1),
    ]
    if masked != "scores":
        nodes.append(helper.make_node("Identity", [scores], ["scores"]))
    return nodes


def _endless(constants: list[Any]) -> list[Any]:
    """A loop that takes minutes."""
    constants += [
        numpy_helper.from_array(np.array(10**8, dtype=np.int64), "rounds"),
        numpy_helper.from_array(np.array(True), "always"),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["again_out"]),
            helper.make_node("Cos", ["carried"], ["carried_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, ["n"]),
        ],
        [
            helper.make_tensor_value_info("again_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_out", TensorProto.FLOAT, ["n"]),
        ],
    )
    return [helper.make_node("Loop", ["rounds", "always", "raw"], ["slow"], body=body)]
