"""The golden values of one build: what ``manifest.json`` predicts that the machine measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigError, Finding
from ..policy import phases
from ..wire import codec

PREDICTED_PCRS = (4, 7, 9, 11, *phases.CAPPED)


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something that the machine must measure, with its fs-verity digest (``sha256:<hex>``)."""

    kind: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Golden:
    """The predicted PCR values and artefacts of one build."""

    version: str
    pcrs: dict[int, bytes]
    artefacts: tuple[Artefact, ...]
    variables: Mapping[str, bytes] = field(default_factory=dict)  # digests of measured variables


def parse_manifest(text: str | bytes, file: str = "manifest.json") -> Golden:
    """The golden values in a build manifest. Raises ConfigError with every problem found."""
    problems: list[str] = []
    try:
        manifest = codec.loads(text)
    except ValueError as error:
        raise ConfigError([Finding(file, 1, f"not JSON: {error}")]) from error
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise ConfigError([Finding(file, 1, "not a build manifest of schema 1")])
    pcrs = _pcrs(manifest.get("pcrs"), problems)
    artefacts = [
        *_artefacts(manifest.get("models"), None, "models", problems),
        *_artefacts(manifest.get("agents"), phases.AGENT, "agents", problems),
    ]
    config = manifest.get("machine_config")
    if isinstance(config, dict) and _is_digest(config.get("digest")):
        name = config.get("name", "machine")
        artefacts.append(Artefact(phases.MACHINE_CONFIG, str(name), str(config["digest"])))
    else:
        problems.append("machine_config.digest is no sha256:<hex> digest")
    known = manifest.get("variables", {})
    if not isinstance(known, dict) or not all(_is_digest(f"sha256:{v}") for v in known.values()):
        problems.append("variables holds something that is no SHA-256 value in hexadecimal")
    if problems:
        raise ConfigError([Finding(file, 1, problem) for problem in problems])
    variables = {name: bytes.fromhex(text) for name, text in known.items()}
    return Golden(str(manifest.get("version", "")), pcrs, tuple(artefacts), variables)


def _pcrs(table: object, problems: list[str]) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    for pcr in PREDICTED_PCRS:
        value = table.get(str(pcr)) if isinstance(table, dict) else None
        if isinstance(value, str) and _is_digest(f"sha256:{value}"):
            values[pcr] = bytes.fromhex(value)
        else:
            problems.append(f"pcrs.{pcr} is no SHA-256 value in hexadecimal")
    return values


def _artefacts(table: object, kind: str | None, where: str, problems: list[str]) -> list[Artefact]:
    found: list[Artefact] = []
    if not isinstance(table, list):
        problems.append(f"{where} is no list")
        return found
    for number, entry in enumerate(table):
        fields = entry if isinstance(entry, dict) else {}
        own, name, digest = fields.get("kind", kind), fields.get("name"), fields.get("digest")
        if own not in phases.KIND_PCR or not isinstance(name, str) or not _is_digest(digest):
            problems.append(f"{where}[{number}] lacks a kind, a name or a sha256:<hex> digest")
        else:
            found.append(Artefact(str(own), name, str(digest)))
    return found


def _is_digest(value: object) -> bool:
    text = value.removeprefix("sha256:") if isinstance(value, str) else ""
    return value == f"sha256:{text}" and len(text) == 64 and set(text) <= set("0123456789abcdef")
