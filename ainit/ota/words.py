"""How an update stands, in words for people: its state, why, and what to do next. PURE.

=============  =================================================================================
`off`          no repository is configured
`idle`         nothing to do: the newest runs, or what is there is not for this machine now
`offered`      a release waits to be installed
`working`      something is being looked for, fetched or written
`installed`    a release was written, and boots next
`trial`        it runs, and is looked at until it was healthy for long enough
`returning`    the release before boots next
`trouble`      the last look at the repository, or the last installation, came to nothing
=============  =================================================================================
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from ..errors import RefusedError, UnavailableError
from ..policy import update
from ..policy.update import Settings
from . import decide, history
from .history import Checked, State

FULL, EXPIRED, UNREACHABLE, REFUSED, FAULT = "full", "expired", "unreachable", "refused", "fault"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NEXT = {
    FULL: "make room on the state partition: `ainitctl models gc`, `ainitctl models remove`",
    EXPIRED: "`ainitctl network status` says whether the clock is right; if it is, the publisher"
    " has to renew the metadata (docs/update.md)",
    UNREACHABLE: "`ainitctl network status`; `ainitctl update check` tries again",
    REFUSED: "nothing is taken from there before the publisher has mended it",
    FAULT: "`ainitctl logs update`",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """``next`` is what to do, empty when there is nothing."""

    state: str
    reason: str = ""
    next: str = ""


def kind(error: BaseException) -> str:
    """What sort of trouble an error is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return FULL
        cause = cause.__cause__
    if "expired" in str(error):
        return EXPIRED
    if isinstance(error, UnavailableError | OSError):
        return UNREACHABLE
    return REFUSED if isinstance(error, RefusedError) else FAULT


def situation(
    state: State | None,
    meaning: str,
    settings: Settings,
    checked: Checked,
    working: str,
    now: float,
) -> Situation:
    """How things stand; ``working`` says what is being done."""
    if working:
        return Situation("working", working, "`ainitctl update cancel` ends it")
    if state is not None and meaning == decide.TRIAL:
        reason = state.reason or "healthy so far"
        return Situation("trial", f"{state.version}: {reason}")
    if state is not None and state.phase == history.ROLLING_BACK:
        return Situation("returning", f"{state.version} boots next", "`ainitctl reboot`")
    if state is not None and meaning == decide.INSTALLED:
        return Situation("installed", f"{state.version} boots next", _reboots(settings, now))
    if checked.problem:
        return Situation("trouble", checked.problem, _NEXT.get(checked.kind, ""))
    if not settings.repository:
        return Situation("off", "no repository is configured", "[update] in machine.toml")
    if not checked.time:
        return Situation("idle", "nobody has looked so far", "`ainitctl update check`")
    if checked.offered and not checked.hindrance:
        return Situation("offered", f"{checked.offered} is offered", _installs(settings, now))
    return Situation("idle", checked.hindrance)


def _reboots(settings: Settings, now: float) -> str:
    if settings.automatic != update.REBOOT:
        return "`ainitctl reboot`"
    return f"the machine reboots {_when(settings, now)}"


def _installs(settings: Settings, now: float) -> str:
    if settings.automatic not in (update.INSTALL, update.REBOOT):
        return "`ainitctl update install`"
    return f"it is installed {_when(settings, now)}"


def _when(settings: Settings, now: float) -> str:
    wait = update.opens(settings, now)
    return f"in its window, which opens in {wait / 3600:.1f} h" if wait else "by itself"
