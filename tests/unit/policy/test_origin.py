"""A stick is for a machine that nobody has configured."""

from __future__ import annotations

import pytest

from ainit.policy import origin


@pytest.mark.parametrize(
    ("configuration", "machine", "why"),
    [
        ("default", {}, ""),
        ("default", {"hostname": "ainos", "remote": None}, ""),
        ("default", {"remote": {"listen": [], "operators": []}}, ""),
        ("default", {"remote": {"operators": [{"name": "kim"}]}}, "who may steer it"),
        ("/var/lib/ainos/config/machine.toml", {}, "has a configuration"),
        ("SMBIOS", {}, "has a configuration: SMBIOS"),
        ("refused: machine.toml:3: unknown table", {}, "has a configuration"),
        ("", {}, "has a configuration"),
    ],
)
def test_what_is_configured_takes_none(
    configuration: str, machine: dict[str, object], why: str
) -> None:
    said = origin.refusal(configuration, machine)
    assert why in said
    assert bool(why) == bool(said)
