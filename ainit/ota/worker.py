"""Does one thing at a time, in a thread: what somebody asks for, and what is due by itself.

worker = Worker(flow)
threading.Thread(target=worker.run, daemon=True).start()
worker.ask("check", lambda tell: flow.check())
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import AinosError
from ..policy import update
from . import decide, words
from .flow import DeclinedError, Flow, wants_reboot
from .history import Checked
from .ports import Tell

LOOK_S = 5.0  # between two looks at a release on trial
_LONG_S = 300.0  # the configuration may be another by then
_AGAIN_S = 60.0
_FIRST_S = 600.0  # a machine that starts looks within this

Work = Callable[[Tell], None]


class BusyError(AinosError):
    """Something else is being done."""


@dataclass(slots=True)
class Job:
    """What is being done, or was last. ``done`` and ``total`` are bytes."""

    id: int
    what: str
    done: int = 0
    total: int = 0
    finished: bool = False
    reason: str = ""


class Worker:
    """``say`` takes lines for the log, ``chance`` gives numbers from 0 to 1."""

    def __init__(
        self,
        flow: Flow,
        say: Callable[[str], None] = print,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.flow = flow
        self.job: Job | None = None
        self._say, self._chance = say, chance
        self._asked: Work | None = None
        self._looks = True
        self._cancelled = False
        self._changed = threading.Condition()
        self._due: float | None = None
        self._turn = threading.Lock()

    @property
    def working(self) -> str:
        """What is being done; empty for nothing."""
        return self.job.what if self.job is not None and not self.job.finished else ""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do without being asked, now or later."""
        return bool(
            self.working or self.flow.settings().polls or self.flow.meaning() != decide.QUIET
        )

    def ask(self, what: str, work: Work, *, looks: bool = True) -> Job:
        """Have something done; ``looks`` when it says how the repository of images stands. Raises
        BusyError.
        """
        with self._changed:
            if self.working:
                raise BusyError(f"{self.working} is being done; `ainitctl update cancel` ends it")
            job = self._begin(what)
            self._asked, self._looks = work, looks
            self._changed.notify()
            return job

    def cancel(self) -> str:
        """End what is being done, at its next step; returns what. Empty when there is nothing."""
        with self._changed:
            self._cancelled = bool(self.working)
            return self.working

    def between(self, work: Callable[[], str]) -> str:
        """Do what is short, in the caller's thread, while nothing else is done. Raises BusyError,
        and what ``work`` raises.
        """
        if not self._turn.acquire(blocking=False):
            raise BusyError("something else was begun just now: try it again")
        try:
            return work()
        finally:
            self._turn.release()

    def wake(self) -> None:
        """Look anew what is due: the configuration is another."""
        with self._changed:
            self._due = None
            self._changed.notify()

    def run(self) -> None:
        """Work for ever."""
        while True:
            wait = self.step()
            with self._changed:
                if self._asked is None:
                    self._changed.wait(wait)

    def step(self) -> float:
        """Do what comes next, if anything does; returns how long there is nothing, in seconds."""
        with self._turn:
            with self._changed:
                asked, self._asked = self._asked, None
            if asked is not None:
                self._do(asked, looks=self._looks)
                return 0.0
            try:
                return self._by_itself()
            except (AinosError, OSError) as error:
                self._say(f"<4>{error}")
                return LOOK_S

    def _by_itself(self) -> float:
        flow, settings = self.flow, self.flow.settings()
        if flow.trial is not None and not flow.trial.is_over:
            flow.trial.look()
            return LOOK_S
        flow.trial = None
        meaning = flow.meaning()
        if meaning == decide.UNFINISHED:
            self._perform("install, begun before", flow.resume)
            return 0.0 if flow.meaning() != meaning else _AGAIN_S
        if wants_reboot(settings, meaning, flow.world.now()):
            self._say("the machine reboots for an update")
            flow.world.reboot()
            return _LONG_S
        if not settings.polls or meaning != decide.QUIET:
            opens = update.opens(settings, flow.world.now())
            return min(_LONG_S, opens) if meaning == decide.INSTALLED and opens else _LONG_S
        return self._poll(settings)

    def _poll(self, settings: update.Settings) -> float:
        flow, now = self.flow, self.flow.world.steady()
        installs = settings.automatic in (update.INSTALL, update.REBOOT)
        if self._due is None:
            self._due = now + self._first(settings)
        opens = update.opens(settings, flow.world.now())
        checked = flow.records.checked()
        waits = checked.offered and not checked.hindrance and not checked.failures
        if now < self._due and not (installs and waits and opens == 0):
            left = self._due - now
            return min(_LONG_S, left, max(opens, 1.0) if installs and waits else left)
        before = checked.failures
        self._perform("check", lambda tell: flow.check())
        if installs and opens == 0 and self._succeeded and not flow.hindrance:
            self._perform("install", lambda tell: flow.install(None, tell), before)
        failures = flow.records.checked().failures
        pause = decide.poll_delay(settings.poll_s, settings.jitter_s, failures, self._chance())
        self._due = flow.world.steady() + pause
        return 0.0

    def _first(self, settings: update.Settings) -> float:
        """How long the first look waits: what is left of the interval, and never all at once."""
        checked = self.flow.records.checked()
        passed = self.flow.world.now() - checked.time
        chance = self._chance()
        soon = min(settings.jitter_s, _FIRST_S) * chance
        if not checked.time or passed < 0:
            return soon
        pause = decide.poll_delay(settings.poll_s, settings.jitter_s, checked.failures, chance)
        return max(soon, pause - passed)

    @property
    def _succeeded(self) -> bool:
        return self.job is not None and not self.job.reason

    def _perform(self, what: str, work: Work, failures: int = 0) -> None:
        with self._changed:
            if self._asked is not None:
                return  # somebody was faster
            self._begin(what)
        self._do(work, failures)

    def _begin(self, what: str) -> Job:
        self._cancelled = False
        self.job = Job(1 + (self.job.id if self.job else 0), what)
        return self.job

    def _do(self, work: Work, failures: int = 0, *, looks: bool = True) -> None:
        """Work, and note what came of it. ``failures`` were before, whatever is written down: a
        look that went well does not make the next installation likelier to. Nothing is noted when
        it is no look at the images.
        """
        job, records = self.job, self.flow.records
        assert job is not None

        def known() -> Checked:
            found = records.checked()
            return replace(found, failures=max(found.failures, failures))

        try:
            work(self._tell)
            if looks:
                self._note(Checked(), "")
        except DeclinedError as error:
            job.reason = str(error)
        except (AinosError, OSError) as error:
            job.reason = str(error) or type(error).__name__
            self._say(f"<4>{job.what}: {job.reason}")
            if looks:
                self._note(known(), job.reason, words.kind(error))
        except Exception as fault:  # noqa: BLE001 (a job that fails ends, and says how)
            job.reason = f"fault: {fault!r}"
            self._say(f"<3>{job.what}: {job.reason}")
            if looks:
                self._note(known(), job.reason, words.FAULT)
        finally:
            job.finished = True

    def _note(self, known: Checked, problem: str, kind: str = "") -> None:
        flow, now = self.flow, self.flow.world.now()
        if problem:
            failures = known.failures + 1
            found = replace(known, time=now, failures=failures, problem=problem, kind=kind)
        elif flow.offer is not None or flow.hindrance:
            offered = flow.offer.release.version if flow.offer else ""
            found = Checked(now, offered, flow.hindrance)
        else:
            return
        try:
            flow.records.note_checked(found)
        except OSError as error:
            self._say(f"<4>the state partition takes nothing: {error.strerror}")

    def _tell(self, done: int, total: int) -> None:
        assert self.job is not None
        if self._cancelled:
            raise DeclinedError("it was cancelled")
        self.job.done, self.job.total = done, total
