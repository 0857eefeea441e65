"""The machine configuration: every key arrives, every finding comes at once, and what is measured
says which configuration it was.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy.machine_config import TABLES, machine
from ainit.policy.phases import configuration as measured


def of_machine(text: str) -> list[str]:
    return [str(finding) for finding in machine(text, "m.toml")[1]]


def test_a_machine_without_configuration_is_the_strict_one() -> None:
    settings, findings = machine("", "m.toml")
    assert findings == []
    assert settings["hostname"] == "ainos"
    assert settings["without_tpm"] == settings["without_enforcement"] == "refuse"
    assert settings["disabled"] == settings["replace"] == []


def test_every_key_of_a_machine_arrives() -> None:
    text = """\
[machine]
hostname = "rack-7"
[policy]
without_tpm = "start"
[units]
disabled = ["crash"]
replace = ["network", "gpu"]
"""
    settings, findings = machine(text, "m.toml")
    assert findings == []
    assert (settings["hostname"], settings["without_tpm"]) == ("rack-7", "start")
    assert (settings["disabled"], settings["replace"]) == (["crash"], ["network", "gpu"])


@pytest.mark.parametrize("number", [0, 8, 64])
def test_how_many_gpus_are_expected(number: int) -> None:
    settings, findings = machine(f"[gpu]\nexpected = {number}\n", "m.toml")
    assert (findings, settings["gpu"]) == ([], {"expected": number})
    assert "gpu" not in machine("", "m.toml")[0]


@pytest.mark.parametrize("value", ["-1", "65", '"8"', "true", "1.5"])
def test_an_expectation_that_is_none_is_refused_with_its_line(value: str) -> None:
    assert of_machine(f"[gpu]\nexpected = {value}\n") == [
        "m.toml:2: expected is a whole number from 0 to 64"
    ]
    assert of_machine("[gpu]\nexpect = 8\n")[0].startswith("m.toml:2: unknown key")


@pytest.mark.parametrize("key", ["without_tpm", "without_enforcement"])
@pytest.mark.parametrize("word", ["refuse", "start"])
def test_a_machine_without_something_refuses_or_starts(key: str, word: str) -> None:
    settings, findings = machine(f'[policy]\n{key} = "{word}"\n', "m.toml")
    assert (findings, settings[key]) == ([], word)


def test_an_unknown_table_is_told_which_there_are() -> None:
    known = ", ".join(sorted(TABLES))
    assert of_machine("[clock]") == [f"m.toml:1: unknown table [clock] (known: {known})"]


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
        "m.toml:3: hostname is a host name",
        "m.toml:4: unknown key domain",
        "m.toml:1: policy is a table",
        "m.toml:6: disabled is a list",
    ]
    assert any(finding.startswith("m.toml:8: dns") for finding in of_machine(text))


def test_what_is_no_toml_is_one_finding() -> None:
    settings, (finding,) = machine("= 1", "m.toml")
    assert str(finding).startswith("m.toml:1: not TOML")
    assert settings["without_tpm"] == "refuse"


def test_a_network_that_is_no_table() -> None:
    assert of_machine("\nnetwork = 1\n") == ["m.toml:2: network is a table"]


def test_without_units_the_file_itself_is_measured() -> None:
    assert measured(b"[machine]\n", {}) == b"[machine]\n"


def test_the_order_of_the_files_changes_nothing() -> None:
    one, other = {"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"}
    assert measured(b"x", one) == measured(b"x", other)
    assert measured(b"x", one) != measured(b"x", {"a": b"2", "b": b"1"})


texts = st.binary(max_size=40)
files = st.dictionaries(st.sampled_from(("a", "b", "a-b")), texts, max_size=3)


@given(texts, files, texts, files)
def test_different_configurations_are_measured_differently(
    text: bytes, units: dict[str, bytes], other_text: bytes, other_units: dict[str, bytes]
) -> None:
    same = (text, units) == (other_text, other_units)
    if units and not other_units:
        assert of_machine(measured(text, units).decode("latin-1"))  # no configuration is like it
    elif bool(units) == bool(other_units):
        assert (measured(text, units) == measured(other_text, other_units)) == same
