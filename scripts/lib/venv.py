"""Scripts that need a PyPI package run in ``build/venv``, whichever interpreter started them."""

from __future__ import annotations

import os
import sys

from lib.host import VENV, HostError


def enter() -> None:
    """Start this script again with the virtual environment's Python, unless it runs there already.

    Raises HostError when ``scripts/setup`` has not made the environment yet.
    """
    if sys.prefix == str(VENV):
        return
    python = VENV / "bin" / "python3"
    if not python.exists():
        raise HostError(f"{python} is not there; `scripts/setup run` makes it")
    os.execv(python, [str(python), *sys.argv])
