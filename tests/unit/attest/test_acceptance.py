"""What a policy accepts, and how it says what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ainit.attest.acceptance import Policy, version_key
from ainit.attest.enrol import Enrolment
from ainit.attest.golden import Artefact
from ainit.attest.verdict import State, Verdict
from ainit.attest.verify import verify
from ainit.policy import phases
from ainit.policy.phases import Event

from . import firmware_log
from .machine import MODELS, Machine, boot_set, digest, golden

BUILD = golden()
OLD = replace(BUILD, version="0.0.9", pcrs={**BUILD.pcrs, 4: b"\x01" * 32})
EXTRA = phases.measured("model", "minilm", digest("8"))
OTHER = phases.measured("model", "magika", digest("7"))


def artefact(event: Event) -> Artefact:
    content = event.content
    return Artefact(str(content["type"]), str(content["name"]), str(content["digest"]))


def judge(machine: Machine, policy: Policy, answer: Enrolment | None = None) -> Verdict:
    answer = answer or machine.enrol()
    return verify(answer.evidence, replace(machine.trust(answer), policy=policy))


def codes(verdict: Verdict) -> set[tuple[str, str]]:
    return {(finding.code, finding.subject) for finding in verdict.findings}


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0.9", "0.10"), ("0.1", "0.1.1"), ("1", "1.0"), ("0.1.0", "0.1.0rc1")],
)
def test_versions_have_an_order(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_one_of_several_images_is_found(machine: Machine) -> None:
    verdict = judge(machine, Policy((OLD, BUILD, replace(BUILD, version="9", pcrs=OLD.pcrs))))
    assert verdict.accepted
    assert verdict.facts.version == BUILD.version


def test_an_unknown_image_is_held_against_the_newest(machine: Machine) -> None:
    newest = replace(OLD, version="9")
    verdict = judge(machine, Policy((OLD, newest)))
    assert verdict.facts.version == "9"
    assert codes(verdict) == {("golden", "PCR 4")}


def test_an_image_below_the_floor_is_named(machine: Machine) -> None:
    assert judge(machine, Policy((BUILD,), floor=BUILD.version)).accepted
    verdict = judge(machine, Policy((BUILD,), floor="1.2"))
    assert codes(verdict) == {("version", f"image {BUILD.version}")}
    assert "older than 1.2" in verdict.findings[0].message


def test_a_model_that_the_policy_adds(machine: Machine) -> None:
    machine.boot(events=boot_set(models=[*MODELS, EXTRA]))
    answer = machine.enrol()
    policy = Policy((BUILD,), artefacts=frozenset([artefact(EXTRA)]))
    verdict = judge(machine, policy, answer)
    assert verdict.accepted
    facts = {fact.name: fact.state for fact in verdict.facts.artefacts}
    assert facts["minilm"] is State.ACCEPTED
    assert next(fact.match for fact in verdict.facts.pcrs if fact.pcr == 13) is None
    assert not judge(machine, Policy((BUILD,)), answer).accepted


def test_another_version_of_a_model_that_the_policy_adds(machine: Machine) -> None:
    machine.boot(events=boot_set(models=[OTHER, *MODELS[1:]]))
    policy = Policy((BUILD,), artefacts=frozenset([artefact(OTHER)]))
    assert judge(machine, policy).accepted


def test_a_configuration_of_the_owner(machine: Machine) -> None:
    config = phases.measured("machine-config", "machine", digest("0"))
    machine.boot(events=boot_set(config=config))
    policy = Policy((BUILD,), artefacts=frozenset([artefact(config)]))
    assert judge(machine, policy).accepted


def test_what_is_added_excuses_nothing_else(machine: Machine) -> None:
    """The prediction of PCR 13 is gone; each event in it is still judged."""
    machine.boot(events=boot_set(models=[OTHER, MODELS[1], EXTRA]))
    policy = Policy((BUILD,), artefacts=frozenset([artefact(EXTRA)]))
    assert codes(judge(machine, policy)) == {
        ("altered", "model magika"),
        ("missing", "model silero"),
    }


def test_an_addition_counts_for_its_kind_name_and_digest_alone(machine: Machine) -> None:
    machine.boot(events=boot_set(models=[*MODELS, EXTRA]))
    answer = machine.enrol()
    right = artefact(EXTRA)
    for wrong in (
        replace(right, kind="policy"),
        replace(right, name="minilm2"),
        replace(right, digest=digest("9")),
    ):
        verdict = judge(machine, Policy((BUILD,), artefacts=frozenset([wrong])), answer)
        assert ("extra", "model minilm") in codes(verdict)


def test_firmware_that_is_pinned(machine: Machine) -> None:
    answer = machine.enrol()
    value = firmware_log.fold(firmware_log.boot())[0]
    assert judge(machine, Policy((BUILD,), pins={0: frozenset([value])}), answer).accepted
    verdict = judge(machine, Policy((BUILD,), pins={0: frozenset([bytes(32)])}), answer)
    assert codes(verdict) == {("pin", "PCR 0")}


def test_the_variable_that_differs_is_named(machine: Machine) -> None:
    entries = firmware_log.boot()
    known = {
        name: entry.extended
        for name in ("SecureBoot", "PK", "KEK", "db")
        for entry in entries
        if entry.pcr == 7 and name.encode("utf-16-le") + b"our" in entry.data.replace(b"\1", b"our")
    }
    assert set(known) == {"SecureBoot", "PK", "KEK", "db"}
    added = [
        replace(entry, data=firmware_log.variable(firmware_log.IMAGE_SECURITY, "db", b"more keys"))
        if entry.data.endswith(b"our db")
        else entry
        for entry in entries
    ]
    machine.boot(added)
    verdict = judge(machine, Policy((replace(BUILD, variables=known),)))
    assert codes(verdict) == {("golden", "PCR 7")}
    assert "the Secure Boot keys or state (db) differ from the build" in verdict.findings[0].message


def test_agents_and_configuration_stay_predicted(machine: Machine) -> None:
    machine.boot(events=[*boot_set(), EXTRA])
    policy = Policy((BUILD,), artefacts=frozenset([artefact(EXTRA)]))
    verdict = judge(machine, policy)
    assert verdict.accepted
    matches = {fact.pcr: fact.match for fact in verdict.facts.pcrs}
    assert (matches[12], matches[13], matches[14]) == (True, None, True)
