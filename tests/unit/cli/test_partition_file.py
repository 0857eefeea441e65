from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ainit.cli.partition_file import load
from ainit.errors import ConfigError

FILE = """\
version: v1
mig-configs:
  small:
    - devices: all
      device-filter: ["0x233010DE", "0x20B010DE"]
      mig-enabled: true
      mig-devices:
        "1g.10gb": 2
        3g.40gb: 1
  placed:
    - devices: [0, 2]
      mig-enabled: true
      mig-devices: ["3g.40gb@4", "1g.10gb"]
    - devices: [1]
      mig-enabled: false
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partition.yaml"


def findings(path: Path, text: str, config: str = "") -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, config)
    return [f"{each.line}: {each.message}" for each in caught.value.findings]


def test_mig_parteds_format_is_read(path: Path) -> None:
    path.write_text(FILE)
    name, [entry] = load(path, "small")
    assert name == "small"
    assert entry.line == 4
    assert entry.wire() == {
        "gpus": None,
        "kinds": [0x233010DE, 0x20B010DE],
        "mig": True,
        "instances": [
            {"profile": "1g.10gb", "start": None},
            {"profile": "1g.10gb", "start": None},
            {"profile": "3g.40gb", "start": None},
        ],
    }


def test_placements_may_be_given(path: Path) -> None:
    path.write_text(FILE)
    _, (first, second) = load(path, "placed")
    assert first.gpus == (0, 2)
    assert first.wants == (("3g.40gb", 4), ("1g.10gb", None))
    assert (second.line, second.gpus, second.mig, second.wants) == (14, (1,), False, ())


def test_the_same_is_read_as_json_without_a_yaml_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "partition.json"
    entry = {"devices": "all", "mig-enabled": True, "mig-devices": {"1g.10gb": 7}}
    path.write_text(json.dumps({"version": "v1", "mig-configs": {"all": [entry]}}))
    name, [found] = load(path, "")
    assert (name, len(found.wants)) == ("all", 7)
    [finding] = findings(tmp_path / "partition.yaml", FILE)
    assert "PyYAML is not installed" in finding


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        ("", "", "1: an object with version"),
        ("version: v2\nmig-configs: {}\n", "", "1: version is v1"),
        ("mig-configs: {}\n", "", "1: version is v1"),
        ("version: v1\nmig-configs: []\n", "", "2: mig-configs names at least one"),
        ("version: v1\nmig-configs:\n  a: {}\n", "", "3: a is a list"),
        (FILE, "", "2: --config says which one: small, placed"),
        (FILE, "large", "2: there is no configuration large; small, placed"),
        ("version: v1\nversion: v1\n", "", "2: version is there twice"),
        ("version: [v1\n", "", "2: not YAML"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(path: Path, text: str, config: str, expected: str) -> None:
    [finding] = findings(path, text, config)
    assert finding.startswith(expected)


def test_json_that_is_none_has_its_line(tmp_path: Path) -> None:
    [finding] = findings(tmp_path / "partition.json", '{"version":\n"v1",}')
    assert finding.startswith("2: ")


def test_every_wrong_key_is_found_with_its_line(path: Path) -> None:
    text = """\
version: v1
mig-configs:
  a:
    - devices: some
      mig-enabled: maybe
      mig-devices:
        1g.10gb: many
    - devices: [0]
      device-filter: h100
      mig-enabled: false
      mig-device: {}
      mig-devices: ["1g.10gb@x"]
    - 7
"""
    found = findings(path, text)
    assert [each.split(":")[0] for each in found] == ["4", "5", "6", "11", "9", "12", "3"]
    assert "1g.10gb: 'many' is no number" in found[2]
    assert "there is no mig-device" in found[3]
    assert "a memory slice comes after @" in found[5]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ('{"1c.3g.40gb": 1}', "compute instances"),
        ("{1g.10gb: -1}", "no number"),
        ("{1g.10gb: true}", "no number"),
        ("7", "maps profiles"),
        ("[1]", "1 is no profile"),
    ],
)
def test_instances_that_cannot_be(path: Path, devices: str, expected: str) -> None:
    entry = f"{{devices: all, mig-enabled: true, mig-devices: {devices}}}"
    [finding] = findings(path, f"version: v1\nmig-configs:\n  a: [{entry}]\n")
    assert finding.startswith("3: ")
    assert expected in finding


def test_no_instances_where_mig_is_off(path: Path) -> None:
    entry = "{devices: all, mig-enabled: false, mig-devices: {1g.10gb: 1}}"
    [finding] = findings(path, f"version: v1\nmig-configs:\n  a: [{entry}]\n")
    assert "mig-enabled is false" in finding
