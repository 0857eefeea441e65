"""Who may steer the machine over the network: every key arrives, every finding comes at once."""

from __future__ import annotations

import json

import pytest

from ainit.policy.machine_config import machine
from ainit.policy.remote import OPERATORS_MAX, Operator, from_record

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
HEAD = '[remote]\nlisten = "tcp:0.0.0.0:7443"\n'


def one(name: str = "alice", role: str = "admin") -> str:
    return f"[remote.operators.{name}]\nrole = \"{role}\"\ncertificate = '''\n{PEM}'''\n"


def findings(text: str) -> list[str]:
    return [str(finding) for finding in machine(text, "m.toml")[1]]


def test_every_key_arrives_through_json() -> None:
    settings, wrong = machine(HEAD + one("bob", "viewer") + one(), "m.toml")
    assert wrong == []
    listen, operators = from_record(json.loads(json.dumps(settings["remote"])))
    assert listen == "tcp:0.0.0.0:7443"
    assert [(each.name, each.role) for each in operators] == [("alice", "admin"), ("bob", "viewer")]
    assert operators[0].certificate.strip() == PEM.strip()


def test_without_the_table_there_is_nothing() -> None:
    assert machine("", "m.toml") == (machine("[remote]", "m.toml")[0], [])
    assert "remote" not in machine("", "m.toml")[0]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (HEAD, "m.toml:1: [remote] names no operators: nobody is let in"),
        ("[remote]\n" + one(), "m.toml:1: [remote] needs listen: tcp:ADDRESS:PORT"),
        (one(), "m.toml:1: [remote] needs listen: tcp:ADDRESS:PORT"),
        ('[remote]\nlisten = "unix:/x"\n' + one(), "m.toml:2: listen has 'unix'"),
        ('[remote]\nlisten = "tcp:name:1"\n' + one(), "m.toml:2: listen has name, which is no"),
        (HEAD + "colour = 1\n" + one(), "m.toml:3: unknown key colour (known: listen, operators)"),
        (HEAD + "operators = 3\n", "m.toml:3: operators is a table"),
        (HEAD + "[remote.operators]\nalice = 3\n", "m.toml:4: alice is a table"),
        (HEAD + one("Alice"), "m.toml:3: Alice is no name of an operator"),
        (HEAD + one(role="root"), "m.toml:4: role is one of viewer, operator, admin"),
        (HEAD + one().replace("MIIB", "{"), "m.toml:5: certificate is one certificate in PEM form"),
        (HEAD + one().replace("MIIB", "M" * 4000), "m.toml:5: certificate is one certificate"),
        (
            HEAD + one().replace(PEM, PEM + PEM),
            "m.toml:5: certificate is one certificate in PEM form",
        ),
        (
            HEAD + '[remote.operators.a]\nrole = "admin"\n',
            "m.toml:3: the operator a needs certificate",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text: str, finding: str) -> None:
    assert [each for each in findings(text) if each.startswith(finding)]


def test_every_finding_comes_at_once() -> None:
    text = HEAD + one("a", "x") + one("B") + one("c", "y")
    assert len(findings(text)) == 3


def test_of_an_operator_with_a_wrong_name_nothing_else_is_told() -> None:
    text = HEAD + one() + "[remote.operators.B]\n"
    assert findings(text) == ["m.toml:10: B is no name of an operator"]


def test_there_are_only_so_many() -> None:
    text = HEAD + "".join(one(f"o{number}") for number in range(OPERATORS_MAX))
    assert findings(text) == []
    text += one("more")
    assert findings(text) == [f"m.toml:3: {OPERATORS_MAX} operators are the most"]


@pytest.mark.parametrize("record", [None, {}, [], {"listen": 3}, {"operators": []}])
def test_a_record_that_is_none(record: object) -> None:
    with pytest.raises(ValueError, match="no settings"):
        from_record(record)


def test_a_record_without_operators() -> None:
    assert from_record({"listen": "tcp:[::]:1"}) == ("tcp:[::]:1", [])
    operator = {"name": "a", "role": "admin", "certificate": "x"}
    assert from_record({"listen": "x", "operators": [operator]})[1] == [Operator("a", "admin", "x")]
