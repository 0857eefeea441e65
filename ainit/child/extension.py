"""The extensions that PID 1 measured and mounted for this agent: libraries that the root lacks.

>>> use()                                                            # doctest: +SKIP
['/run/ainit/extensions/cuda']
"""

from __future__ import annotations

import os
import sys

PREFIX = "AINOS_EXTENSION_"


def use() -> list[str]:
    """Put the agent's extensions first on the import path, and return where they are.

    What was imported before comes from the root: call this first.
    """
    found = [os.environ[name] for name in sorted(os.environ) if name.startswith(PREFIX)]
    sys.path[:0] = [path for path in found if path not in sys.path]
    return found
