"""Every wrong key, type and value is a finding with file and line; all of them come at once."""

from __future__ import annotations

import pytest

from ainit.policy import config, plan

HEAD = '[service]\nexec = ["/bin/a"]\n'


def of_unit(text: str, name: str = "a") -> list[str]:
    return [str(finding) for finding in config.unit(text, "a.toml", name)[1]]


def of_agent(text: str) -> list[str]:
    return [str(finding) for finding in config.agent(text, "m.toml", "a", "/b")[1]]


def of_machine(text: str) -> list[str]:
    return [str(finding) for finding in config.machine(text, "m.toml")[1]]


FULL = """\
[service]
description = "all keys"
exec = ["/bin/a", "-x"]
type = "notify"
stage = "early"
after = ["b"]
requires = ["c"]
wants = ["d"]
provides = ["org.ainos.X"]
environment = { A = "b" }
models = ["m"]
optional_models = ["o"]
extensions = ["e"]
optional_extensions = ["f"]
essential = false
rescue = true
restart = "on-failure"
start_timeout_s = 3
stop_timeout_s = 0.5

[backoff]
first_s = 0.1
factor = 3
max_s = 9
limit = 0

[resources]
memory_max = "512M"
pids_max = 64
cpu_weight = 200
"""


def test_every_key_of_a_unit_arrives() -> None:
    unit, findings = config.unit(FULL, "a.toml", "a")
    assert findings == []
    assert (unit.name, unit.kind, unit.description) == ("a", plan.SERVICE, "all keys")
    assert (unit.exec, unit.type, unit.stage) == (["/bin/a", "-x"], plan.NOTIFY, plan.EARLY)
    assert (unit.after, unit.requires, unit.wants) == (["b"], ["c"], ["d"])
    assert (unit.provides, unit.environment) == (["org.ainos.X"], {"A": "b"})
    assert (unit.models, unit.optional_models) == (["m"], ["o"])
    assert (unit.extensions, unit.optional_extensions) == (["e"], ["f"])
    assert (unit.essential, unit.rescue, unit.restart) == (False, True, plan.ON_FAILURE)
    assert (unit.start_timeout, unit.stop_timeout) == (3.0, 0.5)
    assert (unit.backoff_first, unit.backoff_factor, unit.backoff_max) == (0.1, 3.0, 9.0)
    assert unit.backoff_limit == 0
    assert (unit.memory_max, unit.pids_max, unit.cpu_weight) == (512 << 20, 64, 200)
    assert unit.measurement == plan.OPTIONAL


def test_an_agent_must_be_measured_unless_it_says_otherwise() -> None:
    text = '[agent]\nexec = ["main.py"]\n[gpu]\nprofile = "1g.10gb+me"\n'
    unit, findings = config.agent(text, "m.toml", "a", "/bundle")
    assert findings == []
    assert (unit.kind, unit.measurement, unit.bundle) == (plan.AGENT, plan.REQUIRED, "/bundle")
    assert unit.gpu_profile == "1g.10gb+me"
    assert unit.gpu_required
    optional = text.replace("[gpu]", 'measurement = "optional"\n[gpu]')
    assert config.agent(optional, "m.toml", "a", "/b")[0].measurement == plan.OPTIONAL


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unknown = 1", "unknown key unknown (known: after, "),
        ("description = 3", "description is a string"),
        ('description = "\\u0000"', "description is a string"),
        ('type = "forking"', "type is one of simple, notify, oneshot"),
        ("type = []", "type is one of"),
        ('stage = "late"', "stage is one of early, main, healthy"),
        ('after = "b"', "after is a list"),
        ('after = ["B"]', "after is a name of lower-case"),
        ("requires = [3]", "requires is a name"),
        ('wants = ["a_b"]', "wants is a name"),
        ('provides = ["X"]', "provides is an interface such as"),
        ("environment = { A = 1 }", "environment is a table of strings"),
        ('environment = { "A-B" = "x" }', "environment is a table of strings"),
        ("environment = []", "environment is a table of strings"),
        ('models = ["../x"]', "models is a name"),
        ('models = ["x\\n"]', "models is a name"),
        ("essential = 1", "essential is true or false"),
        ('rescue = "yes"', "rescue is true or false"),
        ('restart = "sometimes"', "restart is one of always, on-failure, never"),
        ("start_timeout_s = 0", "start_timeout_s is a number from 0.1 to 3600"),
        ("start_timeout_s = nan", "start_timeout_s is a number"),
        ("stop_timeout_s = inf", "stop_timeout_s is a number"),
        ("stop_timeout_s = true", "stop_timeout_s is a number"),
        ('stop_timeout_s = "3"', "stop_timeout_s is a number"),
    ],
)
def test_wrong_key_of_a_service(line: str, message: str) -> None:
    (finding,) = of_unit(f"{HEAD}# a comment\n{line}\n")
    assert finding.startswith(f"a.toml:4: {message}")


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("backoff", "first_s = 0", "first_s is a number from 0.01 to 3600"),
        ("backoff", "factor = 0.5", "factor is a number from 1 to 10"),
        ("backoff", 'max_s = "x"', "max_s is a number"),
        ("backoff", "limit = -1", "limit is a whole number from 0 to"),
        ("backoff", "limit = 1.5", "limit is a whole number"),
        ("backoff", "limit = true", "limit is a whole number"),
        ("backoff", "jitter = 1", "unknown key jitter (known: factor, first_s, limit, max_s)"),
        ("resources", "memory_max = 512", 'memory_max is a size such as "512M"'),
        ("resources", 'memory_max = "512m"', "memory_max is a size"),
        ("resources", 'memory_max = "-1"', "memory_max is a size"),
        ("resources", "pids_max = 0", "pids_max is a whole number from 1"),
        ("resources", "cpu_weight = 10001", "cpu_weight is a whole number from 1 to 10000"),
        ("gpu", 'profile = "1g.10gb"', ""),
    ],
)
def test_wrong_key_of_another_table(table: str, line: str, message: str) -> None:
    (finding,) = of_unit(f"{HEAD}\n[{table}]\n{line}\n")
    if table == "gpu":  # of agents only
        assert finding == "a.toml:4: unknown table [gpu] (known: backoff, resources, service)"
    else:
        assert finding.startswith(f"a.toml:5: {message}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.toml:1: the table [service] is missing"),
        ("\n[service]\n", "a.toml:2: exec is missing"),
        ("[service]\n\nexec = []\n", "a.toml:3: exec is a list that is not empty"),
        ('[service]\nexec = ["a"]\n', "a.toml:2: exec starts with an absolute path"),
        ("[service]\nexec = [1]\n", "a.toml:2: exec is a string"),
        ("[service\n", "a.toml:1: not TOML: "),
    ],
)
def test_without_a_program_there_is_no_unit(text: str, expected: str) -> None:
    (finding,) = of_unit(text)
    assert finding.startswith(expected)


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a" * 33, "../a", "a\n"])
def test_a_unit_with_a_bad_name(name: str) -> None:
    (finding,) = of_unit(HEAD, name)
    assert finding == f"a.toml:1: {name!r} is no name: lower-case letters, digits, -"


