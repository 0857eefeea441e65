"""What a service says through ``NOTIFY_SOCKET``, as sd_notify(3) defines it: one datagram of lines.

``X_AINOS_FINDINGS`` is ours, as names that begin with X_ are anybody's. Leaves out who said it, and
what follows. What is malformed or unknown says nothing.

>>> parse(b"READY=1\\nSTATUS=up\\nX_OTHER=2")
{'READY': '1', 'STATUS': 'up'}
"""

from __future__ import annotations

KNOWN = frozenset(
    (
        "READY",
        "STATUS",
        "RELOADING",
        "STOPPING",
        "WATCHDOG",
        "WATCHDOG_USEC",
        "EXTEND_TIMEOUT_USEC",
        "MAINPID",
        "FDSTORE",
        "FDSTOREREMOVE",
        "FDNAME",
        "FDPOLL",
        "ERRNO",
        "BARRIER",
        "X_AINOS_FINDINGS",
    )
)
_STATUS_CHARACTERS = 256
_FINDINGS_CHARACTERS = 1024
_LONGEST_SECONDS = 86400.0
_NAME_CHARACTERS = 255


def parse(data: bytes) -> dict[str, str]:
    """The variables of one message that have a meaning here; the last one of a name counts."""
    found = {}
    for line in data.split(b"\n"):
        name, separator, value = line.partition(b"=")
        key = name.decode("ascii", "replace")
        if separator and key in KNOWN:
            found[key] = value.decode("utf-8", "replace")
    return found


def seconds(text: str | None) -> float:
    """Microseconds as text in seconds, a day at most; 0.0 for anything that is no such number."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > 20:
        return 0.0
    return min(int(text) / 1e6, _LONGEST_SECONDS)


def pid(text: str | None) -> int:
    """A pid as text; 0 for anything that is none."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > 10:
        return 0
    return int(text)


def status(text: str) -> str:
    """A status line, cut to what a table can show."""
    return "".join(one if one.isprintable() else " " for one in text[:_STATUS_CHARACTERS])


def findings(text: str) -> str:
    """What a unit says that keeps the machine from being healthy, as one line."""
    return "".join(one if one.isprintable() else " " for one in text[:_FINDINGS_CHARACTERS])


def name(text: str) -> str:
    """The name of a stored descriptor; ``stored`` when none that LISTEN_FDNAMES could carry."""
    good = 0 < len(text) <= _NAME_CHARACTERS and text.isascii() and text.isprintable()
    return text if good and ":" not in text else "stored"
