"""The cause of an end, out of logs as kernels write them."""

from __future__ import annotations

import pytest

from ainit.crash.evidence import CAUSE_LETTERS, Kind, judge
from ainit.pid1.facts import REQUESTED
from ainit.pid1.loop import describe
from ainit.pid1.shutdown import SOFT_REBOOT

SYSRQ = """\
[   31.1] ainit: the machine is healthy
[   42.0] sysrq: Trigger a crash
[   42.0] Kernel panic - not syncing: sysrq triggered crash
[   42.0] CPU: 1 UID: 0 PID: 211 Comm: sh Not tainted 6.12.117-ainos #1
[   42.0] Call Trace:
"""
OOPS = """\
[   50.0] BUG: kernel NULL pointer dereference, address: 0000000000000000
[   50.0] #PF: supervisor write access in kernel mode
[   50.0] Oops: Oops: 0002 [#1] SMP NOPTI
[   50.0] CPU: 0 PID: 7 Comm: modprobe Tainted: G           OE      6.12.117-ainos #1
"""
PRETIMEOUT = "[  300.2] Kernel panic - not syncing: watchdog pretimeout event\n"
LOCKUP = """\
[  9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [python3:71]
[  9.0] Kernel panic - not syncing: softlockup: hung tasks
"""
FATAL_CAUSE = (
    "Kernel panic - not syncing: Fatal exception in interrupt "
    "(BUG: kernel NULL pointer dereference, address: 0000000000000000)"
)
FATAL = OOPS + "[   50.1] Kernel panic - not syncing: Fatal exception in interrupt\n"


@pytest.mark.parametrize(
    ("text", "kind", "cause"),
    [
        (SYSRQ, Kind.PANIC, "Kernel panic - not syncing: sysrq triggered crash"),
        (OOPS, Kind.OOPS, "BUG: kernel NULL pointer dereference, address: 0000000000000000"),
        (PRETIMEOUT, Kind.WATCHDOG, "Kernel panic - not syncing: watchdog pretimeout event"),
        (LOCKUP, Kind.WATCHDOG, "Kernel panic - not syncing: softlockup: hung tasks"),
        (FATAL, Kind.PANIC, FATAL_CAUSE),
        ("[ 1.0] all is well\n", Kind.UNCLEAN, ""),
        ("", Kind.UNCLEAN, ""),
    ],
    ids=["sysrq", "oops", "pretimeout", "lockup", "oops-then-panic", "silence", "nothing"],
)
def test_kind_and_cause(text: str, kind: Kind, cause: str) -> None:
    judged = judge(text)
    assert (judged.kind, judged.cause) == (kind, cause)


def test_what_a_service_says_is_no_cause() -> None:
    text = "[ 1.0] ainit: speech: Kernel panic - not syncing: of mine\n[ 2.0] speech: BUG: x\n"
    assert judge(text).kind is Kind.UNCLEAN


def test_the_kernel_s_version_is_that_of_the_trace() -> None:
    assert judge(SYSRQ).kernel == judge(OOPS).kernel == "6.12.117-ainos"
    assert judge(PRETIMEOUT).kernel == ""


def test_faults_of_ainit_are_counted() -> None:
    fault = f"[ 3.0] ainit: PID 1 was started anew: {describe(KeyError('x'))}\n"
    asked = "".join(
        f"[ 4.0] ainit: PID 1 was started anew: {reason}\n"
        for reason in (REQUESTED, f"{REQUESTED} by root", SOFT_REBOOT)
    )
    assert judge(fault + SYSRQ + asked + fault).faults == 2
    assert judge(f"[ 3.0] speech: {fault}").faults == 0


def test_a_cause_is_bounded() -> None:
    assert len(judge(f"Kernel panic - not syncing: {'x' * 9999}").cause) == CAUSE_LETTERS


def test_long_lines_take_no_time() -> None:
    assert judge("[" * 200_000 + "\n" + "Tainted: " + "G " * 100_000).cause == ""
