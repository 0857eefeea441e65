"""The methods of ``org.ainos.Gpu`` that are about partitions: Plan, Apply, Progress, Events.

No call waits for a transaction: Apply writes it down and answers with its number, and the service's
loop carries it on (``tick``). The caller asks Progress.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..child.server import Handler, VarlinkError
from ..errors import AinosError
from ..wire.protocol import INVALID_PARAMETER, Message
from . import wishes
from .drain import Drainer
from .errors import GpuError
from .journal import PartitionFile
from .planning import Gpus, Planned, Unknown, answer, plan
from .records import Record
from .repartition import BusyError, Engine
from .transaction import Ledger

INTERFACE = "org.ainos.Gpu"
EVENTS_KEPT = 256
LATER_S = 5.0  # until the next try when the driver is gone


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a partition; ``time`` in seconds since boot."""

    number: int
    time: float
    kind: str
    text: str


class Partitions:
    """The methods, and the engine that is behind them. ``opened`` gives driver and ledger;
    ``forget`` is told of an error after which they may have to be opened anew.
    """

    def __init__(
        self,
        opened: Callable[[], tuple[Gpus, Ledger]],
        drainer: Drainer,
        keeper: PartitionFile,
        now: Callable[[], float],
        forget: Callable[[GpuError], None] = lambda error: None,
    ) -> None:
        self._opened = opened
        self._forget = forget
        self._drainer = drainer
        self._keeper = keeper
        self._now = now
        self._engine: Engine | None = None
        self._ledger: Ledger | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._count = 0

    def methods(self) -> Mapping[str, Handler]:
        """The handlers, by method."""
        return {
            "Plan": self._plan_method,
            "Apply": self._apply,
            "Progress": self._progress,
            "Events": self._list_events,
        }

    def tell(self, kind: str, text: str) -> None:
        """Note an event, for Events and in the service's log."""
        self._count += 1
        self._events.append(Event(self._count, self._now(), kind, text))
        print(f"{kind}: {text}", flush=True)

    def tick(self) -> float:
        """One step of what is under way; seconds until the next, -1 when only a call brings one."""
        try:
            seconds = self.engine().advance()
        except (GpuError, OSError) as error:
            if isinstance(error, GpuError):
                self._forget(error)
            if self._ledger is None or not _has_work(self._ledger.record):
                return -1
            self.tell("trouble", str(error))
            return LATER_S
        return -1 if math.isinf(seconds) else seconds

    def bring_up(self, seconds: float) -> None:
        """Before anybody asks for anything: finish what was under way, and make what is missing."""
        end = self._now() + seconds
        while self._now() < end and self.tick() == 0:
            pass

    def engine(self) -> Engine:
        """The engine on the ledger that is open now. Raises GpuError while there is no GPU."""
        _, ledger = self._opened()
        if self._engine is None or ledger is not self._ledger:
            engine = Engine(ledger, self._drainer, self._keeper, self._now, self.tell)
            self._bring_back(engine, ledger)
            self._engine, self._ledger = engine, ledger
        return self._engine

    def _bring_back(self, engine: Engine, ledger: Ledger) -> None:
        """The first life of a boot wants what the last boot had."""
        record = ledger.record
        if record.last or record.partition:
            engine.keep()
            return
        try:
            partition = self._keeper.load()
        except AinosError as error:
            self.tell("keep", str(error))
            return
        if partition:
            ledger.save(replace(record, partition=partition))
            self.tell("begin", f"the partition of the last boot: {len(partition)} instances")

    # ---- the methods

    def _plan_method(self, parameters: Message) -> Mapping[str, object]:
        return answer(self._planned(parameters))

    def _apply(self, parameters: Message) -> Mapping[str, object]:
        planned = self._planned(parameters)
        said = answer(planned)
        if planned.objections or planned.plan.problems:
            raise VarlinkError(f"{INTERFACE}.Impossible", {"problems": said["problems"]})
        name = parameters.get("name")
        try:
            if planned.plan.disturbed:
                self._drainer.affected(planned.plan.disturbed)
            number = self.engine().begin(
                planned.plan, name if isinstance(name, str) else "", planned.foreign
            )
        except BusyError as error:
            raise VarlinkError(f"{INTERFACE}.Busy", {"reason": str(error)}) from error
        except AinosError as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error
        return {**said, "transaction": number}

    def _progress(self, parameters: Message) -> Mapping[str, object]:
        number = parameters.get("transaction")
        record = Record() if self._ledger is None else self._ledger.record
        if record.transaction is not None and record.transaction.number == number:
            return {
                "phase": record.transaction.phase.value,
                "end": None,
                "reason": record.transaction.reason,
            }
        for outcome in record.outcomes:
            if outcome.number == number:
                return {"phase": None, "end": outcome.end.value, "reason": outcome.reason}
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "transaction"})

    def _list_events(self, parameters: Message) -> Mapping[str, object]:
        after = parameters.get("after") or 0
        if not isinstance(after, int):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "after"})
        return {
            "events": [
                {"number": each.number, "time": each.time, "kind": each.kind, "text": each.text}
                for each in self._events
                if each.number > after
            ],
        }

    def _planned(self, parameters: Message) -> Planned:
        try:
            entries = wishes.parse_entries(parameters.get("entries"))
        except ValueError as error:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": f"entries: {error}"}) from error
        try:
            unknown = Unknown(parameters.get("unknown") or Unknown.KEEP.value)
        except ValueError:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "unknown"}) from None
        try:
            gpus, ledger = self._opened()
            self.engine()
            return plan(entries, unknown, gpus, ledger, self._now())
        except GpuError as error:
            raise VarlinkError(f"{INTERFACE}.NoGpu", {"reason": str(error)}) from error


def _has_work(record: Record) -> bool:
    return record.transaction is not None or bool(
        record.resume or record.restart or record.partition
    )
