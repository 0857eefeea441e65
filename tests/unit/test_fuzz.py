"""What bytes from outside can do to PID 1, as far as a test may take: ``make fuzz`` goes on."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import seeds
from tests.fuzz.mutate import mutations
from tests.fuzz.targets import TARGETS

SEEDS = seeds()
MUTATIONS = 150
steps = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=12)


def test_every_target_has_something_to_begin_with() -> None:
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_is_meant_for_keeps_the_promise(target: str) -> None:
    for data in [b"", *SEEDS[target]]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_close_to_it_keeps_the_promise(target: str) -> None:
    for data in itertools.islice(mutations(SEEDS[target], random.Random(4)), MUTATIONS):
        TARGETS[target](data)


@pytest.mark.parametrize("target", ["control", "notify"])
@given(program=steps)
@settings(max_examples=30)
def test_any_program_keeps_the_promise(target: str, program: list[tuple[int, bytes]]) -> None:
    TARGETS[target](
        b"".join(bytes((operation, len(content))) + content for operation, content in program)
    )
