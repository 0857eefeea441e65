"""A short directory for sockets, whose paths have 107 characters at most."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sockets() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="ainit-"))
    yield directory
    shutil.rmtree(directory)
