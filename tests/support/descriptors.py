"""The descriptors that this process has open, for tests of what is opened and closed."""

from __future__ import annotations

import gc
import os


def at_first() -> set[str]:
    """Their numbers once what earlier tests left behind is collected: it would be closed in the
    middle of a test, and its numbers counted as that test's.
    """
    gc.collect()
    return now()


def now() -> set[str]:
    """Their numbers, with that of the directory that is read."""
    return set(os.listdir("/proc/self/fd"))
