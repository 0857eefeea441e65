from __future__ import annotations

import json

import pytest

from ainit.attest.golden import Artefact, parse_manifest
from ainit.errors import ConfigError

from .machine import CONFIG, manifest


def test_the_golden_values_of_a_build() -> None:
    golden = parse_manifest(json.dumps(manifest()))
    assert set(golden.pcrs) == {4, 7, 9, 11, 12, 13, 14}
    assert golden.version == "0.1"
    assert Artefact("policy", "placement", "sha256:" + "b" * 64) in golden.artefacts
    assert golden.artefacts[-1].kind == CONFIG.content["type"]


def test_every_problem_is_reported_with_the_file() -> None:
    broken = manifest()
    broken["pcrs"] = {"4": "short"}
    broken["models"] = [{"name": "x", "kind": "weights", "digest": "sha256:" + "0" * 64}]
    broken["agents"] = "none"
    broken["machine_config"] = {}
    with pytest.raises(ConfigError) as caught:
        parse_manifest(json.dumps(broken), "build/image/manifest.json")
    words = "\n".join(str(finding) for finding in caught.value.findings)
    assert len(caught.value.findings) == 10
    for word in ("pcrs.4", "pcrs.14", "models[0]", "agents", "machine_config"):
        assert word in words
    assert all(f.file == "build/image/manifest.json" for f in caught.value.findings)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "A" * 64, "sha1:" + "0" * 40, None, 7]
)
def test_a_digest_has_one_form(digest: object) -> None:
    broken = manifest()
    broken["machine_config"] = {"digest": digest}
    with pytest.raises(ConfigError, match="machine_config"):
        parse_manifest(json.dumps(broken))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema":2}', b"\xff"])
def test_other_files_are_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigError):
        parse_manifest(text)
