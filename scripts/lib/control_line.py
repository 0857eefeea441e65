"""The line to a machine's control socket: one connection, kept, and given up after a failure.

QEMU lets one client at a time onto the line, and what is said waits there until the guest opens its
end. So a question is asked once, with a deadline, and never again behind a lost answer. The guest
needs a moment to see that a client is gone (`ainit.bridge.proxy`): who connects sooner would get
the answers, or the stream, that the last one left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ainit.child.client import Client, VarlinkError
from ainit.errors import AinosError, DeadlineError
from lib.process import POLL_S

LOOK_S = 0.5
GONE_S = 1.0  # ten times the guest's own grace
GET_INFO = "org.varlink.service.GetInfo"


class ControlLine:
    """The line whose end on the host is the Unix socket ``path``."""

    def __init__(self, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = str(path)
        self._sleep = sleep
        self._client: Client | None = None
        self._free_at = 0.0

    def wait(self, deadline_s: float, is_alive: Callable[[], bool]) -> bool:
        """Wait for an answer. False at the deadline, or when the machine is not alive any more."""
        self.close()
        deadline = time.monotonic() + deadline_s
        while is_alive() and time.monotonic() < deadline:
            try:
                if self._client is None:
                    self._client = self._connect(LOOK_S)
                    self._client.request(GET_INFO)
                self._client.reply()
            except DeadlineError:
                continue  # time to look whether the machine is alive
            except AinosError:
                self.close()
                self._sleep(POLL_S)  # the machine is ending, or its end of the line restarts
            else:
                return True
        self.close()
        return False

    @contextmanager
    def client(self, deadline_s: float) -> Iterator[Client]:
        """The connection, each call on it bounded by the deadline.

        After a failure an answer may still be on its way, and the connection is given up; a reply
        that is an error is no failure.
        """
        if self._client is None:
            self._client = self._connect(deadline_s)
        self._client.timeout = deadline_s
        try:
            yield self._client
        except VarlinkError:
            raise
        except AinosError:
            self.close()
            raise

    def close(self) -> None:
        """Leave the line to somebody else."""
        if self._client is not None:
            self._client.close()
            self._client = None
            self._free_at = time.monotonic() + GONE_S

    def _connect(self, timeout_s: float) -> Client:
        self._sleep(max(0.0, self._free_at - time.monotonic()))
        return Client(self._path, timeout=timeout_s)
