"""A few deaths of the GPU service in real processes; `make bench-gpu` has more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import gpu_lives


@pytest.mark.parametrize(
    ("kind", "fault", "board", "moment"),
    [
        ("create", "none", "H100-80GB", 11),
        ("replace", "killed inside a destruction", "A100-40GB", 0),
        ("repartition", "none", "H100-80GB", 30),
        ("repartition", "killed inside a creation", "B200-180GB", 0),
        ("repartition", "destroy leaves remnants", "H200-141GB", 40),
    ],
)
def test_a_life_that_ends_anywhere_strands_nothing(
    tmp_path: Path, kind: str, fault: str, board: str, moment: int
) -> None:
    case = gpu_lives.run(tmp_path, kind, fault, board, moment)
    assert (case.wrong, case.stranded) == ((), 0)
