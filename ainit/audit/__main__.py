"""The ``audit`` service: watches whom PID 1 hands over, and answers ``org.ainos.Audit``."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping

from ..child.client import Client
from ..child.notify import notify
from ..child.server import Service
from ..child.service import run
from ..constants import CONTROL, LISTEN_FD
from ..errors import AinosError, WireError
from ..policy.plan import Plan, Unit
from ..wire import interface_text
from .files import Files
from .service import INTERFACE, Audit
from .watches import Watches, names

_SOCKETS = 2  # for PID 1's relay, and where listeners are handed over


def units() -> Mapping[str, Unit]:
    """The units of the machine by name. Raises AinosError."""
    with Client(CONTROL) as client:
        answer = client.call("org.ainos.Control.GetPlan")
    try:
        plan = Plan.from_record(answer["plan"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"plan in the answer is no plan: {error}") from error
    return {unit.name: unit for unit in plan.units}


def unwritten() -> int:
    """The device of the root's file system if nobody writes that, or -1."""
    return os.stat("/").st_dev if os.statvfs("/").f_flag & os.ST_RDONLY else -1


def serve() -> None:
    """Serve until the end. Raises AinosError, OSError."""
    given = names(os.environ)
    if len(given) < _SOCKETS:
        raise AinosError("no listening sockets were handed over: start this through ainit")
    woken, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the pipe tells the loop
    relay, listener = (socket.socket(fileno=LISTEN_FD + place) for place in range(_SOCKETS))
    kept = Files()
    watches = Watches(kept, machine=os.uname().machine, fixed=unwritten())
    service = Service(interface_text(INTERFACE), Audit(kept, watches, units).methods())
    watches.observe, watches.forget = service.watch, service.unwatch

    def stop() -> None:
        notify("STOPPING=1")
        watches.flush()
        sys.exit(0)

    for place, label in enumerate(given[_SOCKETS:], start=LISTEN_FD + _SOCKETS):
        os.set_inheritable(place, False)
        watches.resume(label, place)
    listener.setblocking(False)
    service.watch(listener.fileno(), lambda: watches.accept(listener))
    service.watch(woken, stop)
    service.serve(relay, tick=watches.tick)


if __name__ == "__main__":
    sys.exit(run("audit", serve))
