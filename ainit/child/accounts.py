"""What every unit uses, asked of PID 1 page by page, so that no answer keeps it long.

>>> with Client("/run/ainit/control") as client:   # doctest: +SKIP
...     read(client)["weather"]["memory_bytes"]
52428800
"""

from __future__ import annotations

import time

from ..errors import WireError
from .client import Client

METHOD = "org.ainos.Control.Accounting"
_PAGES_MAX = 1000  # of 100 units each: a machine that never ends its list is broken


def read(client: Client, deadline: float | None = None) -> dict[str, dict[str, object]]:
    """Name → account, of every unit. Raises as ``Client`` does, WireError for a malformed answer.

    The client's timeout bounds each page, or ``deadline`` (``time.monotonic()``) all of them.
    """
    found: dict[str, dict[str, object]] = {}
    parameters: dict[str, object] = {}
    for _ in range(_PAGES_MAX):
        if deadline is not None:
            client.timeout = max(deadline - time.monotonic(), 0.001)
        answer = client.call(METHOD, parameters)
        units = answer.get("units")
        if not isinstance(units, list) or not all(
            isinstance(unit, dict) and isinstance(unit.get("name"), str) for unit in units
        ):
            raise WireError("units in the answer is not a list of accounts")
        found.update((unit["name"], unit) for unit in units)
        following = answer.get("next")
        if following is None:
            return found
        if not isinstance(following, str) or following == parameters.get("after"):
            raise WireError("next in the answer leads nowhere")
        parameters = {"after": following}
    raise WireError(f"more than {_PAGES_MAX} pages of accounts")
