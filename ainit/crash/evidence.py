"""What a kernel's log says of its end: kind, cause, version, PID 1's faults. PURE.

>>> judge("[  9.1] Kernel panic - not syncing: sysrq triggered crash\\n").cause
'Kernel panic - not syncing: sysrq triggered crash'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

CAUSE_LETTERS = 300

# Only what the kernel itself begins a line with counts: services' words are in the log, too.
_BEGIN = r"^(?:\[[^\]\n]{0,40}\] *){0,2}"
_PANIC = re.compile(_BEGIN + r"(Kernel panic - not syncing: .*)$", re.MULTILINE)
_OOPS = re.compile(
    _BEGIN
    + r"((?:watchdog: )?BUG: .*|Oops: .*|Internal error: .*|general protection fault.*"
    + r"|Unable to handle kernel .*|kernel BUG at .*|watchdog: CPU\d+: .*LOCKUP.*)$",
    re.MULTILINE,
)
_HANGS = ("watchdog pretimeout event", "lockup", "hung_task: blocked tasks")
_BY_OOPS = ("Fatal exception", "Fatal error", "panic_on_oops", "Oops", "oops")
_VERSION = re.compile(r"(?:Not tainted|Tainted: [A-Z ]{1,40}?) (\d[\w.+~-]{1,80}) #")
# What PID 1 says after a fault; one that was asked for is none.
_FAULT = re.compile(
    _BEGIN + r"ainit: PID 1 was started anew: (?!requested|soft-reboot)", re.MULTILINE
)


class Kind(StrEnum):
    """How a boot ended, or what PID 1 outlived."""

    PANIC = "panic"
    OOPS = "oops"
    WATCHDOG = "watchdog"
    UNCLEAN = "unclean"
    AINIT_FAULT = "ainit-fault"


@dataclass(frozen=True, slots=True)
class Judgement:
    """``kernel`` is its version, where the log names it. ``faults`` are those of PID 1."""

    kind: Kind
    cause: str
    kernel: str
    faults: int


def judge(text: str) -> Judgement:
    """Judge a log. One that names no cause is of a boot that ended without a word."""
    panics, oopses = _PANIC.findall(text), _OOPS.findall(text)
    panic, oops = (panics[-1] if panics else ""), (oopses[0] if oopses else "")
    version = _VERSION.search(text)
    if panic and oops and any(word in panic for word in _BY_OOPS):
        cause = f"{panic} ({oops})"
    else:
        cause = panic or oops
    words = cause.lower()
    if any(hang in words for hang in _HANGS):
        kind = Kind.WATCHDOG
    elif panic:
        kind = Kind.PANIC
    else:
        kind = Kind.OOPS if oops else Kind.UNCLEAN
    return Judgement(
        kind, cause[:CAUSE_LETTERS], version[1] if version else "", len(_FAULT.findall(text))
    )
