"""Cordons: what puts one on a GPU, what takes it off, and who has to move meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ainit.sched import health
from ainit.sched.condition import Cause, Condition, Lift
from ainit.sched.readings import Part, Reading, Recovery
from tests.unit.sched.fake_health import GPU0, FakeHealth

NOW = 1000.0
WELL = Condition(GPU0)
READING = FakeHealth().read(GPU0)


def reading(**fields: Any) -> Reading:
    return replace(READING, **fields)


def look(condition: Condition, *, now: float = NOW, **fields: Any) -> Condition:
    return health.look(condition, reading(**fields), now)


def causes(condition: Condition) -> list[Cause]:
    return [cordon.cause for cordon in condition.cordons]


def test_a_healthy_gpu_is_left_alone_and_named() -> None:
    after = look(WELL)
    assert not after.is_cordoned
    assert (after.index, after.name, after.bus) == (0, READING.name, READING.bus)
    assert look(after, now=NOW + 5) == after


# ---- Xids


@pytest.mark.parametrize(
    ("code", "lift", "moves"),
    [(119, Lift.RESET, True), (79, Lift.REBOOT, True), (54, Lift.OPERATOR, False)],
)
def test_a_serious_xid_cordons(code: int, lift: Lift, moves: bool) -> None:
    after = health.hear(WELL, code, None, NOW)
    [cordon] = after.cordons
    assert (cordon.cause, cordon.lift, cordon.moves, cordon.at) == (Cause.XID, lift, moves, NOW)
    assert after.moves == moves
    assert f"Xid {code}" in after.reason
    assert look(after, now=NOW + 5).cordons == after.cordons  # a good reading mends nothing


@pytest.mark.parametrize("code", [13, 43, 63, 94])
def test_another_xid_is_only_written_down(code: int) -> None:
    after = health.hear(WELL, code, 3, NOW)
    assert not after.is_cordoned
    assert [(each.code, each.instance, each.at) for each in after.xids] == [(code, 3, NOW)]


def test_the_same_xid_again_is_one_cordon_with_its_first_time() -> None:
    after = health.hear(health.hear(WELL, 119, None, NOW), 119, None, NOW + 9)
    assert [cordon.at for cordon in after.cordons] == [NOW]
    assert len(after.xids) == 2


def test_xids_are_kept_up_to_a_number() -> None:
    after = WELL
    for at in range(100):
        after = health.hear(after, 13, None, float(at))
    assert [each.at for each in after.xids] == [float(at) for at in range(84, 100)]


# ---- memory errors


def test_errors_that_an_xid_accounts_for_are_the_xids_to_judge() -> None:
    after = health.hear(look(WELL), 94, 1, NOW)
    after = look(after, uncorrected=1, aggregate=1, now=NOW + 2)
    after = look(after, uncorrected=1, aggregate=1, now=NOW + 7)
    assert not after.is_cordoned


def test_the_xid_may_come_after_its_count() -> None:
    after = look(look(WELL), uncorrected=1, aggregate=1)
    assert not after.is_cordoned
    after = health.hear(after, 94, 1, NOW + 1)
    assert not look(after, uncorrected=1, aggregate=1, now=NOW + 5).is_cordoned


@pytest.mark.parametrize(
    "fields", [{"uncorrected": 1}, {"uncorrected": None, "aggregate": 1}, {"aggregate": 1}]
)
def test_errors_that_nothing_accounts_for_cordon(fields: dict[str, Any]) -> None:
    """They came while nobody listened; whose memory it was, nobody knows."""
    after = look(WELL)
    for step in range(2):
        after = look(after, now=NOW + step, **fields)
    assert causes(after) == [Cause.ERRORS]
    assert (after.cordons[0].lift, after.moves) == (Lift.RESET, True)
    assert look(after, now=NOW + 9, **fields).cordons == after.cordons


def test_an_old_xid_accounts_for_nothing() -> None:
    after = health.hear(look(WELL), 94, 1, NOW - health.EXPLAIN_S - 1)
    for step in range(2):
        after = look(after, uncorrected=1, now=NOW + step)
    assert causes(after) == [Cause.ERRORS]


def test_errors_of_the_boards_earlier_life_are_not_held_against_it() -> None:
    after = WELL
    for step in range(3):
        after = look(after, aggregate=12, now=NOW + step)
    assert not after.is_cordoned


def test_under_mig_the_instances_errors_count() -> None:
    def parts(errors: int) -> tuple[Part, ...]:
        return (Part(1, "MIG-a", 0, 1, 0, errors), Part(2, "MIG-b", 0, 1, 0, 0))

    after = look(WELL, uncorrected=None, aggregate=None, parts=parts(0))
    for step in range(2):
        after = look(after, uncorrected=None, aggregate=None, parts=parts(1), now=NOW + step)
    assert causes(after) == [Cause.ERRORS]


def test_a_count_that_begins_again_is_no_error() -> None:
    after = replace(look(WELL), uncorrected=5)
    after = look(after, uncorrected=0)
    for step in range(2):
        after = look(after, uncorrected=0, now=NOW + step)
    assert not after.is_cordoned
    for step in range(2):
        after = look(after, uncorrected=1, now=NOW + step)
    assert after.is_cordoned


# ---- rows, pages, heat, what the driver wants


def test_a_row_that_could_not_be_remapped_cordons_until_an_operator_accepts_it() -> None:
    after = look(WELL, remap_failed=True)
    assert causes(after) == [Cause.REMAP]
    assert (after.cordons[0].lift, after.moves) == (Lift.OPERATOR, False)
    untold = look(after, remap_failed=None)
    assert untold.cordons == after.cordons  # a board with instances may not tell
    accepted = look(health.release(after), remap_failed=True)
    assert not accepted.is_cordoned
    mended = look(accepted, remap_failed=False)
    assert look(mended, remap_failed=True).is_cordoned


def test_what_is_done_at_the_next_reset_is_a_warning_only() -> None:
    assert not look(WELL, remap_pending=True, retired_pending=True).is_cordoned
    found = health.warnings(reading(remap_pending=True, retired_pending=True))
    assert [word for text in found for word in ("row", "page") if word in text] == ["row", "page"]
    assert health.warnings(READING) == []
    assert health.warnings(reading(throttle=("power-brake", "idle"))) == [
        "slowed down: power-brake"
    ]


@pytest.mark.parametrize(("pages", "full"), [(0, False), (63, False), (64, True)])
def test_a_board_that_can_retire_no_more_pages_is_cordoned(pages: int, full: bool) -> None:
    assert look(WELL, retired=pages).is_cordoned == full


def test_heat_cordons_until_it_has_been_gone_for_a_while() -> None:
    hot = look(WELL, throttle=("hw-thermal",))
    assert causes(hot) == [Cause.HEAT]
    assert not hot.moves
    cooling = look(hot, now=NOW + health.COOL_S - 1)
    assert cooling.is_cordoned
    again = look(cooling, throttle=("hw-thermal",), now=NOW + health.COOL_S)
    assert look(again, now=NOW + health.COOL_S + 1).is_cordoned
    assert not look(again, now=NOW + 2 * health.COOL_S).is_cordoned


@pytest.mark.parametrize(
    ("wanted", "lift", "moves"),
    [
        (Recovery.RESET, Lift.RESET, True),
        (Recovery.REBOOT, Lift.REBOOT, True),
        (Recovery.DRAIN, Lift.RESET, False),
    ],
)
def test_what_the_driver_wants_done(wanted: Recovery, lift: Lift, moves: bool) -> None:
    after = look(WELL, recovery=wanted)
    assert causes(after) == [Cause.RECOVERY]
    assert (after.cordons[0].lift, after.moves) == (lift, moves)


def test_the_driver_may_want_more_later() -> None:
    after = look(look(WELL, recovery=Recovery.RESET), recovery=Recovery.REBOOT)
    assert [cordon.lift for cordon in after.cordons] == [Lift.REBOOT]


def test_when_the_driver_wants_nothing_any_more_what_a_reset_mends_is_mended() -> None:
    after = health.hear(WELL, 119, None, NOW)
    after = health.hear(after, 79, None, NOW)
    after = look(after, recovery=Recovery.RESET)
    after = look(after, recovery=Recovery.NONE)
    assert [cordon.reason for cordon in after.cordons] == ["Xid 79 (fallen off the bus)"]


def test_a_driver_that_never_wanted_anything_mends_nothing() -> None:
    after = look(health.hear(WELL, 119, None, NOW), recovery=Recovery.NONE)
    assert after.is_cordoned


def test_a_reset_mends_what_it_mends() -> None:
    after = health.hear(health.hear(WELL, 119, None, NOW), 74, None, NOW)
    after = health.was_reset(replace(after, uncorrected=3))
    assert [cordon.reason for cordon in after.cordons] == ["Xid 74 (NVLink error)"]
    assert after.uncorrected == 0


# ---- gone and back, operators


def test_a_gpu_that_is_gone_moves_its_holders_and_is_good_when_it_is_back() -> None:
    gone = health.lose(WELL, "it does not answer any more", NOW)
    assert (gone.is_lost, gone.moves) == (True, True)
    assert health.lose(gone, "still", NOW + 5) == gone
    assert not look(gone, now=NOW + 9).is_cordoned


def test_one_that_fell_off_the_bus_is_not_good_when_it_is_back() -> None:
    gone = health.lose(health.hear(WELL, 79, None, NOW), "gone", NOW)
    assert causes(look(gone)) == [Cause.XID]


def test_an_operators_cordon_moves_nobody_and_is_his_to_lift() -> None:
    held = health.hold(WELL, "by an operator: a new fan", NOW)
    assert (held.is_cordoned, held.moves) == (True, False)
    assert health.hold(held, "by an operator: two fans", NOW + 1).reason == (
        "by an operator: two fans"
    )
    assert look(held).is_cordoned
    assert not health.release(held).is_cordoned


def test_an_operator_lifts_all_but_the_loss_of_the_gpu() -> None:
    after = health.lose(health.hear(WELL, 79, None, NOW), "gone", NOW)
    assert causes(health.release(after)) == [Cause.LOST]
