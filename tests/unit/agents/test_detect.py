from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.service import REPOSITORY

CODE = runpy.run_path(
    str(REPOSITORY / "rootfs-overlay/usr/lib/ainos/agents/speech/detect.py"), run_name="code"
)
FRAME: int = CODE["FRAME"]
segments = CODE["segments"]


def frames(*parts: tuple[float, int]) -> list[float]:
    return [probability for probability, count in parts for _ in range(count)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        (frames((0.49, 50)), []),
        (frames((0, 4), (0.5, 20), (0, 10)), [(4 * 512 - 480, 24 * 512 + 480)]),
        (frames((0, 4), (0.9, 7), (0, 10)), []),  # shorter than a quarter of a second
        (frames((0, 4), (0.9, 8), (0, 10)), [(4 * 512 - 480, 12 * 512 + 480)]),
        (frames((0.9, 10)), [(0, 10 * 512)]),
        (frames((0.9, 9), (0.4, 20), (0.9, 9)), [(0, 38 * 512)]),  # hesitation is no silence
        (frames((0.9, 9), (0, 4), (0.9, 9)), [(0, 22 * 512)]),  # a breath is none either
        (frames((0.9, 9), (0, 5), (0.9, 9)), [(0, 9 * 512 + 480), (14 * 512 - 480, 23 * 512)]),
        (frames((0.9, 9), (0, 3), (0.4, 1), (0, 1), (0.9, 9)), [(0, 5088), (6688, 11776)]),
    ],
)
def test_where_somebody_speaks(found: list[float], expected: list[tuple[int, int]]) -> None:
    assert segments(found, len(found) * FRAME) == expected


@given(
    runs=st.lists(st.tuples(st.sampled_from([0.0, 0.36, 0.6, 1.0]), st.integers(1, 12))),
    cut=st.integers(0, 511),
)
def test_segments_are_in_order_and_inside(runs: list[tuple[float, int]], cut: int) -> None:
    found = frames(*runs)
    length = max(0, len(found) * FRAME - cut)
    bounds = [bound for segment in segments(found, length) for bound in segment]
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= length for bound in bounds)


def test_each_frame_comes_with_the_end_of_the_one_before_and_the_states_of_the_call_before() -> (
    None
):
    calls: list[tuple[Any, Any, Any]] = []

    def model(seen: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any]:
        calls.append((seen, hidden, cell))
        return np.full(len(seen), 0.25, np.float32), hidden + 1, cell + 2

    count = CODE["FRAMES_PER_CALL"] + 2
    sound = np.arange(count * FRAME - 100, dtype=np.float32)
    assert CODE["probabilities"](model, sound) == [0.25] * count
    (first, hidden, cell), (second, hidden2, cell2) = calls
    assert (first.shape, second.shape) == ((256, 576), (2, 576))
    assert (hidden.sum(), cell.sum(), hidden2.mean(), cell2.mean()) == (0, 0, 1, 2)
    assert not first[0, :64].any()
    seen = np.concatenate((first, second))
    assert (seen[1:, :64] == seen[:-1, -64:]).all()
    whole = seen[:, 64:].reshape(-1)
    assert (whole[: sound.size] == sound).all()
    assert not whole[sound.size :].any()


def test_samples_are_little_endian_and_within_one() -> None:
    sound = CODE["samples"](b"\x00\x80\xff\x7f\x00\x00\x01\x00")
    assert sound.tolist() == [-1.0, 32767 / 32768, 0.0, 1 / 32768]
    with pytest.raises(ValueError, match="buffer size"):
        CODE["samples"](b"\x00")
