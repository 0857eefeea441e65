"""The ``machine`` fixture: a PID 1 in namespaces of its own, gone without trace after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pidns.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine that is not booted yet."""
    made = Machine()
    try:
        yield made
    finally:
        made.destroy()
