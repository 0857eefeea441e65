"""Scripts that need a PyPI package run in ``build/venv``, whichever interpreter started them."""

from __future__ import annotations

import os
import sys

from lib.host import VENV, HostError


def entered() -> bool:
    """Whether this process runs in the virtual environment already."""
    return sys.prefix == str(VENV)


def enter() -> None:
    """Start this script again with the virtual environment's Python, unless it runs there already.

    Raises HostError when ``scripts/setup`` has not made the environment yet.
    """
    if entered():
        return
    python = VENV / "bin" / "python3"
    if not python.exists():
        raise HostError(f"{python} is not there; `scripts/setup run` makes it")
    os.execv(python, [str(python), *sys.argv])
