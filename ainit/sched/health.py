"""Whether a GPU may be given new work, and whether its holders stay: from evidence. PURE.

A *cordon* keeps new work off a GPU. It has a cause, and says how it ends: by itself, by a reset, by
a reboot, or by an operator; and whether holders are started elsewhere meanwhile. Any number may be
on one GPU, one of each cause and words. Sources, and the reasons for each rule: docs/gpu-health.md.
Leaves out the records: see ``condition``.

>>> one = hear(Condition("GPU-1"), 79, None, now=5.0)
>>> one.is_cordoned, one.moves, one.cordons[0].reason
(True, True, 'Xid 79 (fallen off the bus)')
"""

from __future__ import annotations

from dataclasses import replace

from . import xid
from .condition import Cause, Condition, Cordon, Heard, Lift
from .readings import HOT, Reading, Recovery

XIDS_KEPT = 16
COOL_S = 60.0  # how long a GPU that was too hot must not be so
EXPLAIN_S = 30.0  # an Xid and the count that it explains are seen this far apart, at most
RETIRED_MAX = 64  # pages that a board can retire (NVIDIA, Dynamic Page Retirement)


_LIFTS = {
    xid.Response.CORDON: Lift.OPERATOR,
    xid.Response.RESET: Lift.RESET,
    xid.Response.REBOOT: Lift.REBOOT,
}


def hear(condition: Condition, code: int, instance: int | None, now: float) -> Condition:
    """An Xid was reported."""
    kept = (*condition.xids, Heard(code, instance, now))[-XIDS_KEPT:]
    after = replace(condition, xids=kept)
    if code in xid.MEMORY:
        after = replace(after, suspect_at=None)
    entry = xid.classify(code)
    if not entry.response.cordons:
        return after
    lift, moves = _LIFTS[entry.response], entry.response.moves
    return _with(after, Cordon(Cause.XID, xid.describe(code), now, lift, moves))


def look(condition: Condition, reading: Reading, now: float) -> Condition:
    """The board was read. What it does not tell changes nothing."""
    named = replace(condition, index=reading.index, name=reading.name, bus=reading.bus)
    after = found(named)
    after = _recovery(after, reading, now)
    after = _errors(after, reading, now)
    after = _flag(
        after,
        reading.remap_failed,
        Cordon(Cause.REMAP, "a memory row could not be remapped", now, Lift.OPERATOR, moves=False),
    )
    full = None if reading.retired is None else reading.retired >= RETIRED_MAX
    words = f"{reading.retired} memory pages are retired, and no more can be"
    after = _flag(after, full, Cordon(Cause.RETIRED, words, now, Lift.OPERATOR, moves=False))
    return _heat(after, reading, now)


def lose(condition: Condition, reason: str, now: float) -> Condition:
    """The GPU does not answer any more, or is not on the bus."""
    if condition.is_lost:
        return condition
    return _with(condition, Cordon(Cause.LOST, reason, now, Lift.ITSELF, moves=True))


def found(condition: Condition) -> Condition:
    """The GPU answers. Coming back is no proof of health: Xid 79 stays on it until a reboot."""
    return _without(condition, Cause.LOST) if condition.is_lost else condition


def hold(condition: Condition, reason: str, now: float) -> Condition:
    """An operator cordons. Holders keep running."""
    cordon = Cordon(Cause.OPERATOR, reason, now, Lift.OPERATOR, moves=False)
    return _with(_without(condition, Cause.OPERATOR), cordon)


def release(condition: Condition) -> Condition:
    """An operator lifts every cordon but that of a GPU that is gone. What the board goes on saying
    is accepted until it says something else, or the machine is rebooted.
    """
    standing = {Cause.REMAP, Cause.RETIRED, Cause.RECOVERY, Cause.HEAT}
    causes = {cordon.cause for cordon in condition.cordons}
    accepted = {*condition.accepted, *(causes & standing)}
    return replace(
        condition,
        cordons=tuple(each for each in condition.cordons if each.cause is Cause.LOST),
        accepted=tuple(sorted(accepted, key=lambda cause: cause.value)),
        suspect_at=None,
    )


def was_reset(condition: Condition) -> Condition:
    """The GPU was reset: what a reset repairs is forgotten, and its counts begin again."""
    return replace(
        condition,
        cordons=tuple(each for each in condition.cordons if each.lift is not Lift.RESET),
        uncorrected=0,
        suspect_at=None,
    )


