"""Reads files and commands out of a page of the documentation, and does what it says.

A file is a code block below a line that is nothing but its path. A block ``sh`` is commands; one
with a further word (`BOOT`) is the caller's to do. A block ``json`` is what the last command before
it must print. A line that defines a shell function holds from then on.

    walk = Walk(home)
    for piece in pieces(PAGE, OFFLINE): walk.take(piece)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import REPOSITORY

PAGE = REPOSITORY / "docs/your-own-agent.md"
DEADLINE_S = 300.0
OFFLINE, ONLINE = "On your computer", "On a machine"
BOOT = "sh boot"
_PIECE = re.compile(
    r"^(?:`(?P<path>~/\S+)`\n)?```(?P<kind>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE
)
_FUNCTION = re.compile(r"^\w+\(\) \{.*\}$")


@dataclass(frozen=True)
class Piece:
    """A code block: ``kind`` is what stands behind its fence, ``path`` where a file goes."""

    kind: str
    text: str
    path: str = ""


def pieces(page: Path, heading: str) -> list[Piece]:
    """The code blocks of a section."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"{page} has no section {heading!r}"
    section = rest.partition("\n## ")[0]
    return [
        Piece(each["kind"], each["text"], each["path"] or "") for each in _PIECE.finditer(section)
    ]


class Walk:
    """Somebody with the home directory ``home``, in a checkout. Fails on a command that fails."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._functions = ""
        self.said = ""

    def take(self, piece: Piece) -> None:
        """Do what a piece says, all at once."""
        if piece.path:
            self.place(piece.path).write_text(piece.text, encoding="utf-8")
        elif piece.kind == "sh":
            self.run(piece.text)
        elif piece.kind == "json":
            assert json.loads(self.said) == json.loads(piece.text)

    def place(self, path: str) -> Path:
        """A path of the page, which begins at the home directory."""
        return self._home / path.removeprefix("~/")

    def run(self, script: str) -> str:
        """Run commands; returns what they printed."""
        lines = script.splitlines(keepends=True)
        self._functions += "".join(line for line in lines if _FUNCTION.match(line))
        done = subprocess.run(
            ["/bin/bash", "-euc", self._functions + script],
            cwd=REPOSITORY,
            env={**os.environ, "HOME": str(self._home), "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        self.said = done.stdout
        return self.said


def before_a_machine(home: Path) -> Walk:
    """Somebody who did all that the page says to do before there is a machine."""
    walk = Walk(home)
    for piece in pieces(PAGE, OFFLINE):
        walk.take(piece)
    return walk
