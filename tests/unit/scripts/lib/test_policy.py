from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from lib import policy
from lib.host import HostError

from ainit.sched import features

H100 = "NVIDIA H100 80GB HBM3"


def test_the_same_build_gives_the_same_bytes(tmp_path: Path) -> None:
    first = policy.build(tmp_path / "first.onnx").read_bytes()
    assert policy.build(tmp_path / "second.onnx").read_bytes() == first


@pytest.mark.parametrize("mutant", policy.MUTANTS)
def test_a_mutant_is_another_model_that_says_so(tmp_path: Path, mutant: str) -> None:
    model = onnx.load(policy.build(tmp_path / "mutant.onnx", mutant))
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata["ainos.fit"] == f"test: {mutant}"


def test_the_model_says_what_it_was_fitted_to(tmp_path: Path) -> None:
    model = onnx.load(policy.build(tmp_path / "placement.onnx"))
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata["ainos.schema"] == features.SCHEMA
    assert H100 in metadata["ainos.boards"].split("\n")
    assert [each.version for each in model.opset_import] == [17]


def test_weights_for_other_features_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(policy.WEIGHTS.read_text().replace(features.SCHEMA, "0" * 64))
    with pytest.raises(HostError, match=r"policy.json: trained on other features"):
        policy.load(path)
