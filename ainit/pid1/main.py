"""From the kernel's exec to the event loop, in a straight line, and down again.

    journal → early mounts → TPM → which disk → state partition → plan → units → loop → shutdown

A fault anywhere leads back to the first line by exec(2): the same process, with its children and
its journal. Only this module exits, reboots or powers off.
"""

from __future__ import annotations

import _signal
import os
import sys

from .. import __version__, constants
from ..errors import AinosError, JournalError
from ..linux import kmsg, libc, native, process
from ..linux.cgroup import Tree
from ..linux.watchdog import Watchdog
from . import configuration, loop
from . import facts as knowledge
from .facts import Facts
from .init import Init
from .journal import Journal
from .platform import Platform
from .shutdown import REBOOT, SOFT_REBOOT

_FORGIVEN_SECONDS = 60.0
_NICE = -10  # whoever asks PID 1 does not wait for what a thousand services do
_WATCHDOG = ("watchdog",)
_ONCE_MORE = "reads its journal once more"


def _take_up() -> tuple[Journal, Facts]:
    """The journal and the facts of a former PID 1, or new ones; a fault is counted."""
    journal = Journal.resume()
    if journal is None:
        return Journal.create(), Facts()
    journal.close_others()
    facts = Facts.of(journal)
    reason = sys.argv[-1].removeprefix(native.FAULT)
    faulty = facts.count_fault(reason, loop.now(), _FORGIVEN_SECONDS, journal)
    kmsg.log(f"PID 1 was started anew: {reason}", kmsg.ERROR if faulty else kmsg.NOTICE)
    return journal, facts


def _take_privileges() -> None:
    """Descriptors for a thousand services, and the processor before any of them."""
    for take in (libc.raise_descriptors, lambda: process.prefer(_NICE)):
        try:
            take()
        except OSError as error:  # in a container, perhaps: then with what there is
            kmsg.log(f"without a privilege of PID 1: {error.strerror}", kmsg.WARNING)


def _start(platform: Platform, journal: Journal, facts: Facts) -> Init:
    """Everything before the loop. Each step may have been done already."""
    if not facts.found:
        facts.started = facts.started or loop.now()
        _take_privileges()
        platform.prepare()
        kmsg.log(f"ainit {__version__} is PID {os.getpid()}")
    measurements = platform.measurements(journal)
    if not facts.found:
        measurements.begin()
        platform.find_disk(facts)
        facts.refused = bool(facts.problems)
        plan = configuration.load(measurements, facts)
        measurements.add(facts.config_event())  # first in the boot set, before any of it is used
        platform.name(str(plan.machine.get("hostname", "ainos")))
        lacking = Tree(f"{constants.CGROUP_ROOT}/{constants.SERVICE_SLICE}").prepare()
        if lacking:
            facts.problems.append(f"the kernel lacks cgroup controllers: {', '.join(lacking)}")
        facts.remember(journal)
    else:
        plan = configuration.running(facts, journal)
    return Init(plan, facts, journal, measurements, platform.enforcement(journal))


def _watch(init: Init, journal: Journal) -> Watchdog:
    """Take the hardware watchdog over, or go on petting it."""
    watchdog = Watchdog(constants.WATCHDOG_SECONDS, kept=journal.of(*_WATCHDOG).get(_WATCHDOG, -1))
    if watchdog.armed and _WATCHDOG not in journal.of(*_WATCHDOG):
        journal.keep(watchdog.descriptor, _WATCHDOG)

    def pet(now: float) -> float:
        watchdog.pet()
        return now + constants.WATCHDOG_SECONDS / 3 if watchdog.armed else 0.0

    init.loop.hook(pet)
    return watchdog


def _serve(platform: Platform) -> str:
    """Run the machine; returns how it goes down."""
    try:
        journal, facts = _take_up()
    except JournalError:
        raise  # it could not be written to just now
    except AinosError as error:
        if not sys.argv[-1].startswith(native.FAULT + _ONCE_MORE):
            native.reexec(f"{_ONCE_MORE}: {error}")
        kmsg.log(f"{error}, rebooting", 2)
        return REBOOT
    process.reserve()
    if facts.faults_in_a_row > constants.FAULTS_IN_A_ROW:
        kmsg.log(f"{facts.faults_in_a_row} faults in a row, rebooting: {facts.last_fault}", 2)
        return REBOOT
    init = _start(platform, journal, facts)
    watchdog = _watch(init, journal)
    init.begin()
    how = init.run()
    kmsg.log(f"{how} after {loop.now():.1f} s, peak memory {process.peak_memory() >> 10} KiB")
    watchdog.pet()
    if how == SOFT_REBOOT:
        knowledge.forget(journal)
        native.reexec(SOFT_REBOOT)
    return how


def main(platform: Platform | None = None) -> None:
    """PID 1. Never returns. Raises only what comes before it can execute itself anew, or while it
    is about to: whoever called it tries again in place.
    """
    platform = platform or Platform()
    native.arm(sys.orig_argv, [f"{name}={value}" for name, value in os.environ.items()])
    native.limit(constants.STUCK_SECONDS)
    how = REBOOT
    try:
        how = _serve(platform)
    except BaseException as error:  # noqa: BLE001 - an exception that leaves PID 1 is a panic
        _start_anew(error)
    try:
        platform.leave(how)
    finally:
        while True:  # the kernel is on its way down, or the watchdog will see to it
            _signal.pause()


def _start_anew(error: BaseException) -> None:
    """Execute PID 1 again. Returns only when that is impossible; needs no memory."""
    try:
        native.reexec(loop.describe(error))
    except MemoryError:
        native.reexec("MemoryError")
    except OSError as problem:
        kmsg.log(f"ainit cannot be executed anew: {problem}", 2)
    try:
        native.reexec("again")
    except OSError as problem:
        kmsg.log(f"ainit cannot go on, rebooting: {problem}", 2)
