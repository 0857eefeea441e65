"""``Allocate``, ``Release`` and ``Queue`` of ``org.ainos.Gpu``: who asks waits, and never blocks.

Whoever cannot have an instance now is answered Queued: where he stands, why he waits, and when to
ask again. Every answer says whose turn has come meanwhile (``ready``) and who is to be stopped and
started again (``move``), which PID 1 passes on. The memory of who holds what since when, and of
shares, is replaced as a whole on a tmpfs after each change; where it is lost, shares are even
again, and units ask again by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..child.server import Handler, VarlinkError
from ..policy.device_nodes import Node
from ..wire.protocol import Message
from . import asking, numa, queue_file
from .errors import GpuError, NoRoomError
from .journal import Assignment
from .place import Device
from .queue import Standing
from .round_records import FAILURES_MAX
from .rounds import Rounds
from .transaction import Ledger

INTERFACE = "org.ainos.Gpu"
SOON_S = 3.0  # ask again, when one stands at the front
LATER_S = 15.0
FRONT = 4


class Gpus(Protocol):
    """What is asked of the driver here."""

    def devices(self) -> tuple[Device, ...]: ...


class Queueing:
    """``open`` gives driver and ledger, or raises GpuError; ``failed`` is what a GpuError is to a
    caller. ``placeable`` are the devices that something may be placed on, ``may_stay`` whether
    somebody may keep what he holds, ``claim`` gives an instance that is there already,
    ``why_none`` says why no GPU may be placed on at all, and ``device_nodes`` which nodes an
    instance is used through; it raises GpuError when that is not known.
    """

    def __init__(
        self,
        open_: Callable[[], tuple[Gpus, Ledger]],
        rounds: Rounds,
        now: Callable[[], float],
        failed: Callable[[GpuError], VarlinkError],
        path: str = "",
    ) -> None:
        self._open = open_
        self._now = now
        self._failed = failed
        self._path = path
        self.rounds = rounds
        self.placeable: Callable[[Gpus, Ledger], Sequence[Device]] = lambda gpus, _: gpus.devices()
        self.may_stay: Callable[[Assignment], bool] = lambda held: True
        self.claim: Callable[[Ledger, str, str], Assignment | None] = lambda *asked: None
        self.why_none: Callable[[], str] = lambda: ""
        self.node_of: Callable[[str], numa.Node | None] = lambda gpu_uuid: None
        self.device_nodes: Callable[[Assignment], Sequence[Node]] = lambda held: ()

    def methods(self) -> Mapping[str, Handler]:
        """The handlers, by method."""
        return {"Allocate": self.allocate, "Release": self.release, "Queue": self.queue}

    def allocate(self, parameters: Message) -> Mapping[str, object]:
        """``Allocate``: idempotent for a unit and what it asks for."""
        wish, waits = asking.parse(parameters, self._now())
        name = wish.name
        try:
            gpus, ledger = self._open()
            ledger.settle()
            held = self._still_held(name, wish.profiles, gpus, ledger)
            if held is None:
                self._demand_profile(wish.profiles, gpus)
                held = self.claim(ledger, name, wish.profiles[0])
            if held is None:
                held = self._wait(wish, gpus, ledger, waits=waits)
            granted = self._granted(held)
        except NoRoomError:
            raise VarlinkError(f"{INTERFACE}.NoCapacity", {"profile": wish.profiles[0]}) from None
        except GpuError as error:
            raise self._failed(error) from error
        self._save()
        return {**granted, **self.rounds.news(name)}

    def release(self, parameters: Message) -> Mapping[str, object]:
        """``Release``: idempotent; who waits leaves the queue."""
        name = asking.text(parameters, "agent")
        rounds = self.rounds
        try:
            gpus, ledger = self._open()
            rounds.charge(ledger)
            rounds.forget(name)
            ledger.destroy(name)
            rounds.run(ledger, lambda: self.placeable(gpus, ledger))
        except GpuError as error:
            rounds.forget(name)
            raise self._failed(error) from error
        self._save()
        return self.rounds.news(name)

    def queue(self, _parameters: Message) -> Mapping[str, object]:
        """``Queue``: who waits, in order, and why; and who holds what."""
        now, rounds = self._now(), self.rounds
        standings = rounds.queue.standings(now)
        return {
            "waiting": [
                {
                    "name": each.wish.name,
                    "kind": each.wish.kind.value,
                    "owner": each.wish.owner,
                    "profiles": list(each.wish.profiles),
                    "position": each.position,
                    "priority": each.wish.priority,
                    "waited_s": round(each.waited_s, 1),
                    "estimate_s": each.wish.estimate_s or None,
                    "deadline": each.wish.deadline or None,
                    "share": round(each.share, 3),
                    "rank": round(each.rank, 2),
                    "reason": self._why(each, len(standings)),
                }
                for each in standings
            ],
            "moves": sorted(rounds.leaving),
        }

    def load(self) -> str:
        """Take up the memory of an earlier life; what was wrong with it, in words."""
        return queue_file.load(self._path, self.rounds) if self._path else ""

    def _save(self) -> None:
        if self._path:
            queue_file.save(self._path, self.rounds)

    def _still_held(
        self, name: str, profiles: Sequence[str], gpus: Gpus, ledger: Ledger
    ) -> Assignment | None:
        """What a unit holds, if that is alive and as it wants it, and it need not go; else it is
        let go: who asks has no process.
        """
        held = ledger.held_by(name)
        if held is None:
            return None
        rounds = self.rounds
        uuids = {each.uuid for device in gpus.devices() for each in device.instances}
        fits = held.profile in profiles and held.uuid in uuids
        if fits and name not in rounds.leaving and self.may_stay(held):
            rounds.collected(name)
            return held
        rounds.charge(ledger)
        ledger.destroy(name)
        rounds.let_go(name)
        return None

    def _demand_profile(self, profiles: Sequence[str], gpus: Gpus) -> None:
        devices = gpus.devices()
        if all(device.profile(name) is None for device in devices for name in profiles):
            raise VarlinkError(f"{INTERFACE}.UnknownProfile", {"profile": profiles[0]})

    def _wait(self, wish: asking.Wish, gpus: Gpus, ledger: Ledger, *, waits: bool) -> Assignment:
        """Wait in the queue, perhaps for no time at all. Raises VarlinkError Queued or GpuError."""
        rounds, name = self.rounds, wish.name
        if not rounds.queue.submit(wish, self._now()):
            raise GpuError("the queue is full")
        rounds.run(ledger, lambda: self.placeable(gpus, ledger))
        held = ledger.held_by(name)
        if held is not None:
            rounds.collected(name)
            return held
        count, error = rounds.failures.get(name, (0, None))
        if not waits or count >= FAILURES_MAX:
            rounds.forget(name)
            if error is None and (why := self.why_none()):
                error = GpuError(why)
            raise error or NoRoomError(f"no GPU has room for {wish.profiles[0]}")
        self._save()
        standings = rounds.queue.standings(self._now())
        (standing,) = (each for each in standings if each.wish.name == name)
        why = self._why(standing, len(standings))
        queued = {
            "position": standing.position,
            "of": len(standings),
            "reason": f"{why}; the driver said: {error}" if error else why,
            "retry_s": SOON_S if standing.position <= FRONT or error else LATER_S,
            **self.rounds.news(name),
        }
        raise VarlinkError(f"{INTERFACE}.Queued", queued)

    def _why(self, standing: Standing, count: int) -> str:
        """Why somebody waits, in words."""
        rounds, name = self.rounds, standing.wish.name
        where = f"{standing.position} of {count}"
        wanted = " or ".join(standing.wish.profiles)
        if (claim := rounds.claims.get(name)) is not None:
            others = ", ".join(sorted(claim.waits_for - {name})) or "itself"
            return f"{where}, gets {claim.proposal.profile} once {others} has stopped"
        if rounds.kept_for == name and (kept := rounds.kept) is not None:
            return f"{where}, room for {wanted} is kept on GPU {kept.gpu}, in {kept.seconds:.0f} s"
        return f"{where}, {self.why_none() or f'no GPU has room for {wanted}'}"

    def _granted(self, held: Assignment) -> dict[str, object]:
        node = self.node_of(held.gpu_uuid)
        return {
            "uuid": held.uuid,
            "gpu": held.gpu,
            "profile": held.profile,
            "start": held.start,
            "size": held.size,
            "environment": {"CUDA_VISIBLE_DEVICES": held.uuid, "AINOS_GPU_UUID": held.uuid},
            "numa": None if node is None else node.to_record(),
            "devices": [
                {"path": each.path, "major": each.major, "minor": each.minor, "mode": each.mode}
                for each in self.device_nodes(held)
            ],
        }
