"""A machine's own configuration on top of its image."""

from __future__ import annotations

import pytest

from ainit.errors import ConfigError
from ainit.policy.candidate import compile_over, unit_name
from ainit.policy.plan import AGENT, SERVICE, Plan, Unit

WEATHER = '[service]\nexec = ["/usr/bin/weather"]\n'


def image() -> Plan:
    network, gpu, agent = Unit("network", SERVICE), Unit("gpu", SERVICE), Unit("agent", AGENT)
    network.exec, gpu.exec, agent.exec = ["/usr/bin/net"], ["/usr/bin/gpu"], ["main"]
    agent.user = 61184
    return Plan([gpu, network, agent], {"hostname": "ainos", "disabled": []})


def findings(files: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_over(image(), files)
    return [str(finding) for finding in caught.value.findings]


def test_without_files_it_is_the_image() -> None:
    found = compile_over(image(), {})
    assert [unit.name for unit in found.units] == ["agent", "gpu", "network"]
    assert found.machine == {"hostname": "ainos", "disabled": []}


def test_a_unit_is_added_and_hangs_together_with_those_of_the_image() -> None:
    found = compile_over(image(), {"units/a.toml": WEATHER + 'requires = ["network"]\n'})
    assert [unit.name for unit in found.units] == ["agent", "gpu", "network", "a"]


def test_a_unit_of_the_image_is_replaced_when_that_is_said() -> None:
    files = {"machine.toml": '[units]\nreplace = ["network"]\n', "units/network.toml": WEATHER}
    found = {unit.name: unit for unit in compile_over(image(), files).units}
    assert (len(found), found["network"].exec) == (3, ["/usr/bin/weather"])


def test_a_unit_of_the_image_is_not_replaced_otherwise() -> None:
    assert findings({"units/network.toml": WEATHER}) == [
        "units/network.toml:1: network is a unit of the image; [units] replace does not name it"
    ]


def test_an_agent_is_never_replaced() -> None:
    files = {"machine.toml": '[units]\nreplace = ["agent"]\n', "units/agent.toml": WEATHER}
    assert findings(files) == [
        "units/agent.toml:1: agent is an agent of the image, which no unit replaces"
    ]


def test_replacing_nobody_or_by_nobody() -> None:
    files = {"machine.toml": '\n[units]\nreplace = ["gpu", "own"]\n', "units/own.toml": WEATHER}
    assert findings(files) == [
        "machine.toml:3: replace names gpu, but this machine has no unit of that name",
        "machine.toml:3: replace names own, but the image has no unit of that name",
    ]


@pytest.mark.parametrize(
    "program",
    ["/var/lib/x", "/run/x", "/tmp/x", "/usr/../var/x", "//var/x", "/./var/x", "/proc/self/x"],
)
def test_programs_lie_on_the_verified_root(program: str) -> None:
    text = f'[service]\nexec = ["/usr/bin/a"]\n[probe]\nexec = ["{program}"]\n'
    assert findings({"units/a.toml": text}) == [
        f"units/a.toml:4: {program} does not lie on the verified root"
    ]
    text = f'[service]\nexec = ["{program}"]\n'
    assert findings({"units/a.toml": text}) == [
        f"units/a.toml:2: {program} does not lie on the verified root"
    ]


def test_every_finding_comes_with_the_name_that_the_caller_gives() -> None:
    files = {"units/a.toml": "[service]\n", "machine.toml": "x = 1\n", "notes.txt": ""}
    labels = {"units/a.toml": "here/a.toml"}
    with pytest.raises(ConfigError) as caught:
        compile_over(image(), files, labels=labels)
    assert [str(finding).partition(" (")[0] for finding in caught.value.findings] == [
        "machine.toml:1: unknown table [x]",
        "notes.txt:1: is neither machine.toml nor units/NAME.toml",
        "here/a.toml:1: exec is missing",
    ]


def test_findings_between_files_are_located() -> None:
    files = {
        "machine.toml": '[units]\n\ndisabled = ["gpu", "nobody"]\n',
        "units/a.toml": WEATHER + 'requires = ["gpu"]\n',
    }
    assert findings(files) == [
        "machine.toml:3: disabled names no unit: nobody",
        "units/a.toml:3: a requires gpu, which is no unit",
    ]


def test_findings_in_the_image_name_it() -> None:
    files = {"machine.toml": '[units]\ndisabled = ["network"]\n'}
    base = image()
    base.units[0].requires = ["network"]
    with pytest.raises(ConfigError, match="the image:1: gpu requires network"):
        compile_over(base, files)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("units/a.toml", "a"),
        ("units/a-b.toml", "a-b"),
        ("units/.toml", ""),
        ("units/x/a.toml", None),
        ("units/a", None),
        ("a.toml", None),
        ("machine.toml", None),
    ],
)
def test_names_of_files(file: str, name: str | None) -> None:
    assert unit_name(file) == name
