"""What opens the state, and the words for why it stays closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ainit.seal.approval import Approval
from ainit.seal.decide import AHEAD, Sealed, ahead, decide, raised
from ainit.wire.codec import dumps, loads

KEY = (3, 5)
BASE = 40


def value(text: str) -> bytes:
    return text.encode().ljust(32, b".")


def image(generation: int, *, key: tuple[int, int] = KEY) -> Approval:
    """The approval of the only image of its generation."""
    pcrs = {9: value("line"), 11: value(f"image {generation}"), 12: bytes(32)}
    signatures = {floor: (floor, 1) for floor in range(1, generation + 1)}
    return Approval(f"1.{generation}", generation, key, pcrs, signatures)


def record(floor: int, *, base: int = BASE) -> Sealed:
    return Sealed(floor, base + floor, KEY, {7: value("keys")}, b"blob %d" % floor)


def machine(generation: int, **changed: bytes) -> Mapping[int, bytes]:
    """The PCRs of a machine that booted the image of a generation."""
    values = {7: value("keys"), **image(generation).pcrs}
    return values | {int(name.removeprefix("pcr")): data for name, data in changed.items()}


def test_an_approved_image_opens_at_the_floor() -> None:
    found = decide([record(1)], [image(1)], machine(1), BASE + 1)
    (choice,) = found.choices
    assert (choice.sealed, found.findings, found.floor) == (record(1), (), 1)
    assert (choice.grant.floor, choice.grant.most) == (1, BASE + 1)
    assert (choice.grant.approved, choice.grant.bound) == ((9, 11, 12), (7,))
    assert choice.grant.signature == image(1).signatures[1]


def test_the_highest_floor_is_tried_first() -> None:
    found = decide([record(1), record(3), record(2)], [image(3)], machine(3), BASE + 1)
    assert [choice.sealed.floor for choice in found.choices] == [3, 2, 1]
    assert found.floor == 1


def test_the_image_is_found_among_many_approvals() -> None:
    found = decide([record(1)], [image(3), image(2), image(1)], machine(2), BASE + 1)
    assert found.approval == image(2)


def test_what_the_counter_has_passed_is_not_tried() -> None:
    found = decide([record(1), record(2)], [image(2)], machine(2), BASE + 2)
    assert [choice.sealed.floor for choice in found.choices] == [2]
    assert found.floor == 2


@pytest.mark.parametrize(
    ("sealed", "approvals", "values", "counter", "said"),
    [
        ([], [image(1)], machine(1), 41, "nothing is sealed to a TPM"),
        ([record(1)], [image(1)], machine(1), None, "this TPM has no counter"),
        ([record(1)], [image(1)], machine(1), 42, "an older header was put back"),
        ([record(1)], [], machine(1), 41, "nobody signed what booted"),
        ([record(2)], [image(1)], machine(1), 42, "1.1 is of generation 1, below the floor of"),
        ([record(1)], [image(1, key=(9, 9))], machine(1), 41, "by another key"),
        ([record(1)], [image(1)], machine(1, pcr7=value("other")), 41, "PCR 7 (the Secure Boot"),
        ([record(1)], [image(1)], machine(1, pcr9=value("other")), 41, "PCR 9 (the command line"),
        ([record(1)], [image(1)], machine(1, pcr12=value("x")), 41, "PCR 12 (something was"),
        ([record(1)], [image(1)], machine(2), 41, "PCR 11 (the kernel image's parts) differs from"),
    ],
)
def test_what_keeps_it_closed_is_named(
    sealed: list[Sealed],
    approvals: list[Approval],
    values: Mapping[int, bytes],
    counter: int | None,
    said: str,
) -> None:
    found = decide(sealed, approvals, values, counter)
    assert not found.choices
    (finding,) = found.findings
    assert said in finding


def test_everything_that_changed_is_named() -> None:
    values = machine(2, pcr7=value("other"), pcr9=value("other"))
    found = decide([record(1)], [image(1)], values, BASE + 1)
    assert [finding.split(" (")[0] for finding in found.findings] == ["PCR 9", "PCR 11", "PCR 7"]


def test_the_nearest_approval_is_the_one_that_is_compared_with() -> None:
    far = replace(image(3), pcrs={9: value("a"), 11: value("b"), 12: value("c")})
    found = decide([record(1)], [far, image(1)], machine(2), BASE + 1)
    assert [finding.rpartition(" ")[2] for finding in found.findings] == ["1.1"]


# What to seal for ahead of time, and how high the floor may go.


def test_an_image_seals_for_the_floors_that_it_may_reach() -> None:
    assert ahead([record(1)], image(3), 1) == [2, 3]
    assert ahead([record(1), record(2), record(3)], image(3), 1) == []
    assert ahead([], image(2), 2) == [2]


def test_but_not_for_all_of_many() -> None:
    assert ahead([record(1)], image(200), 1) == list(range(2, 2 + AHEAD))


def test_the_floor_rises_to_what_every_image_can_follow() -> None:
    records = [record(1), record(2), record(3)]
    assert raised(records, {"new": image(3)}, 1) == (3, [])
    assert raised(records, {"new": image(3), "old": image(2)}, 1) == (
        2,
        ["old is of generation 2"],
    )


def test_it_stays_while_the_fallback_needs_it() -> None:
    records = [record(1), record(2)]
    assert raised(records, {"new": image(2), "old": image(1)}, 1)[0] == 1
    floor, held = raised(records, {"new": image(2), "unknown": None}, 1)
    assert (floor, held) == (1, ["unknown has no approval"])


def test_it_never_sinks_and_never_passes_the_records() -> None:
    assert raised([record(2)], {"old": image(1)}, 2)[0] == 2
    assert raised([record(2)], {"new": image(5)}, 1)[0] == 2
    assert raised([], {"new": image(5)}, 1)[0] == 1


# The form in the header.


def test_a_record_survives_the_header() -> None:
    written = loads(dumps(record(2).to_record()))
    assert isinstance(written, dict)
    assert Sealed.from_record(written) == record(2)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("floor", -1), ("most", "7"), ("key", ["1"]), ("key", 7), ("bound", []), ("blob", "zz")],
)
def test_a_record_that_is_none_is_refused(key: str, wrong: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Sealed.from_record({**record(2).to_record(), key: wrong})
