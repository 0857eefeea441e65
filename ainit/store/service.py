"""The methods of ``org.ainos.Store`` over one store.

What takes long (fetching, reading a large model) is a *job* in a thread, one at a time; whoever
started it asks how far it is. Everything else is answered at once, and what changes the store is
refused as ``Busy`` while a job does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from ..child.server import VarlinkError
from ..child.source import open_source
from ..errors import RefusedError
from ..policy import state as life
from ..wire.protocol import INVALID_PARAMETER, Message
from . import fetch
from .admission import Store
from .reading import reason
from .records import State, Verdict, is_name
from .trial import HOLD_S_MAX, Notes, Units, hold

INTERFACE = "org.ainos.Store"
_MISSING = f"{INTERFACE}.NoModel"

Publish = Callable[[Mapping[str, object]], None]


@dataclass
class Job:
    """What is under way, or was last. ``done`` and ``total`` are bytes."""

    id: int
    what: str
    done: int = 0
    total: int = 0
    finished: bool = False
    name: str = ""
    reason: str = ""

    def tell(self, done: int, total: int) -> None:
        """How far it is."""
        self.done, self.total = done, total


class Library:
    """The store at run time. ``publish`` is given the reply of ``Models`` whenever it changes."""

    def __init__(
        self,
        store: Store,
        verdicts: list[Verdict],
        publish: Publish,
        units: Units | None = None,
    ) -> None:
        self._store = store
        self._units = units or Units()
        self._notes = Notes(store.root)
        self._verdicts = {verdict.name: verdict for verdict in verdicts}
        self._publish = publish
        self._job: Job | None = None
        self._lock = threading.Lock()  # held by whoever changes the store

    def methods(self) -> dict[str, Callable[[Message], Mapping[str, object]]]:
        """The methods by name, for ``child.server.Service``."""
        return {
            "Models": lambda _: self.models(),
            "Add": lambda parameters: self._add(_text(parameters, "source"), _hold_s(parameters)),
            "Verify": lambda parameters: self._verify(_text(parameters, "name")),
            "Job": lambda _: self._progress(),
            "Remove": lambda parameters: self._remove(_text(parameters, "name")),
            "Collect": lambda _: self._collect(),
        }

    def models(self) -> Mapping[str, object]:
        """Every name and what became of it."""
        found = (self._verdicts[name] for name in sorted(self._verdicts))
        return {"models": [self._noted(verdict).to_record() for verdict in found]}

    def put_back(self) -> None:
        """Have the units of a trial that was cut short started with the old model, as a job."""
        for name, verdict in self._verdicts.items():
            if self._notes.of(name).get("digest") == verdict.digest:
                self._notes.forget(name)  # it held, and the name stands for it
        cut = [name for name in self._verdicts if self._notes.of(name).get("units")]

        def work(job: Job) -> None:
            for job.name in cut:
                users = self._units.users(job.name)
                self._all_anew({**users, **dict.fromkeys(self._given_up(job.name))})
                self._notes.settle(job.name)

        if cut:
            self._start("put back what a trial left", work)

    def _add(self, source: str, hold_s: float | None) -> Mapping[str, object]:
        def work(job: Job) -> None:
            with open_source(source) as found:
                job.name = fetch.fetch(found, self._store.root, self._store.signer, job.tell)
            old = self._verdicts.get(job.name)
            tried = None
            if old and old.state is State.ADMITTED and hold_s is not None:
                tried = self._trial(job, old, hold_s)
            verdict = self._store.admit(job.name, tried)
            if verdict.state is State.REFUSED:
                self._store.discard(job.name)
                if old and self._verdicts[job.name] is not old:  # it held, and got no name
                    self._go_back(old, verdict.digest, self._units.users(old.name), verdict.reason)
                else:
                    self._store.collect()  # a trial has made an object of it
                raise RefusedError(verdict.reason)
            self._notes.forget(job.name)
            self._set(verdict)
            self._store.collect()

        return self._start(f"add {source}", work)

    def _trial(self, job: Job, old: Verdict, hold_s: float) -> Callable[[Verdict], None]:
        def trial(new: Verdict) -> None:
            users = self._units.users(new.name)
            if not users or new.digest == old.digest:
                return
            job.what = f"try {new.name} with {', '.join(sorted(users))}"
            self._notes.write(new.name, new.digest, users)
            try:
                self._set(new)
                self._units.restart(users)
                hold(self._units, users, hold_s)
            except Exception as error:
                self._go_back(old, new.digest, users, reason(error))
                raise

        return trial

    def _go_back(self, old: Verdict, tried: str, users: Mapping[str, object], why: str) -> None:
        """Have units started with the old model again, and note why another was not taken."""
        with suppress(OSError):  # a full disk does not keep anybody at the new one
            self._notes.write(old.name, tried, users, why)
        self._set(old)
        if self._all_anew(users):
            with suppress(OSError):
                self._notes.settle(old.name)

    def _given_up(self, model: str) -> Iterator[str]:
        """The units of a trial that nobody starts any more: not those that are not up *yet*."""
        noted = self._notes.of(model).get("units")
        for name in map(str, noted if isinstance(noted, list) else ()):
            with suppress(RefusedError):
                if self._units.describe(name).get("state") in (life.FAILED, life.REFUSED):
                    yield name

    def _all_anew(self, names: Mapping[str, object]) -> bool:
        """Have units started anew, but those that somebody stopped meanwhile. One that PID 1 does
        not start, perhaps for a quarantine, is not in the way of the others; then it says False.
        """
        refused = 0
        for name in names:
            try:
                if self._units.describe(name).get("desired") == life.UP:
                    self._units.restart([name])
            except RefusedError:
                refused += 1
        return not refused

    def _noted(self, verdict: Verdict) -> Verdict:
        """A verdict, with why the last successor of its name was not taken."""
        note = self._notes.of(verdict.name)
        if not note or note.get("digest") == verdict.digest:
            return verdict
        why = f"its successor {note.get('digest')} was not taken: {note.get('reason')}"
        return replace(verdict, reason="; ".join(filter(None, (verdict.reason, why))))

    def _verify(self, name: str) -> Mapping[str, object]:
        self._known(name)

        def work(job: Job) -> None:
            job.name = name
            verdict = self._store.recheck(name, whole=True)
            self._set(verdict)
            if verdict.state is State.REFUSED:
                raise RefusedError(verdict.reason)

        return self._start(f"verify {name}", work)

    def _progress(self) -> Mapping[str, object]:
        return {"job": None if self._job is None else asdict(self._job)}

    def _remove(self, name: str) -> Mapping[str, object]:
        self._known(name)
        with self._alone():
            try:
                self._store.remove(name)
            except FileNotFoundError:
                pass  # delivered and refused; there is only the verdict
            self._notes.forget(name)
            del self._verdicts[name]
            self._publish(self.models())
        return {}

    def _collect(self) -> Mapping[str, object]:
        with self._alone():
            objects, freed = self._store.collect()
        return {"objects": objects, "bytes": freed}

    def _start(self, what: str, work: Callable[[Job], None]) -> Mapping[str, object]:
        lock = self._taken()
        job = self._job = Job(1 + (self._job.id if self._job else 0), what)

        def run() -> None:
            try:
                work(job)
            except (RefusedError, OSError, UnicodeError) as error:
                job.reason = reason(error)
            except Exception as error:  # noqa: BLE001 (a job that fails ends, and says how)
                job.reason = f"fault: {error!r}"
            finally:
                job.finished = True
                lock.release()

        threading.Thread(target=run, name="job", daemon=True).start()
        return {"job": asdict(job)}

    def _set(self, verdict: Verdict) -> None:
        self._verdicts[verdict.name] = verdict
        self._publish(self.models())

    def _known(self, name: str) -> None:
        if not is_name(name) or name not in self._verdicts:
            raise VarlinkError(_MISSING, {"name": name})

    def _taken(self) -> threading.Lock:
        if not self._lock.acquire(blocking=False):
            raise VarlinkError(f"{INTERFACE}.Busy", {"what": self._job.what if self._job else ""})
        return self._lock

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self._taken()
        try:
            yield
        finally:
            lock.release()


def _text(parameters: Message, name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
    return value


def _hold_s(parameters: Message) -> float | None:
    """For how long units are to hold with a successor; None: it is taken without a trial."""
    value = parameters.get("hold_s")
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= HOLD_S_MAX
    ):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "hold_s"})
    return float(value)
