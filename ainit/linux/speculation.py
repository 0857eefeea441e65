"""What this process can have the processor not guess ahead (prctl(2), PR_SET_SPECULATION_CTRL).

Whether a control is there depends on the processor, and on the machine's ``mitigations=``.
"""

from __future__ import annotations

from .foreign import Int, UnsignedLong, function

PR_GET = 52
PR_SET = 53
STORE_BYPASS = 0
INDIRECT_BRANCH = 1
FORCE_DISABLE = 8  # for good, in what it executes, too
_PER_PROCESS = 1  # PR_SPEC_PRCTL

_prctl = function("prctl", (Int, UnsignedLong, UnsignedLong, UnsignedLong, UnsignedLong))


def controllable() -> frozenset[int]:
    """The kinds that a process may switch off for itself."""
    return frozenset(
        which
        for which in (STORE_BYPASS, INDIRECT_BRANCH)
        if (state := int(_prctl(PR_GET, which, 0, 0, 0))) > 0 and state & _PER_PROCESS
    )
