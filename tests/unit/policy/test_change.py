"""What a new plan starts, stops, restarts and leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy.change import LIVE, Change, difference
from ainit.policy.plan import AGENT, FIELDS, Plan, Unit
from tests.support.units import make_unit

EXEC = ["/bin/u"]


def change(
    old: list[Unit], new: list[Unit], running: str | None = None, **machine: object
) -> dict[str, object]:
    """The lists that are not empty, ``unchanged`` left out; every old unit runs unless said."""
    up = {unit.name for unit in old} if running is None else set(running)
    found = difference(Plan(old, {}), Plan(new, machine), up)
    record = found.to_record()
    assert found.is_empty == (not any(record[name] for name in record if name != "unchanged"))
    return {name: record[name] for name in record if record[name] and name != "unchanged"}


def test_every_field_is_either_live_or_given_to_a_process() -> None:
    assert LIVE < FIELDS
    assert {
        "bundle", "capabilities", "credentials", "directory", "environment", "exec", "extensions",
        "gpu_numa", "gpu_profile", "gpu_profiles", "gpu_required", "group",
        "groups", "limits", "measurement", "models", "nice",
        "oom_score", "optional_extensions", "optional_models", "provides", "sandbox", "sandboxed",
        "sockets", "type", "umask", "user", "user_name",
    } == FIELDS - LIVE  # fmt: skip


def test_the_same_plan_changes_nothing() -> None:
    old = [make_unit("a", exec=EXEC), make_unit("b", after=["a"])]
    new = [make_unit("a", exec=tuple(EXEC)), make_unit("b", after=("a",))]
    assert change(old, new) == {}
    assert difference(Plan(old, {}), Plan(new, {}), {"a", "b"}).unchanged == ["a", "b"]


def test_new_units_start_and_old_ones_stop_in_reverse_order() -> None:
    old = [make_unit(name) for name in "abc"]
    new = [make_unit(name) for name in "bde"]
    assert change(old, new) == {
        "start": ["d", "e"], "stop": ["c", "a"], "added": ["d", "e"], "removed": ["a", "c"],
    }  # fmt: skip
    assert change(old, new, running="ab")["stop"] == ["a"]


@pytest.mark.parametrize(
    "fields", [{"autostart": False}, {"timer_boot": 5.0}, {"paths": [{"exists": "/x"}]}]
)
def test_a_new_unit_that_something_else_starts_is_only_made_known(
    fields: dict[str, object],
) -> None:
    assert change([], [make_unit("a", **fields)]) == {"refresh": ["a"], "added": ["a"]}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"exec": ["/bin/other"]}, "restart"),
        ({"environment": {"A": "b"}}, "restart"),
        ({"exec": ["/bin/other"], "memory_max": 5}, "restart"),
        ({"memory_max": 5}, "refresh"),
        ({"after": ["z"], "description": "x"}, "refresh"),
        ({"autostart": False}, "refresh"),
        ({"timer_every": 5.0}, "refresh"),
    ],
)
def test_a_changed_unit_restarts_only_for_what_a_process_was_given(
    fields: dict[str, object], kind: str
) -> None:
    old, new = [make_unit("a", exec=EXEC)], [make_unit("a", **{"exec": EXEC, **fields})]
    assert change(old, new) == {kind: ["a"]}
    assert change(old, new, running="") == {"refresh": ["a"]}


def test_a_service_that_becomes_an_agent_restarts() -> None:
    old, new = make_unit("a"), make_unit("a")
    old.kind = AGENT
    assert change([old], [new])["restart"] == ["a"]


def test_what_the_boot_would_start_now_starts() -> None:
    idle, timed = make_unit("a", autostart=False), make_unit("a", timer_boot=5.0)
    assert change([idle], [make_unit("a")], running="") == {"start": ["a"]}
    assert change([timed], [make_unit("a")], running="") == {"start": ["a"]}
    assert change([timed], [make_unit("a")], running="a") == {"refresh": ["a"]}


def test_a_unit_comes_and_goes_with_the_table_that_it_is_there_for() -> None:
    off = make_unit("a", exec=EXEC, configured_by="remote")
    on = make_unit("a", exec=EXEC, configured_by="remote", environment={"AINOS_SETTINGS": "{}"})
    other = make_unit("a", exec=EXEC, configured_by="remote", environment={"AINOS_SETTINGS": "[]"})
    assert (off.is_unconfigured, off.is_triggered) == (True, True)
    assert (on.is_unconfigured, on.is_triggered) == (False, False)
    assert change([off], [on], running="") == {"start": ["a"]}
    assert change([on], [other]) == {"restart": ["a"]}
    assert change([on], [off]) == {"stop": ["a"]}
    assert change([off], [off], running="") == {}


def test_what_somebody_stopped_stays_down_though_the_boot_would_now_start_who_wants_it() -> None:
    idle = make_unit("b", autostart=False)
    old = [make_unit("a", timer_boot=5.0, wants=["b"]), idle]
    assert change(old, [make_unit("a", wants=["b"]), idle], running="a") == {"refresh": ["a"]}


def test_what_somebody_stopped_stays_down() -> None:
    old = [make_unit("a"), make_unit("b", wants=["a"])]
    new = [make_unit("a", exec=EXEC), make_unit("b", wants=["a"], memory_max=1)]
    assert change(old, new, running="b") == {"refresh": ["a", "b"]}


def test_a_running_unit_pulls_in_what_it_newly_needs() -> None:
    idle = [make_unit("a", autostart=False, wants=["b"]), make_unit("b", autostart=False)]
    old = [*idle, make_unit("c")]
    new = [*idle, make_unit("c", requires=["a", "x"])]
    assert change(old, new, running="c") == {"start": ["a", "b"], "refresh": ["c"]}
    assert change(old, new, running="") == {"refresh": ["c"]}


def test_a_new_unit_pulls_in_what_it_needs() -> None:
    idle = [make_unit("a", autostart=False)]
    new = [*idle, make_unit("b", bound_to=["a"])]
    assert change(idle, new, running="") == {"start": ["a", "b"], "added": ["b"]}
    assert change(idle, new, running="a") == {"start": ["b"], "added": ["b"]}


def test_a_rival_goes_when_its_opponent_starts() -> None:
    old = [make_unit("a"), make_unit("b")]
    new = [*old, make_unit("c", conflicts=["b", "d"]), make_unit("d", autostart=False)]
    found = {"start": ["c"], "refresh": ["d"], "added": ["c", "d"]}
    assert change(old, new) == {**found, "stop": ["b"]}
    assert change(old, new, running="a") == found


def test_what_needs_a_restarted_unit_restarts_along_with_it() -> None:
    others = [
        make_unit("b", requires=["a"]),
        make_unit("c", bound_to=["b"]),
        make_unit("d", wants=["a"]),
    ]
    old = [make_unit("a"), *others]
    new = [make_unit("a", exec=EXEC), *others]
    assert change(old, new) == {"restart": ["a"], "along": ["b", "c"]}
    assert change(old, new, running="ac") == {"restart": ["a"], "along": ["c"]}


def test_the_machine_configuration_is_compared_key_by_key() -> None:
    assert change([], [], hostname="a", network={}) == {"machine": ["hostname", "network"]}


fields = st.fixed_dictionaries(
    {},
    optional={
        "exec": st.sampled_from((["/bin/a"], ["/bin/b"])),
        "memory_max": st.integers(1, 2),
        "autostart": st.booleans(),
        "wants": st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
        "requires": st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
        "conflicts": st.lists(st.sampled_from("abcd"), max_size=1),
        "timer_boot": st.just(1.0),
    },
)
plans = st.dictionaries(st.sampled_from("abcd"), fields).map(
    lambda found: Plan([make_unit(name, **values) for name, values in found.items()], {})
)


@given(plans, plans, st.sets(st.sampled_from("abcd")))
def test_every_unit_has_one_fate(old: Plan, new: Plan, up: set[str]) -> None:
    running = up & {unit.name for unit in old.units}
    names = {unit.name for unit in new.units}
    found: Change = difference(old, new, running)
    fates = [*found.start, *found.restart, *found.along, *found.refresh, *found.unchanged]
    assert sorted(fates) == sorted(names - set(found.stop))
    assert set(found.stop) <= running
    assert set(found.stop) >= running - names
    assert not set(found.start) & running
    assert {*found.restart, *found.along} <= running
    assert not set(found.unchanged) & set(found.added)
    assert sorted([*names, *found.removed]) == sorted(
        {unit.name for unit in old.units} | set(found.added)
    )
