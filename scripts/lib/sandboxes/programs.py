"""Ordinary programs, each run without a sandbox and in one with the profile that fits it: what it
prints and how it ends must be the same. ``ordinary.toml`` has them. A program that this host lacks
is not run, by name.

    for program in read(): print(program.name, compare(world, program))
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import models
from tests.support.probed import BARE, USER, World

FILE = Path(__file__).with_name("ordinary.toml")
WORK = "work"
PYTHON = "/usr/bin/python3"
SITE = os.path.realpath(sysconfig.get_path("purelib"))
SAME = ""
_ENVIRONMENT = {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8", "ORT_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Program:
    """``python`` or ``shell`` is what is run; ``sandbox`` is its manifest's table."""

    name: str
    python: str = ""
    shell: str = ""
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    packages: bool = False
    needs: Sequence[str] = ()


def read() -> list[Program]:
    """The programs of the file."""
    records = tomllib.loads(FILE.read_text(encoding="utf-8"))["program"]
    return [Program(**record) for record in records]


def compare(world: World, program: Program) -> str:
    """`SAME`, or how it differs. Raises FileNotFoundError for what this host lacks."""
    for path in program.needs:
        if not os.path.exists(path):
            raise FileNotFoundError(f"no {path}")
    free, locked = (_run(world, program, sandboxed=each) for each in (False, True))
    return SAME if free == locked else f"{locked} instead of {free}"


def _run(world: World, program: Program, *, sandboxed: bool) -> tuple[int, str]:
    work = world.directory / WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    os.chown(work, USER, USER)
    executed = [str(work) if each == WORK else each for each in program.sandbox.get("execute", [])]
    record = {**program.sandbox, "execute": executed, "write": [str(work)]}
    begin = f"import os, sys; os.chdir({str(work)!r})\n"
    if program.packages:
        record["read"] = [SITE]
        begin += f"sys.path.append({SITE!r})\n"
    argv = [PYTHON, "-I", "-c", begin + program.python]
    if program.shell:
        argv = ["/bin/sh", "-c", f"cd {work}\n{program.shell}"]
    model = os.open(_model(world.directory), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return world.start(
            argv,
            world.sandbox(record, files=[3]) if sandboxed else BARE,
            environment=_ENVIRONMENT,
            descriptors=[model],
        )
    finally:
        os.close(model)


def _model(folder: Path) -> Path:
    found = folder / Path(models.MAGIKA).name
    return found if found.exists() else models.extract(models.MAGIKA, folder)