@pytest.mark.parametrize("key", ['stage = "early"', "rescue = true"])
def test_an_agent_has_no_stage(key: str) -> None:
    (finding,) = of_agent(f'[agent]\nexec = ["a"]\n{key}\n')
    assert finding.startswith(f"m.toml:3: unknown key {key.split(maxsplit=1)[0]}")


@pytest.mark.parametrize("profile", ["1g", "1g.10gb ", "g.10gb", "1g.10gb+gfx", "1g.10gb\\n"])
def test_a_profile_that_is_none(profile: str) -> None:
    (finding,) = of_agent(f'[agent]\nexec = ["a"]\n[gpu]\nprofile = "{profile}"\n')
    assert finding == 'm.toml:4: profile is a MIG profile such as "1g.10gb"'


def test_all_findings_come_at_once() -> None:
    text = """\
backoff = 3
[service]
exec = "a"
type = "x"
colour = "red"
[resources]
pids_max = 0
[other]
[more.tables]
"""
    assert [finding.partition(" (")[0] for finding in of_unit(text)] == [
        "a.toml:8: unknown table [other]",
        "a.toml:9: unknown table [more]",
        "a.toml:3: exec is a list that is not empty",
        "a.toml:4: type is one of simple, notify, oneshot",
        "a.toml:5: unknown key colour",
        "a.toml:1: backoff is a table",
        "a.toml:7: pids_max is a whole number from 1 to 4194304",
    ]


def test_a_machine_without_configuration_is_the_strict_one() -> None:
    settings, findings = config.machine("", "m.toml")
    assert findings == []
    assert settings["hostname"] == "ainos"
    assert settings["without_tpm"] == "refuse"
    assert settings["disabled"] == []


def test_every_key_of_a_machine_arrives() -> None:
    text = """\
[machine]
hostname = "rack-7"
[policy]
without_tpm = "start"
[units]
disabled = ["crash"]
"""
    settings, findings = config.machine(text, "m.toml")
    assert findings == []
    assert (settings["hostname"], settings["without_tpm"]) == ("rack-7", "start")
    assert settings["disabled"] == ["crash"]


def test_all_findings_of_a_machine_come_at_once() -> None:
    text = """\
policy = "strict"
[machine]
hostname = "-x"
domain = "y"
[units]
disabled = "x"
[network]
dns = 3
[clock]
"""
    assert [finding.partition(" (")[0] for finding in of_machine(text)][:5] == [
        "m.toml:9: unknown table [clock]",
        "m.toml:4: unknown key domain",
        "m.toml:3: hostname is a host name",
        "m.toml:1: policy is a table",
        "m.toml:6: disabled is a list",
    ]
    assert any(finding.startswith("m.toml:8: dns") for finding in of_machine(text))
