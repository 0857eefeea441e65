from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.service import REPOSITORY

CODE = runpy.run_path(
    str(REPOSITORY / "rootfs-overlay/usr/lib/ainos/agents/filetype/identify.py"), run_name="code"
)
CONFIG: dict[str, Any] = {
    "beg_size": 8,
    "mid_size": 0,
    "end_size": 6,
    "use_inputs_at_offsets": False,
    "medium_confidence_threshold": 0.5,
    "min_file_size_for_dl": 4,
    "padding_token": 256,
    "block_size": 16,
    "target_labels_space": ["shell", "python", "noise"],
    "thresholds": {"python": 0.9},
    "overwrite_map": {"noise": "unknown"},
}
BARE = {"description": None, "mime_type": None, "group": None}
KNOWN: dict[str, Any] = {
    "shell": {"description": "Shell", "mime_type": "text/x-sh", "group": "code", "is_text": True},
    **{name: {**BARE, "is_text": True} for name in ("python", "txt")},
    **{name: {**BARE, "is_text": False} for name in ("unknown", "empty")},
}
P = 256


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tmp_path_factory.mktemp("labels"), CONFIG)


def load(folder: Path, config: dict[str, Any]) -> Any:
    (folder / "config").write_text(json.dumps(config))
    (folder / "known").write_text(json.dumps(KNOWN))
    return CODE["Labels"].load(str(folder / "config"), str(folder / "known"))


@pytest.mark.parametrize(
    ("content", "begin", "end"),
    [
        (b"abcd", [*b"abcd", P, P, P, P], [P, P, *b"abcd"]),
        (b"  abcd\n", [*b"abcd\n", P, P, P], [*b"  abcd"]),
        (bytes(range(65, 90)), [*range(65, 73)], [*range(84, 90)]),
        (b" " * 14 + b"abcdef", [], []),  # two bytes are left of the first block
        (b"abc", [], []),
        (b"", [], []),
    ],
)
def test_the_model_sees_beginning_and_end(
    labels: Any, content: bytes, begin: list[int], end: list[int]
) -> None:
    assert labels.tokens(content) == ([*begin, *end] or None)


@given(content=st.binary(max_size=64))
def test_the_model_always_gets_its_own_size(labels: Any, content: bytes) -> None:
    tokens = labels.tokens(content)
    assert tokens is None or (len(tokens) == 14 and all(0 <= token <= P for token in tokens))


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ([0.6, 0.3, 0.1], "shell"),
        ([0.1, 0.95, 0.0], "python"),
        ([0.1, 0.89, 0.0], "txt"),  # below python's own threshold
        ([0.4, 0.3, 0.3], "txt"),  # below the general one
        ([0.1, 0.1, 0.8], "unknown"),  # renamed
        ([0.3, 0.3, 0.4], "unknown"),  # renamed, and not a text
    ],
)
def test_a_label_needs_a_score_that_is_high_enough(
    labels: Any, scores: list[float], label: str
) -> None:
    answer = CODE["Identifier"](labels, lambda _: scores).identify(b"some content")
    assert (answer["label"], answer["score"]) == (label, max(scores))


@pytest.mark.parametrize(
    ("content", "label"), [(b"", "empty"), (b"abc", "txt"), (b"\xff\xfe", "unknown")]
)
def test_what_is_too_short_never_reaches_the_model(labels: Any, content: bytes, label: str) -> None:
    answer = CODE["Identifier"](labels, pytest.fail).identify(content)
    assert (answer["label"], answer["score"]) == (label, 1.0)


def test_what_is_not_described_gets_plain_words(labels: Any) -> None:
    assert labels.answer("shell", 0.5)["mime_type"] == "text/x-sh"
    assert labels.answer("txt", 0.5) == {
        "label": "txt",
        "description": "txt",
        "mime_type": "text/plain",
        "group": "unknown",
        "score": 0.5,
    }
    assert labels.answer("unknown", 0.5)["mime_type"] == "application/octet-stream"


@pytest.mark.parametrize("change", [{"mid_size": 4}, {"use_inputs_at_offsets": True}])
def test_a_model_with_another_input_is_not_run(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="wants more than the beginning and the end"):
        load(tmp_path, {**CONFIG, **change})
