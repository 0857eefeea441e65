"""The models that PID 1 measured and handed over: one file as an open descriptor, several as a
directory in which those very files are mounted.

>>> content("silero-vad")                                            # doctest: +SKIP
b'\\x08\\x0a…'
>>> os.listdir(directory("llama"))                                   # doctest: +SKIP
['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', …]
"""

from __future__ import annotations

import os

from ..errors import UnavailableError

PREFIX = "AINOS_MODEL_"
DESCRIPTORS = "/proc/self/fd"


def variable(name: str) -> str:
    """The environment variable that names the descriptor of the model ``name``."""
    return PREFIX + name.upper().replace("-", "_")


def content(name: str) -> bytes:
    """The bytes of a model, read through the very descriptor that was measured.

    Raises UnavailableError when it was not handed over or is several files, OSError when a page
    does not match what was measured (fs-verity).
    """
    folder, _, number = os.environ.get(variable(name), "").rpartition("/")
    if folder != DESCRIPTORS or not number.isdecimal():
        raise UnavailableError(f"model {name} was not handed over as one file")
    descriptor = int(number)
    size = os.fstat(descriptor).st_size
    found = bytearray()
    while chunk := os.pread(descriptor, size - len(found), len(found)):
        found += chunk
    return bytes(found)


def directory(name: str) -> str:
    """Where the files of a model of several are, under the names that its publisher gave them.

    Raises UnavailableError when it was not handed over, or is one file.
    """
    path = os.environ.get(variable(name), "")
    if not path.startswith("/") or path.startswith(f"{DESCRIPTORS}/"):
        raise UnavailableError(f"model {name} was not handed over as several files")
    return path
