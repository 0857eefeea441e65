"""Who works against PID 1 in an endurance run: services that fail, a client that calls.

stand = Stand(Crashes.text)
stand.boot()
Crashes(stand).advance(seconds=5)       # how many events there were up to now
"""

from __future__ import annotations

import json
import socket
import time

from lib.host import HostError, run
from tests.pidns.machine import Machine

SERVICES = 50
BATCH = 64
NO_CALLS = (b"{\0", b"[]\0", b'{"method":1}\0', b"\xff\0")

# It ends at once, with as little of its own as can be: what is measured is PID 1.
FALSE = "int main(void) { return 1; }\n"
UNIT = """[service]
exec = ["{false}"]
type = "simple"
restart = "always"
essential = false

[backoff]
first_s = 0.01
max_s = 0.01
limit = 0

[logs]
ring = "16K"
"""
QUIET = """[service]
exec = ["/bin/sleep", "infinity"]
essential = false

[logs]
ring = "16K"
"""


class Stand:
    """A machine with ``SERVICES`` units of one text, and PID 1 as ``measured.py`` has it."""

    def __init__(self, text: str) -> None:
        self.machine = Machine()
        self.machine.guest = "measured.py"
        for number in range(SERVICES):
            unit = self.machine.directory / f"units/s{number}.toml"
            unit.write_text(text.format(false=self.machine.directory / "false"), encoding="utf-8")

    def boot(self) -> None:
        """Build what the services run, and start."""
        directory = self.machine.directory
        (directory / "false.c").write_text(FALSE, encoding="ascii")
        run(["gcc", "-static", "-O2", "-o", str(directory / "false"), str(directory / "false.c")])
        self.machine.boot()

    def restarts(self) -> int:
        """How often services were started anew, all together."""
        units = self.machine.call("Status")["units"]
        assert isinstance(units, list)
        return sum(int(unit["restarts"]) for unit in units)

    def faults(self) -> int:
        """How often PID 1 had to be executed anew: an endurance run has no business with that."""
        status = self.machine.call("Status")["machine"]
        assert isinstance(status, dict)
        return int(status.get("faults") or 0)

    def pauses(self) -> tuple[float, float]:
        """The longest garbage collection: processor and wall time in milliseconds."""
        text = (self.machine.directory / "gc").read_text(encoding="ascii")
        found = json.loads(text)
        return float(found["cpu_ms"]), float(found["wall_ms"])


class Crashes:
    """Services that fail all the time; nothing is to be done but wait."""

    text = UNIT

    def __init__(self, stand: Stand) -> None:
        self._stand = stand

    def advance(self, seconds: float) -> int:
        """Let it run for so long; returns how many events there were up to now."""
        time.sleep(seconds)
        return self._stand.restarts()


class Control:
    """A client that sends batches of calls: pipelined, some of them refused, some not calls."""

    text = QUIET

    def __init__(self, stand: Stand) -> None:
        self._path = stand.machine.control
        self._sent = 0
        self._batches = 0
        self._channel: socket.socket | None = None

    def advance(self, seconds: float) -> int:
        """Call for so long; returns how many messages there were up to now."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._batch()
        return self._sent

    def _batch(self) -> None:
        self._batches += 1
        channel = self._channel or self._connect()
        unit = f"s{self._batches % SERVICES}"
        calls = [_call(method, parameters) for method, parameters in _mix(unit)]
        calls = (calls * BATCH)[:BATCH]
        channel.sendall(b"".join(calls))
        waiting = BATCH
        while waiting:
            data = channel.recv(1 << 16)
            if not data:
                raise HostError("PID 1 hung up on a client that did nothing wrong")
            waiting -= data.count(b"\0")
        self._sent += BATCH
        if self._batches % 16 == 0:
            channel.sendall(
                (b"{\0", b"[]\0", b'{"method":1}\0', b"\xff\0")[self._batches // 16 % 4]
            )
            if channel.recv(1):
                raise HostError("PID 1 answered what is no call")
            self._sent += 1
            channel.close()
            self._channel = None

    def _connect(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(60)
        channel.connect(self._path)
        self._channel = channel
        return channel


def _mix(unit: str) -> list[tuple[str, dict[str, object]]]:
    control = "org.ainos.Control"
    return [
        (f"{control}.Describe", {"name": unit}),
        (f"{control}.Start", {"name": unit}),
        (f"{control}.Describe", {"name": "nobody"}),
        (f"{control}.Logs", {"unit": unit, "lines": 5}),
        (f"{control}.Describe", {"name": 5}),
        ("org.varlink.service.GetInfo", {}),
        (f"{control}.Accounting", {"names": [unit]}),
        (f"{control}.NoSuch", {"x": [None, 1e300, "\N{SNOWMAN}"]}),
    ]


def _call(method: str, parameters: dict[str, object]) -> bytes:
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"


ROUTES: dict[str, type[Crashes | Control]] = {"crashes": Crashes, "control": Control}
