"""Keylime's policy from the golden values of a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.cli import main
from ainit.keylime.policy import tpm_policy
from tests.unit.attest.machine import golden, manifest


def test_every_predicted_pcr_has_its_one_value() -> None:
    policy = tpm_policy(golden())
    assert list(policy) == ["4", "7", "9", "11", "12", "13", "14"]
    assert policy["13"] == [golden().pcrs[13].hex()]


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest()))
    assert main(["attest", "keylime-policy", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == tpm_policy(golden())


def test_a_file_that_is_no_manifest_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "manifest.json"
    file.write_text("{}")
    assert main(["attest", "keylime-policy", str(file)]) == 1
    assert str(file) in capsys.readouterr().err
