"""The service ``org.ainos.Update``: answers in one thread, works in another.

It is started by whoever asks, by an update under way, and once after boot; with nothing to do it
ends. One that polls stays, and executes itself anew when it has done something: what that loaded
would otherwise stay in memory.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from .. import constants
from ..child import esp
from ..child.notify import notify
from ..child.server import Service, VarlinkError
from ..errors import AinosError
from ..policy import update
from ..policy.update import Settings
from ..wire import interface_text
from ..wire.codec import loads
from ..wire.protocol import INVALID_PARAMETER, Message
from . import models, words
from .flow import Flow
from .ports import Tell
from .release import order
from .worker import BusyError, Job, Worker

INTERFACE = "org.ainos.Update"
IDLE_S = 60.0  # without a call, before a service that is not needed ends
_TURN_S = 0.25  # how often followers hear of progress
_SILENCE_S = 20.0  # PID 1 gives up a call that says nothing for a minute
_LONG_S = 30.0


def settings(path: str = constants.MACHINE_JSON) -> Settings:
    """``[update]`` of the configuration in force, as PID 1 has checked it."""
    try:
        with open(path, "rb") as file:
            machine = loads(file.read())
    except (OSError, ValueError):
        return Settings()
    return update.from_record(machine.get("update") if isinstance(machine, dict) else None)


class Desk:
    """The methods."""

    def __init__(self, flow: Flow, worker: Worker) -> None:
        self._flow, self._worker = flow, worker

    def status(self, _: Message) -> Message:
        """``Status()``."""
        flow, found = self._flow, self._flow.settings()
        now, state = flow.world.now(), flow.records.state()
        checked, floors = flow.records.checked(), flow.records.floors()
        stands = words.situation(state, flow.meaning(), found, checked, self._worker.working, now)
        trial = flow.trial
        since = trial.gate.since if trial is not None else None
        return {
            **asdict(stands),
            "version": flow.host.version,
            "image": flow.host.image,
            "pending": state.version if state else "",
            "offered": checked.offered,
            "hindrance": checked.hindrance,
            "checked": checked.time or None,
            "repository": found.repository,
            "channel": found.channel,
            "automatic": found.automatic,
            "window": update.opens(found, now),
            "healthy_s": found.healthy_s,
            "healthy_for": None if since is None else flow.world.steady() - since,
            "version_floor": floors.version,
            "data_format_floor": floors.data_format,
            "slots": self._slots(),
            "job": self._job(),
        }

    def job(self, _: Message) -> Message:
        """``Job()``."""
        return {"job": self._job()}

    def check(self, _: Message) -> Message:
        """``Check()``."""
        return self._ask("check", lambda tell: self._flow.check())

    def install(self, parameters: Message) -> Message:
        """``Install(version, reboot)``."""
        version, reboot = parameters.get("version"), parameters.get("reboot")
        if version is not None:
            if not isinstance(version, str):
                raise VarlinkError(INVALID_PARAMETER, {"parameter": "version"})
            try:
                order(version)
            except AinosError as error:
                raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error

        def work(tell: Tell) -> None:
            self._flow.install(version, tell)
            if reboot is True:
                self._flow.world.reboot()

        return self._ask(f"install {version}" if version else "install", work)

    def add_model(self, parameters: Message) -> Message:
        """``AddModel(name, version, hold_s)``."""
        name, version, hold_s = (parameters.get(each) for each in ("name", "version", "hold_s"))
        if not isinstance(name, str):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "name"})
        if not isinstance(version, str | None):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "version"})
        if isinstance(hold_s, bool) or not isinstance(hold_s, float | int | None):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "hold_s"})
        try:
            asked = models.Asked(name, version, hold_s)
        except AinosError as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error

        def work(tell: Tell) -> None:
            models.add(self._flow, asked, tell)

        return self._ask(f"add model {asked}", work, looks=False)

    def rollback(self, _: Message) -> Message:
        """``Rollback()``."""
        return self._ask("rollback", lambda tell: print(f"back to {self._flow.rollback()}"))

    def cancel(self, _: Message) -> Message:
        """``Cancel()``."""
        if working := self._worker.cancel():
            return {"what": working}
        try:
            return {"what": self._worker.between(self._flow.cancel)}
        except (AinosError, OSError) as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error

    def history(self, _: Message) -> Message:
        """``History()``."""
        return {"entries": [asdict(entry) for entry in self._flow.records.history()]}

    def methods(self) -> dict[str, Callable[[Message], Message]]:
        """Every method by its name."""
        return {
            "Status": self.status,
            "Check": self.check,
            "Install": self.install,
            "AddModel": self.add_model,
            "Job": self.job,
            "Rollback": self.rollback,
            "Cancel": self.cancel,
            "History": self.history,
        }

    def _ask(self, what: str, work: Callable[[Tell], None], *, looks: bool = True) -> Message:
        try:
            return {"job": asdict(self._worker.ask(what, work, looks=looks))}
        except BusyError as error:
            raise VarlinkError(f"{INTERFACE}.Busy", {"reason": str(error)}) from error

    def _job(self) -> Message | None:
        job: Job | None = self._worker.job
        return None if job is None else asdict(job)

    def _slots(self) -> list[Message]:
        here = self._flow.host.version
        try:
            slots = self._flow.world.slots()
        except (AinosError, OSError):
            return []  # not started by systemd-boot
        return [
            {
                "version": slot.version,
                "tries": slot.left,
                "runs": order(slot.version) == order(here),
            }
            for slot in slots
        ]


@dataclass(slots=True)
class Life:
    """Runs between two turns of the server: tells followers, and ends what is not needed."""

    service: Service
    worker: Worker
    last: float = 0.0
    told: object = None
    told_at: float = 0.0
    has_worked: bool = False

    def tick(self) -> float:
        """See ``child.server.Service.serve``."""
        now, worker = time.monotonic(), self.worker
        job = None if worker.job is None else asdict(worker.job)
        if (job != self.told or now - self.told_at > _SILENCE_S) and self.service.follows("Job"):
            self.service.publish("Job", {"job": job})
            self.told_at = now
        self.told = job
        if worker.working or self.service.clients:
            self.last, self.has_worked = now, self.has_worked or bool(worker.working)
            return _TURN_S
        left = self.last + IDLE_S - now
        if left > 0:
            return min(left, _LONG_S)
        if not worker.is_needed:
            notify("STOPPING=1")
            sys.exit(0)
        if self.has_worked and worker.flow.trial is None:
            os.execv(sys.executable, [sys.executable, "-I", "-m", "ainit.ota", "serve"])
        return _LONG_S


def serve(flow: Flow) -> None:
    """Run the service; does not return."""
    worker = Worker(flow, say=lambda line: print(line, flush=True))
    desk = Desk(flow, worker)
    service = Service(interface_text(INTERFACE), desk.methods(), streams=("Job",))

    def work() -> None:
        try:
            esp.forget()
            flow.begin()
            worker.run()
        finally:
            os._exit(1)  # PID 1 starts the whole service again

    threading.Thread(target=work, name="work", daemon=True).start()
    service.serve(tick=Life(service, worker, time.monotonic()).tick)
