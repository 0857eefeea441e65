"""The text format, read back by a strict reader."""

from __future__ import annotations

import math

import pytest

from ainit.metrics.exposition import COUNTER, GAUGE, Family, render
from tests.support.exposition import labels, parse


@pytest.mark.parametrize(
    "text",
    ["plain", 'a "quoted" one', "back\\slash", "two\nlines", '\\"\n\\n', "déjà vu", "", "{},="],
)
def test_any_label_is_read_back(text: str) -> None:
    family = Family("a", GAUGE, "Help.")
    family.add(1, first=text, second="x")
    assert parse(render([family]))["a"].samples == {labels(first=text, second="x"): 1.0}


def test_help_is_one_line() -> None:
    family = Family("a_total", COUNTER, "one\\two\nthree")
    family.add(1)
    assert parse(render([family]))["a_total"].help == r"one\\two\nthree"


@pytest.mark.parametrize("value", [0, -1, 1 << 60, 0.1, 1e-9, 1e300, math.inf, -math.inf])
def test_any_number_is_read_back(value: float) -> None:
    family = Family("a", GAUGE, "Help.")
    family.add(value)
    assert parse(render([family]))["a"].samples == {frozenset(): float(value)}


def test_not_a_number_is_read_back() -> None:
    family = Family("a", GAUGE, "Help.")
    family.add(math.nan)
    assert math.isnan(parse(render([family]))["a"].samples[frozenset()])


def test_numbers_are_spelt_as_prometheus_does() -> None:
    family = Family("a", GAUGE, "Help.")
    for number, value in enumerate((True, math.inf, -math.inf, math.nan, 3, 0.5)):
        family.add(value, n=number)
    values = [line.rpartition(" ")[2] for line in render([family]).splitlines()[2:]]
    assert values == ["1", "+Inf", "-Inf", "NaN", "3", "0.5"]


@pytest.mark.parametrize("value", [None, "3", [], {}])
def test_what_is_no_number_is_no_sample(value: object) -> None:
    family = Family("a", GAUGE, "Help.")
    family.add(value, unit="x")
    assert render([family]) == ""
