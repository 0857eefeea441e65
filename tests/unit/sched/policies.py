"""Policies for tests: the one that ships, and its mutants, built once per run."""

from __future__ import annotations

from functools import cache

from lib import policy

from tests.support import scratch

NAMES = ("", *policy.MUTANTS)


@cache
def path_of(mutant: str = "") -> str:
    """The file of the policy, or of that mutant."""
    return str(policy.build(scratch.directory("ainos-policy-") / "placement.onnx", mutant or None))
