"""Whatever a unit file or a machine configuration holds, it becomes findings in the file, or a unit
that survives its JSON form.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import ConfigError
from ainit.policy import activation, config, keys
from ainit.policy.candidate import compile_over
from ainit.policy.machine_config import MACHINE
from ainit.policy.plan import SERVICE, Plan, Unit
from ainit.wire.codec import dumps, loads

words = st.sampled_from(
    (
        "a", "b", "target", "oneshot", "notify", "simple", "/usr/bin/a", "unix:/run/a",
        "tcp:[::1]:80",
        "10%", "5M", "022", "0-3", "daily", "org.ainos.X", "TERM", "CAP_KILL", "infinity", "early",
    )
)  # fmt: skip
scalars = st.one_of(
    words.map(lambda text: f'"{text}"'),
    st.integers(-1, 5).map(str),
    st.sampled_from(("true", "false", "0.5", "nan", "inf", "1e400", "2024-01-01", "12:00:00")),
)
lists = st.lists(scalars, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
tables = st.dictionaries(words.map(lambda text: f'"{text}"'), scalars | lists, max_size=2).map(
    lambda items: "{ " + ", ".join(f"{key} = {value}" for key, value in items.items()) + " }"
)
entries = scalars | lists | tables


def table(head: str, known: list[str]) -> st.SearchStrategy[str]:
    """A table with some of its keys, each with some value."""
    names = st.sampled_from([*known, "unknown"])
    return st.dictionaries(names, entries, max_size=5).map(
        lambda items: head + "\n" + "".join(f"{key} = {value}\n" for key, value in items.items())
    )


UNIT_TABLES = [
    *(table(f"[{name}]", list(known)) for name, known in keys.TABLES[SERVICE].items()),
    table("[[socket]]", list(activation.SOCKET)),
    table("[[path]]", list(activation.PATH)),
    table("[[device]]", ["SUBSYSTEM", "DEVTYPE"]),
    table("[socket]", []),
]
MACHINE_TABLES = [table(f"[{name}]", list(known)) for name, known in MACHINE.items()]


def documents(parts: list[st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(parts), max_size=4).map("".join)


units = st.text(max_size=30) | documents(UNIT_TABLES)
machines = st.text(max_size=30) | documents(MACHINE_TABLES)


@given(units)
def test_a_unit_file(text: str) -> None:
    unit, findings = config.unit(text, "a.toml", "a")
    lines = text.count("\n") + 1
    assert all(one.file == "a.toml" and 1 <= one.line <= lines for one in findings)
    if not findings:
        record = unit.to_record()
        again = loads(dumps(record))
        assert isinstance(again, dict)
        assert Unit.from_record(again).to_record() == again


@given(machines)
def test_a_machine_configuration(text: str) -> None:
    settings, findings = config.machine(text, "machine.toml")
    assert findings or loads(dumps(settings)) == settings


@given(st.dictionaries(st.sampled_from("abc"), units, max_size=3), machines)
def test_a_configuration(found: dict[str, str], machine: str) -> None:
    files = {"machine.toml": machine} | {f"units/{name}.toml": found[name] for name in found}
    image = Unit("a", SERVICE)
    image.exec = ["/usr/bin/a"]
    try:
        plan = compile_over(Plan([image], {}), files)
    except ConfigError:
        return
    place = {unit.name: index for index, unit in enumerate(plan.units)}
    for unit in plan.units:
        for name in (*unit.after, *unit.requires, *unit.wants, *unit.bound_to):
            assert place.get(name, -1) < place[unit.name]
        assert all(place[unit.name] < place.get(name, len(place)) for name in unit.before)
