from __future__ import annotations

import pytest

from ainit.attest import measurements
from ainit.attest.golden import Artefact
from ainit.attest.verdict import State
from ainit.policy import phases
from ainit.policy.phases import Event

from .machine import boot_set, digest, write_log

WANTED = Artefact("model", "magika", digest("a"))
GOOD = phases.measured("model", "magika", digest("a"))
BOOT = phases.booted(7, 0)
OTHER = phases.measured("model", "magika", digest("9"))
REFUSED = phases.refused("model", "magika", "unsigned")


def compare(events: list[Event], golden: list[Artefact]) -> list[tuple[str, State, int | None]]:
    log = measurements.read(write_log(events))
    return [(f.name, f.state, f.record) for f in measurements.compare(log, golden)]


def test_the_log_of_a_boot_is_read_without_a_problem() -> None:
    log = measurements.read(write_log([BOOT, *boot_set()]))
    assert log.problems == ()
    assert log.counters == (7, 0)
    assert [number for number, _ in log.events] == list(range(10))
    assert log.replay({}) == phases.predict([BOOT, *boot_set()])


def test_a_replay_starts_from_what_the_firmware_left() -> None:
    log = measurements.read(write_log([GOOD]))
    start = {13: b"\1" * 32}
    assert log.replay(start)[13] == phases.fold(b"\1" * 32, GOOD.digest)
    assert log.replay(start)[14] == phases.ZERO


def test_what_comes_after_the_cap_counts_only_at_the_end() -> None:
    log = measurements.read(write_log([*boot_set(), OTHER]))
    assert log.replay({}, to_cap=True) == phases.predict(boot_set())
    assert log.replay({}) == phases.predict([*boot_set(), OTHER])


def test_every_bad_record_is_reported_and_the_rest_is_read() -> None:
    lines = write_log([BOOT, *boot_set()]).split(b"\n")
    lines[1] = b"{"
    lines[5] = lines[5].replace(b"agent", b"agenda")
    log = measurements.read(b"\n".join(lines))
    assert [problem.split(":")[0] for problem in log.problems] == ["record 1", "record 5"]
    assert len(log.events) == 8


def test_a_log_has_an_end() -> None:
    line = write_log([GOOD])
    log = measurements.read(line * (16 * 1024 + 1))
    assert any("at most" in problem for problem in log.problems)


@pytest.mark.parametrize(
    ("events", "facts"),
    [
        ([GOOD], [("magika", State.MEASURED, 0)]),
        ([OTHER], [("magika", State.ALTERED, 0)]),
        ([REFUSED], [("magika", State.REFUSED, 0)]),
        ([], [("magika", State.MISSING, None)]),
        ([GOOD, REFUSED], [("magika", State.REFUSED, 1)]),
        ([OTHER, GOOD], [("magika", State.MEASURED, 1), ("magika", State.EXTRA, 0)]),
        ([GOOD, OTHER], [("magika", State.MEASURED, 0), ("magika", State.EXTRA, 1)]),
        ([GOOD, phases.cap(13)], [("magika", State.MEASURED, 0)]),
    ],
)
def test_what_became_of_a_predicted_model(
    events: list[Event], facts: list[tuple[str, State, int | None]]
) -> None:
    assert compare(events, [WANTED]) == facts


@pytest.mark.parametrize("event", [OTHER, REFUSED])
def test_what_nobody_predicted(event: Event) -> None:
    state = State.REFUSED if event is REFUSED else State.EXTRA
    assert compare([event], []) == [("magika", state, 0)]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([OTHER], "model magika was altered"),
        ([REFUSED], "model magika was refused by the machine: unsigned"),
        ([], "model magika was predicted and never measured"),
    ],
)
def test_findings_are_sentences(events: list[Event], words: str) -> None:
    (fact,) = measurements.compare(measurements.read(write_log(events)), [WANTED])
    assert words in measurements.describe(fact)


def test_an_extra_model_is_named_with_its_digest() -> None:
    (fact,) = measurements.compare(measurements.read(write_log([OTHER])), [])
    assert measurements.describe(fact) == (
        f"model magika was measured ({digest('9')}) and is no part of the build"
    )
