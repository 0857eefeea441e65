"""Compiles numeric functions with numba where it is installed; without it they run as they are.

The feature kernels of ``ainit.sched.features`` are compiled from the same code objects that the
service runs, so that training and service cannot differ.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from .. import features

_F = TypeVar("_F", bound=Callable[..., Any])

IS_COMPILED = importlib.util.find_spec("numba") is not None
CACHE = Path(__file__).resolve().parents[3] / "build" / "cache" / "numba"


# What a simulated result depends on, beside its weights and traces.
CORE = ("boards.json", "features.py", "geometry.py", "place.py", "state.py")
SIMULATION = (
    "boards", "bound", "cells", "compare", "compiled", "describe", "engine", "metrics", "miso",
    "options", "rules", "run", "static", "traces", "weights", "windows",
    "workload",
)  # fmt: skip


def sources() -> str:
    """A digest over the code that is compiled, and over what else results depend on."""
    here = Path(__file__).resolve().parent
    files = [*(here / f"{each}.py" for each in SIMULATION), *(here.parent / each for each in CORE)]
    return hashlib.sha256(b"\0".join(each.read_bytes() for each in files)).hexdigest()


# numba looks at one file when it decides whether what it kept is still right; here it is all.
os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE / sources()[:16]))


def compiled(function: _F) -> _F:
    """The function, compiled at its first call."""
    if not IS_COMPILED:
        return function
    jitted: _F = importlib.import_module("numba").njit(function, cache=True)
    return jitted


def kernels() -> dict[str, Callable[..., Any]]:
    """The functions of ``features.KERNELS``, compiled in order: later ones call earlier ones."""
    names: dict[str, Any] = dict(vars(features))
    for name in features.KERNELS:
        plain = getattr(features, name)
        names[name] = compiled(FunctionType(plain.__code__, names, name))
    return {name: names[name] for name in features.KERNELS}
