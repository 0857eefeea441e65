"""Build the placement policy: a small network in ONNX that scores candidate placements.

What it is: a two-layer perceptron, shared by all candidates, fitted by least squares to *headroom*:
how many further random requests a GPU can take before the first that it must turn away, worked out
exactly over all occupancy masks of each board. What it is not: a scheduler that has learned from
workloads, with queues, times and costs. The file is the same, byte for byte, wherever it is built.

The graph masks illegal candidates itself: ``choice = argmax(where(mask, scores, -1e9))``.

    policy.build(path)                      # or mutant="nan" | "overlap" | "late"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .host import BUILD, REPOSITORY, published

sys.path.insert(0, str(REPOSITORY))
from ainit.sched import features
from ainit.sched.place import Device, Instance, Profile, candidates, check, mask

OUTPUT = BUILD / "models" / "placement" / "placement.onnx"
MUTANTS_OUTPUT = BUILD / "policy-mutants"
BOARDS = REPOSITORY / "ainit" / "sched" / "boards.json"
MUTANTS = ("nan", "overlap", "late")  # what each does is in `_ending`
HIDDEN = 96
SEED = 20_240_917
RIDGE = 1e-3
GRID = 4096.0  # weights are rounded to 1/4096: least squares differs in the last bits by machine
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


def headroom(device: Device) -> list[float]:
    """For each occupancy mask: the expected number of requests, each for a profile drawn evenly,
    that are placed (as well as can be) before the first that finds no room.
    """
    shapes = [[mask(s, each.memory) for s in each.starts] for each in device.profiles]

    @cache
    def value(occupied: int) -> float:
        total = 0.0
        for placements in shapes:
            free = [each for each in placements if not each & occupied]
            total += max((1.0 + value(occupied | each) for each in free), default=0.0)
        return total / len(shapes)

    return [value(occupied) for occupied in range(1 << device.slices)]


def samples() -> tuple[Array, Array]:
    """Features of every legal candidate on every occupancy of every board, and what it costs."""
    rows, costs = [], []
    for empty in boards().values():
        room = headroom(empty)
        for occupied in range(1 << empty.slices):
            device = with_occupancy(empty, occupied)
            for profile in empty.profiles:
                for each in candidates(profile.name, [device]):
                    if not check(each, profile.name, [device]):
                        rows.append(features.describe(each, device))
                        costs.append(room[occupied | each.mask] - room[occupied])
    return np.array(rows), np.array(costs)


def with_occupancy(empty: Device, occupied: int) -> Device:
    """The board with these memory slices taken, by instances of no profile."""
    taken = tuple(
        Instance(slot + 1, "", slot, 1, None, 0)
        for slot in range(empty.slices)
        if occupied >> slot & 1
    )
    return Device(
        empty.index, empty.uuid, empty.name, True, empty.memory_mib, empty.profiles, taken
    )


def fit() -> tuple[Array, Array, Array]:
    """The weights: a fixed random first layer, and the second by ridge regression."""
    rows, costs = samples()
    width = rows.shape[1]
    random = np.random.Generator(np.random.PCG64(SEED))
    first = random.integers(-int(GRID), int(GRID), (width, HIDDEN)).astype(np.float64) / GRID
    first[:, :width] = np.eye(width)  # features lie in 0..1, so these units pass them through
    bias = random.integers(-int(GRID), int(GRID), HIDDEN).astype(np.float64) / GRID
    bias[:width] = 0.0
    hidden = np.maximum(rows @ first + bias, 0.0)
    centred = costs - costs.mean()
    gram = hidden.T @ hidden + RIDGE * np.eye(HIDDEN)
    second = np.round(np.linalg.solve(gram, hidden.T @ centred) * GRID) / GRID
    return first, bias, second


def build(path: Path = OUTPUT, mutant: str | None = None) -> Path:
    """Write the policy, or one of the useless ones that tests need, and return its path."""
    model = _model(*fit(), mutant)
    with published(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _model(first: Array, bias: Array, second: Array, mutant: str | None) -> Any:
    weights = {
        "first": first,
        "bias": bias,
        "second": second.reshape(-1, 1),
        "masked": np.array(MASKED),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "first"], ["projected"]),
        helper.make_node("Add", ["projected", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["column"]),
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
        "ainos.normalisation": "none: every feature lies in 0..1",
        "ainos.fit": f"headroom, ridge {RIDGE:g}, seed {SEED}" if not mutant else f"test: {mutant}",
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
