"""The models that PID 1 measured and handed over as open descriptors.

>>> content("silero-vad")                                            # doctest: +SKIP
b'\\x08\\x0a…'
"""

from __future__ import annotations

import os

from ..errors import UnavailableError

PREFIX = "AINOS_MODEL_"


def variable(name: str) -> str:
    """The environment variable that names the descriptor of the model ``name``."""
    return PREFIX + name.upper().replace("-", "_")


def content(name: str) -> bytes:
    """The bytes of a model, read through the very descriptor that was measured.

    Raises UnavailableError when it was not handed over, OSError when a page does not match what was
    measured (fs-verity).
    """
    folder, _, number = os.environ.get(variable(name), "").rpartition("/")
    if folder != "/proc/self/fd" or not number.isdecimal():
        raise UnavailableError(f"model {name} was not handed over")
    descriptor = int(number)
    size = os.fstat(descriptor).st_size
    found = bytearray()
    while chunk := os.pread(descriptor, size - len(found), len(found)):
        found += chunk
    return bytes(found)
