"""What PID 1 knows of the machine outlives it, and faults are counted."""

from __future__ import annotations

import pytest

from ainit.pid1 import facts as knowledge
from ainit.pid1.facts import REQUESTED, Facts
from ainit.pid1.shutdown import SOFT_REBOOT
from tests.support.notebook import Notebook


def filled() -> Facts:
    facts = Facts()
    facts.started, facts.root, facts.state = 1.5, "verified", "ready"
    facts.loader, facts.problems, facts.refused = [4.0, 1.0], ["no state partition"], True
    facts.plan, facts.config_digest = "/usr/lib/ainos/plan.json", "sha256:" + "ab" * 32
    return facts


def slots(facts: Facts) -> dict[str, object]:
    return {slot: getattr(facts, slot) for slot in Facts.__slots__}


def test_whoever_takes_over_knows_the_same() -> None:
    journal, facts = Notebook(), filled()
    facts.remember(journal)
    facts.count_fault("KeyError: 'x'", 100.0, 60.0, journal)
    assert slots(Facts.of(journal.reopened())) == slots(facts)
    assert facts.found


def test_before_they_are_remembered_there_are_none() -> None:
    assert slots(Facts.of(Notebook())) == slots(Facts())


def test_what_another_version_says_besides_is_left_out() -> None:
    journal = Notebook()
    journal.put("facts", {"root": "verified", "colour": "red"})
    assert Facts.of(journal).root == "verified"


def test_faults_are_counted_and_forgiven_after_a_while() -> None:
    journal = Notebook()
    seen = []
    for now in (100.0, 130.0, 189.9, 250.0, 250.1):
        facts = Facts.of(journal.reopened())
        assert facts.count_fault(f"fault at {now}", now, 60.0, journal)
        seen.append((facts.faults, facts.faults_in_a_row, facts.last_fault))
    assert seen == [
        (1, 1, "fault at 100.0"),
        (2, 2, "fault at 130.0"),
        (3, 3, "fault at 189.9"),
        (4, 1, "fault at 250.0"),
        (5, 2, "fault at 250.1"),
    ]


def test_the_first_fault_right_after_boot_is_one() -> None:
    facts = Facts()
    facts.count_fault("signal 11", 2.0, 60.0, Notebook())
    assert (facts.faults, facts.faults_in_a_row) == (1, 1)


@pytest.mark.parametrize("reason", [f"{REQUESTED} by user 0", SOFT_REBOOT])
def test_what_was_asked_for_is_no_fault(reason: str) -> None:
    journal, facts = Notebook(), Facts()
    assert not facts.count_fault(reason, 100.0, 60.0, journal)
    assert (facts.faults, facts.last_fault, journal.records) == (0, "", [])


def test_a_soft_reboot_forgets_all_but_the_faults() -> None:
    journal, facts = Notebook(), filled()
    facts.remember(journal)
    facts.count_fault("signal 11", 100.0, 60.0, journal)
    journal.put("mounted", {"/run/x": "sha256:00"})
    for key in ("begun", "order", "ending"):
        journal.put(key, True)
    said = len(journal.records)
    knowledge.forget(journal)
    assert len(journal.records) == said + 1  # or a fault would leave a part of it
    journal = journal.reopened()
    again = Facts.of(journal)
    assert (again.found, again.root, again.faults) == (False, "", 1)
    assert not journal.values.keys() & {"begun", "order", "ending"}
    assert journal.values["mounted"] == {"/run/x": "sha256:00"}


def test_the_configuration_in_force_is_an_event() -> None:
    event = filled().config_event()
    assert (event.pcr, event.content["name"]) == (12, "machine")
    assert event.content["digest"] == "sha256:" + "ab" * 32
