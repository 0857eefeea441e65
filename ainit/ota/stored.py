"""Has the model store take what lies in a directory, and waits until it did.

The store knows no repository, and this service no signature of a publisher: each judges its own.

    admit("/var/lib/ainos/update/staging/model.speech/2.0", hold_s=30.0)
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..child.client import VarlinkError
from ..errors import DeadlineError, RefusedError, UnavailableError, WireError
from .asked import PATIENCE_S, Call, Message, call

INTERFACE = "org.ainos.Store"
LOOK_S = 0.5
SILENT_S = 120.0  # the store, while PID 1 or it is started anew
_STILL_S = 6 * 3600.0  # without another byte: longer than any trial, and reading any model again


def admit(
    directory: str,
    hold_s: float | None,
    ask: Call = call,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have the store add the delivery in ``directory``; ``hold_s`` is for how long units are to
    hold with it, None for no trial.

    Raises RefusedError with the store's reason; UnavailableError when it cannot be asked, is busy,
    went on to something else, or does not come to an end.
    """
    trial = {} if hold_s is None else {"hold_s": hold_s}
    try:
        job = _job(ask(f"{INTERFACE}.Add", {"source": directory, **trial}, PATIENCE_S))
    except VarlinkError as error:
        if error.name == f"{INTERFACE}.Busy":
            raise UnavailableError(f"the store is busy: {error.parameters.get('what')}") from error
        raise RefusedError(str(error)) from error
    number, state, since = job.get("id"), job, now()
    while not job.get("finished"):
        if now() - since > _STILL_S:
            raise UnavailableError("the store does not come to an end: `ainitctl models list`")
        sleep(LOOK_S)
        job = _asked(ask, now, sleep)
        if job.get("id") != number:
            raise UnavailableError("the store was started anew meanwhile: `ainitctl models list`")
        if job != state:
            state, since = job, now()
    if reason := job.get("reason"):
        raise RefusedError(str(reason))


def _asked(ask: Call, now: Callable[[], float], sleep: Callable[[float], None]) -> Message:
    until = now() + SILENT_S
    while True:
        try:
            return _job(ask(f"{INTERFACE}.Job", {}, PATIENCE_S))
        except (UnavailableError, WireError, DeadlineError, VarlinkError) as error:
            if now() >= until:
                raise UnavailableError(f"the store does not answer: {error}") from error
            sleep(LOOK_S)


def _job(answer: Message) -> Message:
    job = answer.get("job")
    return job if isinstance(job, dict) else {}
