"""The JSON form of units and plans: what differs from the defaults, and nothing else."""

from __future__ import annotations

import pytest

from ainit.policy.plan import AGENT, FIELDS, SERVICE, Plan, Record, Unit, same
from ainit.wire.codec import dumps, loads


def test_a_unit_of_defaults_is_its_name() -> None:
    unit = Unit("a", SERVICE)
    unit.after, unit.success_status, unit.environment = [], [0], {}
    unit.capabilities, unit.timer_boot = None, 0.0
    assert unit.to_record() == {"name": "a", "kind": "service"}
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