def warnings(reading: Reading) -> list[str]:
    """What does not keep work off a GPU and is worth a look, in words.

    A row that is to be remapped does no harm to new work: error containment and page offlining see
    to that until the reset (NVML API, nvmlDeviceGetRemappedRows).
    """
    found = []
    if reading.remap_pending:
        found.append("a memory row is remapped at the next reset")
    if reading.retired_pending:
        found.append("a memory page is retired at the next reset")
    slow = [word for word in reading.throttle or () if word in ("hw-slowdown", "power-brake")]
    if slow:
        found.append(f"slowed down: {', '.join(slow)}")
    return found


def _with(condition: Condition, cordon: Cordon) -> Condition:
    """One of a cause and words is enough; the first one stays, for it tells when it began."""
    same = (cordon.cause, cordon.reason)
    if any((each.cause, each.reason) == same for each in condition.cordons):
        return condition
    return replace(condition, cordons=(*condition.cordons, cordon))


def _without(condition: Condition, cause: Cause) -> Condition:
    kept = tuple(each for each in condition.cordons if each.cause is not cause)
    return replace(condition, cordons=kept)


def _flag(condition: Condition, is_set: bool | None, cordon: Cordon) -> Condition:
    """A cordon for as long as the board says so, unless an operator has accepted it."""
    if is_set is None:
        return condition
    if not is_set:
        accepted = tuple(cause for cause in condition.accepted if cause is not cordon.cause)
        return replace(_without(condition, cordon.cause), accepted=accepted)
    if cordon.cause in condition.accepted or _has(condition, cordon.cause):
        return condition
    return _with(condition, cordon)


def _has(condition: Condition, cause: Cause) -> bool:
    return any(each.cause is cause for each in condition.cordons)


def _recovery(condition: Condition, reading: Reading, now: float) -> Condition:
    """What the driver itself wants done. Once it wants nothing any more, it was done."""
    wanted = reading.recovery
    if wanted is None:
        return condition
    if wanted is Recovery.NONE and _has(condition, Cause.RECOVERY):
        condition = was_reset(condition)
    cordon = Cordon(
        Cause.RECOVERY,
        f"the driver wants a {wanted.value}",
        now,
        Lift.REBOOT if wanted is Recovery.REBOOT else Lift.RESET,
        moves=wanted is not Recovery.DRAIN,
    )
    if wanted is Recovery.REBOOT:
        condition = replace(
            condition,
            cordons=tuple(
                each
                for each in condition.cordons
                if each.cause is not Cause.RECOVERY or each.reason == cordon.reason
            ),
        )
    return _flag(condition, wanted is not Recovery.NONE, cordon)


def _errors(condition: Condition, reading: Reading, now: float) -> Condition:
    """Uncorrected memory errors that no Xid accounts for: they came while nobody listened, and may
    have reached anybody. The Xid may be on its way, so it is given until the next look.
    """
    before = condition
    uncorrected = reading.uncorrected
    fresh = [part.uncorrected for part in reading.parts if part.uncorrected is not None]
    if uncorrected is None and fresh:  # under MIG the counts are the instances'
        uncorrected = sum(fresh)
    grown = uncorrected is not None and uncorrected > before.uncorrected
    if reading.aggregate is not None and before.aggregate is not None:
        grown = grown or reading.aggregate > before.aggregate
    if not grown:
        low = before.uncorrected if uncorrected is None else min(uncorrected, before.uncorrected)
        first = before.aggregate if before.aggregate is not None else reading.aggregate
        return replace(before, uncorrected=low, aggregate=first, suspect_at=None)
    heard = any(each.code in xid.MEMORY and now - each.at <= EXPLAIN_S for each in before.xids)
    if not heard and before.suspect_at is None:
        return replace(before, suspect_at=now)
    after = replace(
        before,
        uncorrected=before.uncorrected if uncorrected is None else uncorrected,
        aggregate=reading.aggregate,
        suspect_at=None,
    )
    if heard:
        return after
    words = "uncorrectable memory errors that no Xid accounts for"
    return _with(after, Cordon(Cause.ERRORS, words, now, Lift.RESET, moves=True))


def _heat(condition: Condition, reading: Reading, now: float) -> Condition:
    if reading.throttle is None:
        return condition
    words = "too hot: its clocks are cut"
    hot = Cordon(Cause.HEAT, words, now, Lift.ITSELF, moves=False)
    if HOT in reading.throttle:
        return _flag(replace(condition, hot_at=now), is_set=True, cordon=hot)
    if condition.hot_at is None:
        return condition
    if now - condition.hot_at < COOL_S:
        return condition
    return _flag(replace(condition, hot_at=None), is_set=False, cordon=hot)
