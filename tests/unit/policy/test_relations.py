"""What is wrong, or without effect, between units."""

from __future__ import annotations

from ainit.policy import relations
from tests.support.units import make_unit


def locate(file: str, table: str, key: str | int) -> int:
    """A line for each key, so that a finding shows where it points."""
    assert (file, table) == ("a.toml", "service")
    return 10 + ("after", "before", "requires", "wants", "conflicts").index(str(key))


def test_a_reference_without_effect_is_worth_a_warning() -> None:
    unit = make_unit(
        "a",
        after=["b", "x"],
        before=["x"],
        wants=["b", "y"],
        conflicts=["z"],
        requires=["nobody"],  # an error, not a warning
    )
    assert [str(one) for one in relations.warnings([(unit, "a.toml")], {"a", "b"}, locate)] == [
        "a.toml:10: after names x, which is no unit here",
        "a.toml:11: before names x, which is no unit here",
        "a.toml:13: wants names y, which is no unit here",
        "a.toml:14: conflicts names z, which is no unit here",
    ]


def test_a_survivor_that_needs_nobody_is_told_so_once() -> None:
    unit = make_unit("a", survives=True, requires=["nobody"])
    assert [str(one) for one in relations.findings([(unit, "a.toml")], locate)] == [
        "a.toml:12: a requires nobody, which is no unit"
    ]


def test_a_rival_that_the_boot_leaves_alone_is_no_contradiction() -> None:
    idle = make_unit("a", autostart=False, conflicts=["b"])
    assert relations.findings([(idle, "a.toml"), (make_unit("b"), "b.toml")], locate) == []


def test_a_unit_is_no_rival_of_itself() -> None:
    """The file of the unit has a finding of its own about that."""
    assert relations.findings([(make_unit("a", conflicts=["a"]), "a.toml")], locate) == []
