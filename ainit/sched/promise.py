"""Whether the policy keeps what the heuristic would: the machine once more, under the heuristic.
PURE.

What comes to the real queue comes to this one, too; what ends there says how much work it was. Here
the heuristic serves it, on the same boards. When those who were served lately waited clearly longer
than they would have, for a while, the policy is to be set aside. A rough model: agents and others
are where they are in reality, an instance takes no time to make, nobody is moved.

    promise.came(request, now); promise.ended("a.job", "2g.20gb", 90.0); promise.broken(now)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from . import fallback, place
from .place import Device, Instance
from .state import Request, State

KEPT = 30  # jobs that were served, of which the means are compared
LEAST = 10  # fewer say nothing
FACTOR = 1.25
GRACE_S = 30.0  # a mean may be so much longer besides
PATIENCE_S = 600.0  # for so long it must have been
_STEPS_MAX = 64


@dataclass(slots=True)
class _Virtual:
    """Somebody who runs there."""

    request: Request
    gpu: int
    start: int
    size: int
    fast: float
    since: float
    ends: float


class Promise:
    """The queue and the machine under the heuristic, and what jobs waited there and in reality."""

    def __init__(self) -> None:
        self._queue: dict[str, tuple[Request, float]] = {}
        self._running: dict[str, _Virtual] = {}
        self._work: dict[str, float] = {}  # of those that ended in reality, in whole-GPU seconds
        self._real: deque[float] = deque(maxlen=KEPT)
        self._virtual: deque[float] = deque(maxlen=KEPT)
        self._broken_since = 0.0

    def came(self, request: Request, now: float) -> None:
        """A job waits from now on; again is the same."""
        if request.name not in self._queue and request.name not in self._running:
            self._work.pop(request.name, None)
            self._queue[request.name] = request, now

    def left(self, name: str) -> None:
        """A job was cancelled before it was served."""
        if name in self._queue:
            del self._queue[name]

    def served(self, waited_s: float) -> None:
        """In reality a job had waited for so long when it was given its instance."""
        self._real.append(waited_s)

    def ended(self, name: str, profile: str, seconds: float) -> None:
        """In reality a job ended, after so long on an instance of that profile."""
        virtual = self._running.get(name)
        request = virtual.request if virtual else self._queue.get(name, (None, 0.0))[0]
        fast = request.speeds.get(profile, 0.0) if request else 0.0
        if fast <= 0.0:
            return
        self._work[name] = max(seconds, 0.0) * fast
        if virtual is not None:
            virtual.ends = virtual.since + self._work[name] / virtual.fast

    def judge(self, waiting: Iterable[Request], devices: Sequence[Device], now: float) -> str:
        """Take in who waits now, come up to now, and say what ``broken`` does."""
        for request in waiting:
            self.came(request, now)
        self.advance(now, devices)
        return self.broken(now)

    def advance(self, now: float, devices: Sequence[Device]) -> None:
        """Let it come up to now. ``devices``: as they are, without what jobs have."""
        for _ in range(_STEPS_MAX):
            due = min((each.ends for each in self._running.values()), default=now + 1.0)
            self._end(min(due, now))
            if not self._start(min(due, now), devices) and due > now:
                return

    def _end(self, now: float) -> None:
        for name, each in list(self._running.items()):
            if each.ends <= now:
                del self._running[name]
                self._work.pop(name, None)

    def _start(self, now: float, devices: Sequence[Device]) -> bool:
        """Serve somebody as the heuristic would; whether there was anybody."""
        if not self._queue:
            return False
        requests = [replace(request, waited_s=now - came) for request, came in self._queue.values()]
        state = State([self._with(device) for device in devices], requests)
        chosen = fallback.choose(state)
        if chosen is None or chosen.proposal is None:
            return False
        request, came = self._queue.pop(chosen.request)
        proposal = chosen.proposal
        fast = request.speeds[proposal.profile]
        work = self._work.get(request.name, request.left_s)
        self._running[request.name] = _Virtual(
            request, proposal.gpu, proposal.start, proposal.size, fast, now, now + work / fast
        )
        self._virtual.append(max(now - came, 0.0))
        return True

    def _with(self, device: Device) -> Device:
        mine = [each for each in self._running.values() if each.gpu == device.index]
        virtual = [
            Instance(-1 - at, "", each.start, each.size, None, 0)
            for at, each in enumerate(mine)
            if not place.mask(each.start, each.size) & device.occupied
        ]
        return device.with_instances((*device.instances, *virtual)) if virtual else device

    def broken(self, now: float) -> str:
        """Why the policy is to be set aside; empty while it is not."""
        if min(len(self._real), len(self._virtual)) < LEAST:
            return ""
        real = sum(self._real) / len(self._real)
        virtual = sum(self._virtual) / len(self._virtual)
        if real <= FACTOR * virtual + GRACE_S:
            self._broken_since = 0.0
            return ""
        self._broken_since = self._broken_since or now
        if now - self._broken_since < PATIENCE_S:
            return ""
        return (
            f"the last {len(self._real)} jobs waited {real:.0f} s on average, under the heuristic "
            f"it would have been {virtual:.0f} s"
        )
