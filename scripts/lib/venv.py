"""Scripts that need a PyPI package run in ``build/venv``, whichever interpreter started them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.host import BUILD, REPOSITORY, VENV, HostError, published, run
from lib.progress import step
from lib.setup import PYTHON

INSTALL_DEADLINE_S = 3600


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


def prepare(mode: str, *, image: bool = False) -> None:
    """Set the host up for ``mode`` (see ``scripts/setup``), build the image if one is wanted, and
    enter. Raises HostError.
    """
    if not entered():
        call("scripts/setup", mode)
        if image:
            call("scripts/image")
        enter()


def call(*command: str) -> None:
    """Run one of our scripts, whose output people see as it comes. Raises HostError."""
    if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
        raise HostError(f"`{' '.join(command)}` failed, see above")


def own(name: str, requirements: Sequence[str]) -> Path:
    """The Python of ``build/NAME``, an environment of these lists in ``scripts/``, all pinned by
    hash. It is made anew when what it is made from has changed. Raises HostError.
    """
    folder = BUILD / name
    lists = [REPOSITORY / "scripts" / each for each in requirements]
    inputs = hashlib.sha256(b"".join(each.read_bytes() for each in lists)).hexdigest()
    stamp = folder / "inputs.sha256"
    if not (stamp.exists() and stamp.read_text() == inputs):
        with step(name):
            shutil.rmtree(folder, ignore_errors=True)
            run([str(PYTHON), "-m", "venv", str(folder)])
            pip = [str(folder / "bin/pip"), "install", "--quiet", "--require-hashes"]
            for each in lists:
                run([*pip, "--requirement", str(each)], timeout=INSTALL_DEADLINE_S)
            with published(stamp) as file:
                file.write_text(inputs)
    return folder / "bin/python"
