"""What a release of a model says of itself: its name, its version, each file of its delivery.

A delivery is what ``models add`` takes: ``record.json``, ``model.sig``, and the model's files. In a
repository they are targets under ``CHANNEL/model.NAME/VERSION/``, beside the images: these are
words joined by ``-``, which have no dot, so neither can be taken for the other. Leaves out who may
sign the model: the store judges that. Pure.

>>> image_of("speech")
'model.speech'
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RefusedError
from ..policy.model_files import is_file
from .release import DESCRIPTION, File, described, file_of, order, to_bytes

RECORD = "record.json"
SIGNATURE = "model.sig"
SMALL = {RECORD: 64 << 10, SIGNATURE: 1 << 20}  # bytes at most of those two
_PREFIX = "model."
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class ModelRelease:
    """A version of a model. ``files`` are those of its delivery."""

    model: str
    version: str
    files: Mapping[str, File]

    @property
    def image(self) -> str:
        """Where it lies in a channel, such as ``model.speech``."""
        return image_of(self.model)

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files.values())

    def facts(self) -> dict[str, object]:
        """All but the files: the custom metadata of each of its targets."""
        return {"model": self.model, "version": self.version}

    def to_bytes(self) -> bytes:
        """The description as it is published: sorted, one form only."""
        return to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> ModelRelease:
        """Read a description. Raises RefusedError with what is wrong."""
        with described(data, ("model", "version")) as record:
            if not isinstance(record["version"], str):
                raise ValueError("version is not text")
            order(record["version"])
            image_of(record["model"])
            files = {name: _file(name, each) for name, each in record["files"].items()}
            if missing := sorted(SMALL.keys() - files.keys()):
                raise ValueError(f"it has no {', '.join(missing)}")
            return cls(record["model"], record["version"], files)


def image_of(model: object) -> str:
    """Where the releases of a model lie in a channel. Raises RefusedError for what is no name."""
    if not isinstance(model, str) or not _NAME.fullmatch(model):
        raise RefusedError(f"{model!r} is no name of a model: a-z, 0-9 and -, 32 at most")
    return _PREFIX + model


def is_model(image: str) -> bool:
    """Whether what lies there in a channel is a model."""
    return image.startswith(_PREFIX)


def named(record: bytes) -> str:
    """The name that a delivery's record gives the model; empty when it gives none."""
    try:
        found = json.loads(record)
    except ValueError:
        return ""
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""


def _file(name: str, record: Mapping[str, Any]) -> File:
    if not is_file(name) or name == DESCRIPTION:
        raise ValueError(f"{name!r} is no name of a model's file")
    file = file_of(name, record)
    if file.size > SMALL.get(name, file.size):
        raise ValueError(f"{name} has {file.size} bytes, more than {SMALL[name]}")
    return file
