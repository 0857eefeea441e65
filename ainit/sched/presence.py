"""Whether the GPUs that the machine should have are there, and when to look again. PURE.

A GPU that is missing keeps nobody waiting: what is there is used, the rest is a finding, and is
looked for again, ever more rarely.

>>> look(Presence(), expected=8, found=6, now=10.0)
Presence(expected=8, found=6, tries=1, again_at=11.0)
>>> finding(look(Presence(), 8, 6, 10.0))
'6 of 8 GPUs are there'
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 1.0
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Presence:
    """``expected`` is what the configuration says, None when it says nothing.

    ``tries`` counts how often it was looked in vain, ``again_at`` is when to look next, in seconds
    since boot; None when nothing is missing.
    """

    expected: int | None = None
    found: int = 0
    tries: int = 0
    again_at: float | None = None


def backoff(tries: int) -> float:
    """Seconds until the next look after this many in vain."""
    return min(FIRST_S * 2.0 ** min(tries - 1, 10), LONGEST_S)


def look(before: Presence, expected: int | None, found: int, now: float) -> Presence:
    """It was looked, and ``found`` GPUs answered. Without an expectation one GPU is enough."""
    if found >= (1 if expected is None else expected):
        return Presence(expected, found)
    tries = before.tries + 1 if found == before.found else 1
    return Presence(expected, found, tries, now + backoff(tries))


def finding(presence: Presence) -> str:
    """What is wrong, in words; "" when nothing is, or nobody said what there should be."""
    if presence.expected is None or presence.found >= presence.expected:
        return ""
    return f"{presence.found} of {presence.expected} GPUs are there"
