"""Policies for tests: the one that ships, and its mutants, built once per run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from lib import policy

NAMES = ("", *policy.MUTANTS)


@cache
def path_of(mutant: str = "") -> str:
    """The file of the policy, or of that mutant."""
    directory = Path(mkdtemp(prefix="ainos-policy-"))
    return str(policy.build(directory / "placement.onnx", mutant or None))
