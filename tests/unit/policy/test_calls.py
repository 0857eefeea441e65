"""Whom an agent may call, and that Cedar reads the same rules as we do."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import product

import cedarpy
import pytest

from ainit.policy import cedar
from ainit.policy.calls import CONTROL, DEFAULT, PID_1, SEVERAL, Rules
from ainit.policy.plan import AGENT, JOB, SERVICE, Unit
from ainit.wire.protocol import SERVICE as ABOUT

SPEECH, TEXT, GPU = "org.ainos.agent.Speech", "org.ainos.agent.Text", "org.ainos.Gpu"
PLANS = 150  # of each seed
TRIPLES_LEAST = 30_000


def unit(name: str, kind: str, user: int, provides: Sequence[str], *listed: str) -> Unit:
    made = Unit(name, kind)
    made.user, made.provides = user, provides
    if listed:
        made.sandbox = {"network": list(listed)}
    return made


def machine() -> list[Unit]:
    return [
        unit("notes", AGENT, 61184, [], "agent:speech", "192.0.2.7:443"),
        unit("speech", AGENT, 61185, [SPEECH]),
        unit("text", AGENT, 61186, [TEXT]),
        unit("gpu", SERVICE, 0, [GPU]),
    ]


@pytest.mark.parametrize(
    ("caller", "method", "provider", "rule"),
    [
        ("notes", f"{SPEECH}.Detect", "speech", "agent:speech"),
        ("notes", f"{ABOUT}.GetInterfaceDescription", "speech", "agent:speech"),
        ("notes", f"{ABOUT}.GetInfo", PID_1, PID_1),
        ("speech", f"{ABOUT}.GetInfo", PID_1, PID_1),
    ],
)
def test_what_is_permitted_and_by_what(caller: str, method: str, provider: str, rule: str) -> None:
    found = Rules(machine()).decide(caller, method, provider)
    assert (found.is_permitted, found.rule) == (True, rule)


@pytest.mark.parametrize(
    ("caller", "method", "provider"),
    [
        ("notes", f"{TEXT}.Count", "text"),  # an agent that it does not list
        ("notes", f"{TEXT}.Count", "speech"),  # one that it lists, but not what that provides
        ("speech", f"{SPEECH}.Detect", "speech"),  # itself
        ("speech", f"{TEXT}.Count", "text"),  # who lists nobody calls nobody
        ("text", f"{SPEECH}.Detect", "speech"),  # what another agent lists
        ("notes", f"{CONTROL}.Status", PID_1),
        ("notes", f"{CONTROL}.Shutdown", PID_1),
        ("notes", f"{GPU}.List", "gpu"),
        ("notes", f"{ABOUT}.GetInterfaceDescription", "text"),
        ("notes", "org.ainos.agent.Nobody.Call", ""),
        ("notes", SPEECH, "speech"),  # an interface is no method of its own
        ("gpu", f"{SPEECH}.Detect", "speech"),  # no agent
        (SEVERAL, f"{ABOUT}.GetInfo", PID_1),
        ("", f"{ABOUT}.GetInfo", PID_1),
    ],
)
def test_everything_else_is_forbidden(caller: str, method: str, provider: str) -> None:
    found = Rules(machine()).decide(caller, method, provider)
    assert (found.is_permitted, found.rule) == (False, DEFAULT)


def test_a_service_is_not_called_though_it_is_listed() -> None:
    units = [*machine(), unit("odd", AGENT, 61187, [], "agent:gpu")]
    assert not Rules(units).decide("odd", f"{GPU}.List", "gpu").is_permitted


def test_who_calls_is_told_by_its_user() -> None:
    rules = Rules(machine())
    assert [rules.caller(user) for user in (61184, 61186, 0, 1000)] == ["notes", "text", "", ""]


@pytest.mark.parametrize("kind", [AGENT, SERVICE, JOB])
def test_a_user_of_several_is_nobody_s(kind: str) -> None:
    units = [*machine(), unit("other", kind, 61184, [])]
    for order in (units, units[::-1]):
        assert Rules(order).caller(61184) == SEVERAL
        assert Rules(order).caller(61185) == "speech"


def test_the_superuser_is_no_agent_whatever_a_plan_says() -> None:
    assert Rules([unit("notes", AGENT, 0, [])]).caller(0) == ""


@pytest.mark.parametrize(
    ("interface", "member", "about", "provider"),
    [
        (SPEECH, "Detect", None, "speech"),
        (GPU, "List", None, "gpu"),
        (CONTROL, "Status", None, PID_1),
        (ABOUT, "GetInfo", SPEECH, PID_1),
        (ABOUT, "GetInterfaceDescription", SPEECH, "speech"),
        (ABOUT, "GetInterfaceDescription", CONTROL, PID_1),
        (ABOUT, "GetInterfaceDescription", "org.example.Nobody", ""),
        (ABOUT, "GetInterfaceDescription", 7, PID_1),
        ("org.example.Nobody", "Call", None, ""),
    ],
)
def test_whose_answer_is_asked_for(
    interface: str, member: str, about: object, provider: str
) -> None:
    assert Rules(machine()).provider(interface, member, about) == provider


def test_the_policies_of_a_machine() -> None:
    assert cedar.policies(machine()).split("\n\n")[1] == (
        '@id("notes: agent:speech")\n'
        "permit (\n"
        '  principal == AINOS::Agent::"notes",\n'
        '  action in [AINOS::Action::"org.ainos.agent.Speech", '
        'AINOS::Action::"org.varlink.service"],\n'
        '  resource == AINOS::Agent::"speech"\n'
        ");\n"
    )


def plans(seed: int) -> Iterator[list[Unit]]:
    """Machines of a few units that list and provide at random, services and nobody included."""
    chance = random.Random(seed)
    for _ in range(PLANS):
        agents = [f"agent-{number}" for number in range(chance.randint(1, 5))]
        services = [f"service-{number}" for number in range(chance.randint(0, 2))]
        interfaces = [f"org.ainos.agent.A{number}" for number in range(6)]
        chance.shuffle(interfaces)
        made = []
        for user, name in enumerate([*agents, *services], 61184):
            kind = AGENT if name in agents else SERVICE
            provides = [interfaces.pop() for _ in range(chance.randint(0, 2)) if interfaces]
            names = [each for each in [*agents, *services, "nobody"] if each != name]
            listed = chance.sample(names, chance.randint(0, len(names)))
            listed = listed if kind == AGENT else []
            made.append(unit(name, kind, user, provides, *(f"agent:{each}" for each in listed)))
        yield made


def uid(kind: str, name: str) -> str:
    return f'{kind}::"{name}"'


def triples(units: Sequence[Unit]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Every agent, every method, and every provider with its type."""
    agents = [each.name for each in units if each.kind == AGENT]
    provided = [name for each in units for name in each.provides]
    methods = [f"{name}.{member}" for name in (*provided, CONTROL, GPU) for member in ("A", "B")]
    methods += [f"{ABOUT}.GetInfo", f"{ABOUT}.GetInterfaceDescription"]
    providers = [(cedar.type_of(each), each.name) for each in units]
    providers += [(cedar.SERVICE_TYPE, PID_1), (cedar.AGENT_TYPE, "nobody")]
    return product(agents, methods, providers)


@pytest.mark.parametrize("seed", range(4))
def test_cedar_decides_as_we_do(seed: int) -> None:
    count = permitted = 0
    for units in plans(seed):
        rules, asked = Rules(units), list(triples(units))
        entities = cedar.entities(units, [method for _, method, _ in asked])
        requests: list[dict[str, object]] = [
            {
                "principal": uid(cedar.AGENT_TYPE, agent),
                "action": uid(cedar.ACTION_TYPE, method),
                "resource": uid(*provider),
                "context": {},
            }
            for agent, method, provider in asked
        ]
        results = cedarpy.is_authorized_batch(requests, cedar.policies(units), json.dumps(entities))
        for (agent, method, (kind, provider)), result in zip(asked, results, strict=True):
            ours = rules.decide(agent, method, provider).is_permitted
            assert result.diagnostics.errors == []
            assert result.allowed == ours, (agent, method, kind, provider)
            permitted += ours
        count += len(asked)
    assert count >= TRIPLES_LEAST
    assert 0 < permitted < count / 2
