"""Whether a release is for this machine now, and what a boot means."""

from __future__ import annotations

import pytest

from ainit.ota import decide, history
from ainit.ota.decide import Machine, Slot, hindrance, in_rollout, meaning, other, why_fallen
from ainit.ota.history import Floors, State
from tests.support.update_world import IMAGE, release

HERE = Machine("m1", IMAGE, "1.2.0")
STATE = State(history.PENDING, "1.3.0", "1.2.0", boot="b1")


def test_a_rollout_takes_its_share_of_machines_and_others_for_another_version() -> None:
    machines = [f"machine-{number}" for number in range(4000)]
    share = {each for each in machines if in_rollout(each, "1.3.0", 25)}
    assert 900 < len(share) < 1100
    assert share < {each for each in machines if in_rollout(each, "1.3.0", 50)}
    assert share != {each for each in machines if in_rollout(each, "1.4.0", 25)}
    assert all(in_rollout(each, "1.3.0", 100) for each in machines)
    assert not any(in_rollout(each, "1.3.0", 0) for each in machines)


@pytest.mark.parametrize(
    ("version", "more", "machine", "expected"),
    [
        ("1.3.0", {}, HERE, ""),
        ("1.10", {}, HERE, ""),
        ("1.2.0", {}, HERE, "1.2.0 runs already"),
        ("1.2", {}, HERE, "1.2 runs already"),
        ("1.1.9", {}, HERE, "1.1.9 is older than 1.2.0, which runs"),
        ("1.3.0", {"variant": "server"}, HERE, "1.3.0 is for server-x86_64, and this machine is"),
        ("1.3.0", {"architecture": "aarch64"}, HERE, "1.3.0 is for base-aarch64, and this"),
        (
            "1.3.0",
            {},
            Machine("m1", IMAGE, "1.2.0", Floors("1.4.0")),
            "1.3.0 is below the version floor of this machine, 1.4.0",
        ),
        (
            "1.3.0",
            {},
            Machine("m1", IMAGE, "1.2.0", Floors("0", 2)),
            "1.3.0 cannot read the state: it is of data format 1, and the floor of this machine is",
        ),
        (
            "1.3.0",
            {},
            Machine("m1", IMAGE, "1.2.0", failed={"1.3.0": "it panicked"}),
            "1.3.0 did not stay here before: it panicked; `ainitctl update install 1.3.0` tries",
        ),
        (
            "1.3.0",
            {},
            Machine("m1", IMAGE, "1.2.0", pending="1.2.9"),
            "1.2.9 is installed and not committed yet",
        ),
    ],
)
def test_hindrances(version: str, more: dict[str, object], machine: Machine, expected: str) -> None:
    found = hindrance(release(version, **more), 100, machine)
    assert found.startswith(expected)
    assert bool(found) is bool(expected)


def test_what_a_name_overrules_and_what_it_does_not() -> None:
    failed = Machine("m1", IMAGE, "1.2.0", failed={"1.3.0": "it panicked"})
    assert hindrance(release("1.3.0"), 0, failed, by_name=True) == ""
    assert hindrance(release("1.1.0"), 0, HERE, by_name=True) == ""
    assert hindrance(release("1.3.0"), 0, HERE).endswith(
        "0 % of the machines so far, and not to this one"
    )
    low = Machine("m1", IMAGE, "1.2.0", Floors("1.4.0", 1))
    assert "below the version floor" in hindrance(release("1.3.0"), 100, low, by_name=True)


def test_floors_only_rise() -> None:
    assert decide.raised(Floors("1.0", 3), "2.0", 2) == Floors("2.0", 3)
    assert decide.raised(Floors("1.10", 1), "1.9", 2) == Floors("1.10", 2)


@pytest.mark.parametrize(
    ("state", "running", "boot", "expected"),
    [
        (None, "1.2.0", "b1", decide.QUIET),
        (State(history.INSTALLING, "1.3.0", "1.2.0", "b1"), "1.2.0", "b1", decide.UNFINISHED),
        (State(history.INSTALLING, "1.3.0", "1.2.0", "b1"), "1.2.0", "b2", decide.UNFINISHED),
        (STATE, "1.2.0", "b1", decide.INSTALLED),
        (STATE, "1.3.0", "b2", decide.TRIAL),
        (STATE, "1.3", "b2", decide.TRIAL),
        (STATE, "1.2.0", "b2", decide.FELL_BACK),
        (STATE, "1.1.0", "b2", decide.FELL_BACK),
        (State(history.ROLLING_BACK, "1.1.0", "1.2.0", "b1"), "1.2.0", "b1", decide.INSTALLED),
        (State(history.ROLLING_BACK, "1.1.0", "1.2.0", "b1"), "1.1.0", "b2", decide.ROLLED_BACK),
        (State(history.ROLLING_BACK, "1.1.0", "1.2.0", "b1"), "1.2.0", "b2", decide.MISSED),
    ],
)
def test_what_a_boot_means(state: State | None, running: str, boot: str, expected: str) -> None:
    assert meaning(state, running, boot) == expected


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([Slot("1.3.0", 2)], "the boot loader took another entry; it has 2 tries left; panic"),
        ([Slot("1.3.0", 0)], "the new kernel never reached ainit in any of its tries; panic"),
    ],
)
def test_why_it_fell_back(slots: list[Slot], expected: str) -> None:
    assert why_fallen(STATE, slots, ["panic", "older"]) in (expected, f"{expected}; panic")


def test_the_other_slot_is_the_newest_beside_the_running_one() -> None:
    slots = [Slot("1.2.0", 3), Slot("1.10.0", 3), Slot("1.9.0", 0)]
    assert other(slots, "1.2") == Slot("1.10.0", 3)
    assert other(slots[:1], "1.2.0") is None


def test_polling_backs_off() -> None:
    def delay(failures: int, chance: float = 0.0) -> float:
        return decide.poll_delay(7200, 600, failures, chance)

    assert delay(0) == 7200
    assert delay(0, 1.0) == 7800
    assert [delay(count) for count in (1, 2, 3)] == [60, 120, 240]
    assert delay(1, 1.0) == 120
    assert delay(50) == 7200
    assert decide.poll_delay(60, 0, 5, 0.5) == 60
