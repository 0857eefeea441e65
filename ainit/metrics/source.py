"""The page of metrics: asked of PID 1 when somebody wants it, and kept for a second.

>>> Source("/run/ainit/control").page()[:7]   # doctest: +SKIP
b'# HELP '
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from ..child import accounts
from ..child.client import Client
from ..errors import AinosError
from . import gpu
from .collect import collect
from .exposition import render

CACHE_SECONDS = 1.0
DEADLINE_SECONDS = 5.0  # for all questions of one page
GPU_SECONDS = 1.0  # of them, for those about GPUs


class Source:
    """Makes pages for any number of threads, one page at a time."""

    def __init__(self, control: str, deadline_s: float = DEADLINE_SECONDS) -> None:
        self._control = control
        self._deadline = deadline_s
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._made: bytes | AinosError = b""

    def page(self) -> bytes:
        """The page, at most a second old. Raises AinosError when PID 1 does not answer in time.

        That is kept for a second, too, so that those who wait do not wait one after the other.
        """
        with self._lock:
            if time.monotonic() >= self._made_at + CACHE_SECONDS:
                try:
                    self._made = self._make()
                except AinosError as error:
                    self._made = error
                self._made_at = time.monotonic()
            made = self._made
        if isinstance(made, AinosError):
            raise made
        return made

    def _make(self) -> bytes:
        deadline = time.monotonic() + self._deadline
        with Client(self._control, self._deadline) as client:
            status = client.call("org.ainos.Control.Status")
            families = collect(status, accounts.read(client, deadline))
        return render([*families, *gpu.collect(self._gpus(deadline))]).encode()

    def _gpus(self, deadline: float) -> Mapping[str, object]:
        """The GPU service's readings; none when it does not answer soon, for the rest of the page
        does not wait for it.
        """
        seconds = min(GPU_SECONDS, deadline - time.monotonic())
        if seconds <= 0:
            return {}
        try:
            with Client(self._control, seconds) as client:
                return client.call("org.ainos.Gpu.Readings")
        except AinosError:
            return {}
