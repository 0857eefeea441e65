"""docs/units.md lists every key of a unit file, with the default and an example that are true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit.policy import activation, config, keys, machine_config, values
from ainit.policy.calendar_text import parse
from ainit.policy.kernel_names import LIMITS
from ainit.policy.plan import AGENT, SERVICE, Unit
from ainit.policy.values import Check

TEXT = (Path(__file__).resolve().parents[3] / "docs/units.md").read_text(encoding="utf-8")
PARTS = [part.partition("\n") for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]]
SECTIONS = {title: body for title, _, body in PARTS}
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| (?:([^|]*) )?\| [^|]* \| `([^|]*)` \|$", re.MULTILINE)

# Section → its keys: field of the plan ("" for none of its own) and check.
_ONLY = {"measurement": keys.AGENT["measurement"]}
DOCUMENTED: Mapping[str, Mapping[str, tuple[str, Check]]] = {
    "service and agent": keys.SERVICE,
    "only for agents": _ONLY,
    "backoff": keys.BACKOFF,
    "probe": keys.PROBE,
    "timer": keys.TIMER,
    "socket": {**{key: ("", check) for key, check in activation.SOCKET.items()}, **keys.ACTIVATION},
    "path": dict.fromkeys(activation.PATH, ("", values.path)),
    "resources": keys.RESOURCES,
    "logs": keys.LOGS,
    "gpu": keys.GPU,
}
# Defaults that are no class attribute, and what a default says when it says nothing.
SOCKET_DEFAULTS = {"mode": activation.MODE, "backlog": activation.BACKLOG}
NOTHING: tuple[object, ...] = ((), "", 0, 0.0, -1, None, {})

CASES = [
    (section, *found.groups())
    for section in DOCUMENTED
    for found in ROW.finditer(SECTIONS.get(section, ""))
]
IDS = [f"{case[0]}-{case[1]}" for case in CASES]


def test_every_table_is_documented() -> None:
    known = {*keys.TABLES[SERVICE], *keys.TABLES[AGENT], "socket", "path", "device"}
    headings = {"service", "agent", "activation"} | (DOCUMENTED.keys() - {"service and agent"})
    elsewhere = {"device", "sandbox"}  # no table of keys; docs/sandbox.md has those of a sandbox
    assert known == (headings - {"only for agents"}) | elsewhere
    assert elsewhere <= SECTIONS.keys()


@pytest.mark.parametrize("section", DOCUMENTED)
def test_every_key_is_documented_once(section: str) -> None:
    listed = [found[1] for found in ROW.finditer(SECTIONS[section])]
    assert sorted(listed) == sorted(DOCUMENTED[section])


def test_what_agents_may_not_say_is_documented() -> None:
    rows = ROW.finditer(SECTIONS["service and agent"])
    documented = {found[1] for found in rows if "Not of agents" in found[0]}
    assert documented == keys.SERVICE.keys() - keys.AGENT.keys()


@pytest.mark.parametrize(("section", "key", "kind", "default", "example"), CASES, ids=IDS)
def test_the_default_is_true(
    section: str, key: str, kind: str, default: str | None, example: str
) -> None:
    field, check = DOCUMENTED[section][key]
    unit = Unit("a", AGENT if section == "only for agents" else SERVICE)
    actual = getattr(unit, field) if field else SOCKET_DEFAULTS.get(key)
    if default is None or default == "required":
        assert actual in NOTHING
        return
    stated = check(tomllib.loads(f"x = {default.strip('`')}")["x"])
    assert (tuple(stated) if isinstance(stated, list) else stated) == actual


@pytest.mark.parametrize(("section", "key", "kind", "default", "example"), CASES, ids=IDS)
def test_the_example_is_right(
    section: str, key: str, kind: str, default: str | None, example: str
) -> None:
    (given,) = tomllib.loads(example).items()
    assert given[0] == key
    DOCUMENTED[section][key][1](given[1])


@pytest.mark.parametrize(
    ("section", "key", "kind", "default", "example"),
    [case for case in CASES if " to " in (case[2] or "")],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_the_bounds_are_true(
    section: str, key: str, kind: str, default: str | None, example: str
) -> None:
    check = DOCUMENTED[section][key][1]
    low, _, high = kind.partition(" to ")
    bounds = [int(text) if text.lstrip("-").isdigit() else float(text) for text in (low, high)]
    assert [check(bound) for bound in bounds] == bounds
    for beyond in (bounds[0] - 0.001, bounds[1] + 0.001, bounds[0] - 1, bounds[1] + 1):
        with pytest.raises(ValueError, match=f"from {low} to"):
            check(beyond)


@pytest.mark.parametrize(
    ("key", "allowed", "refused"),
    [
        *(
            (keys.RESOURCES[key], ["1", "1048576T"], ["0", "-1", "1048577T", 1])
            for key in ("memory_min", "memory_low", "memory_high", "memory_max")
        ),
        (keys.RESOURCES["memory_swap_max"], ["0", "1"], ["-1", 0]),
        (keys.RESOURCES["cpu_max"], ["1%", "1000000%"], ["0%", "1000001%", "1.5%"]),
        (keys.RESOURCES["memory_pressure"], ["0.1%", "100%"], ["0%", "0.09%", "101%"]),
        (keys.RESOURCES["cpus"], ["0-8191"], ["8192", "0-8192"]),
        (keys.RESOURCES["memory_nodes"], ["0-1023"], ["1024", "1-0"]),
        (keys.LOGS["ring"], ["4096", "4K"], ["4095", "3K"]),
        (keys.PROBE["connect"], ["unix:/x", "tcp:[::1]:1"], ["udp:[::1]:1", "unix-datagram:/x"]),
        (keys.GPU["profile"], ["1g.10gb", "2g.20gb+me"], ["1g", "1g.10gb+", "g.gb"]),
        (keys.SERVICE["success_status"], [[0, 255], []], [[256], [-1], [0, 0]]),
    ],
)
def test_bounds_that_the_table_has_no_room_for(
    key: tuple[str, Check], allowed: list[object], refused: list[object]
) -> None:
    for value in allowed:
        key[1](value)
    for value in refused:
        with pytest.raises(ValueError, match=r"^(is|has) "):
            key[1](value)


def test_words_are_those_of_the_parser() -> None:
    for section, words in DOCUMENTED.items():
        for found in ROW.finditer(SECTIONS[section]):
            if found[2] == "word" and found[1] != "type":
                with pytest.raises(ValueError, match="is one of ") as caught:
                    words[found[1]][1]("?")
                allowed = str(caught.value).removeprefix("is one of ").split(", ")
                assert all(f"`{word}`" in found[0] for word in allowed), found[1]
    kinds = re.findall(r"^\| `(\w+)` \| when ", SECTIONS["service and agent"], re.MULTILINE)
    assert kinds == ["simple", "notify", "forking", "oneshot", "target"]
    assert all(f"`{limit}`" in SECTIONS["service and agent"] for limit in LIMITS)


def test_calendar_expressions_are_some() -> None:
    listed = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", SECTIONS["Calendar"], re.MULTILINE)
    expressions = [each.strip("`") for row in listed for each in row.split("`, `")]
    assert len(expressions) > 12
    assert all(parse(each) for each in expressions)


def test_whole_examples_are_right() -> None:
    unit, machine = re.findall(r"^```toml\n((?:(?!```).*\n)*)```", TEXT, re.MULTILINE)
    assert config.unit(unit, "units.md", "modem")[1] == []
    assert machine_config.machine(machine, "units.md")[1] == []
