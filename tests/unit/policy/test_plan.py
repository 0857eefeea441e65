"""The JSON form of units and plans: what differs from the defaults, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy.plan import AGENT, FIELDS, SERVICE, Plan, Record, Unit, same, spread
from ainit.wire.codec import dumps, loads
from tests.support.units import make_unit


def test_a_unit_of_defaults_is_its_name() -> None:
    unit = Unit("a", SERVICE)
    unit.after, unit.success_status, unit.environment = [], [0], {}
    unit.capabilities, unit.timer_boot = None, 0.0
    assert unit.to_record() == {"name": "a", "kind": "service"}
    assert (Unit("a", AGENT).bundle, Unit("a", AGENT).exec) == ("", ())
    assert Unit("a", AGENT).to_record() == {
        "name": "a", "kind": "agent", "measurement": "required",
    }  # fmt: skip


def test_no_capability_is_not_the_default() -> None:
    unit = Unit("a", SERVICE)
    unit.capabilities = []
    assert unit.to_record()["capabilities"] == []


def test_what_differs_survives() -> None:
    unit = Unit("a", AGENT)
    unit.after, unit.memory_max, unit.measurement = ("b",), 5, "optional"
    record = loads(dumps(unit.to_record()))
    assert isinstance(record, dict)
    found = Unit.from_record(record)
    assert (found.name, found.kind, found.measurement) == ("a", AGENT, "optional")
    assert (found.after, found.memory_max, found.exec) == (["b"], 5, ())
    assert found.to_record() == record


@pytest.mark.parametrize(
    "key",
    [
        "is_triggered",
        "has_probe",
        "backoff",
        "to_record",
        "from_record",
        "__init__",
        "__dict__",
        "x",
    ],
)
def test_a_record_holds_fields_only(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        Unit.from_record({"name": "a", "kind": SERVICE, key: 1})
    assert key not in FIELDS


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [([1], (1,), True), ((), [], True), ([1], [1, 2], False), ({}, [], False), (0, 0.0, True)],
)
def test_a_list_is_as_good_as_a_tuple(one: object, other: object, result: bool) -> None:
    assert same(one, other) is same(other, one) is result


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"units": {}},
        {"machine": []},
        {"units": [{"name": "a"}]},
    ],
)
def test_what_is_no_plan_is_refused(change: Record) -> None:
    record = {**Plan([Unit("a", SERVICE)], {}).to_record(), **change}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Plan.from_record(record)


def test_equal_words_of_commands_are_one_object() -> None:
    """A thousand units often say the same."""
    units = [{"name": name, "kind": SERVICE, "exec": ["/bin/" + name[0]]} for name in ("a1", "a2")]
    first, second = Plan.from_record({"schema": 2, "units": units, "machine": {}}).units
    assert first.exec == second.exec == ("/bin/a",)
    assert first.exec[0] is second.exec[0]


@pytest.mark.parametrize(
    ("fields", "triggered"),
    [
        ({}, False),
        ({"timer_calendar": [{"hour": [3]}]}, True),
        ({"timer_boot": 5.0}, True),
        ({"timer_every": 5.0}, True),
        ({"paths": [{"exists": "/x"}]}, True),
        ({"devices": [{"SUBSYSTEM": "net"}]}, True),
        ({"sockets": [{"listen": "unix:/x"}], "on_demand": True}, True),
        ({"sockets": [{"listen": "unix:/x"}]}, False),
        ({"provides": ["org.x.Y"], "on_demand": True}, True),
        ({"provides": ["org.x.Y"]}, False),
        ({"on_demand": True}, False),
    ],
)
def test_what_something_else_than_the_boot_starts(
    fields: dict[str, object], triggered: bool
) -> None:
    assert make_unit(**fields).is_triggered is triggered


@pytest.mark.parametrize(
    ("fields", "probed"),
    [
        ({}, False),
        ({"probe_exec": ["/bin/x"]}, True),
        ({"probe_connect": "unix:/x"}, True),
        ({"probe_varlink": "org.ainos.X"}, True),
    ],
)
def test_what_is_probed(fields: dict[str, object], probed: bool) -> None:
    assert make_unit(**fields).has_probe is probed


def test_each_pause_is_longer_than_the_one_before_until_the_longest() -> None:
    unit = make_unit(backoff_first=1.0, backoff_factor=2.0, backoff_max=8.0)
    pauses = [unit.backoff(failures) for failures in (1, 2, 3, 4, 5, 1_000_000)]
    assert pauses == [1, 2, 4, 8, 8, 8]


@given(st.text(max_size=8), st.integers(1, 100), st.floats(0, 1))
def test_jitter_shortens_a_pause_by_its_share_at_most(
    name: str, failures: int, jitter: float
) -> None:
    full = make_unit(name).backoff(failures)
    unit = make_unit(name, backoff_jitter=jitter)
    assert (1 - jitter) * full <= unit.backoff(failures) <= full
    assert unit.backoff(failures) == make_unit(name, backoff_jitter=jitter).backoff(failures)


def test_units_that_failed_together_do_not_come_back_together() -> None:
    units = [make_unit(f"u{number}", backoff_jitter=1.0) for number in range(100)]
    assert len({unit.backoff(1) for unit in units}) == 100
    assert units[0].backoff(4) != units[0].backoff(5)


@pytest.mark.parametrize(
    ("text", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_the_hash_is_fnv_1a(text: str, value: int) -> None:
    """Vectors of draft-eastlake-fnv."""
    assert spread(text) == value / 2**32
