"""Operators and a machine with keys in files, for tests that need no TPM."""

from __future__ import annotations

from pathlib import Path

from ainit.policy.remote import Operator
from ainit.remote.operator import Folder


def operator(place: Path, name: str, role: str) -> tuple[Folder, Operator]:
    """An operator's folder with a key, and how a machine's configuration names him."""
    folder = Folder(str(place / name))
    return folder, Operator(name, role, folder.make_key(name))
