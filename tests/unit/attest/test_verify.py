"""The verifier against honest evidence, against every altered file, and against forgers.

Where a forgery is about one rule, everything else in it is right and its list of digests is signed
anew, so that only that rule can catch it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from ainit.attest import pcrs
from ainit.attest.enrol import Enrolment
from ainit.attest.verdict import Scope, State, Verdict
from ainit.attest.verify import Activation, Trust, verify
from ainit.policy import phases
from ainit.policy.phases import Event

from . import firmware_log, forger
from .firmware_log import Entry
from .machine import (
    AGENTS,
    CONFIG,
    MODELS,
    NAMES,
    Machine,
    accused_files,
    boot_set,
    codes,
    with_file,
)

Honest = tuple[Machine, Enrolment]


def pairs(verdict: Verdict) -> set[tuple[str, str]]:
    return {(finding.code, finding.subject) for finding in verdict.findings}


def trusting(honest: Honest, **changes: object) -> Trust:
    return replace(honest[0].trust(honest[1]), **changes)  # type: ignore[arg-type]


def test_honest_evidence_has_no_finding(honest: Honest) -> None:
    verdict = honest[0].judge(honest[1])
    assert verdict.findings == ()
    assert verdict.accepted
    assert verdict.genuine


def test_the_facts_are_those_of_the_machine(honest: Honest) -> None:
    facts = honest[0].judge(honest[1]).facts
    assert facts.secure_boot is True
    assert facts.activated is True
    assert facts.fresh is True
    assert facts.nonce == honest[1].nonce.hex()
    assert {pcr.pcr: pcr.match for pcr in facts.pcrs} == {
        pcr: True if pcr in (4, 7, 9, 11, 12, 13, 14) else None for pcr in pcrs.QUOTED
    }
    assert [(a.kind, a.name, a.state) for a in facts.artefacts] == [
        ("model", "magika", State.MEASURED),
        ("policy", "placement", State.MEASURED),
        ("model", "silero", State.MEASURED),
        ("agent", "file-type", State.MEASURED),
        ("agent", "speech", State.MEASURED),
        ("machine-config", "machine", State.MEASURED),
    ]
    assert [artefact.record for artefact in facts.artefacts] == [2, 3, 4, 5, 6, 1]


def test_a_verdict_is_json(honest: Honest) -> None:
    plain = json.loads(json.dumps(honest[0].judge(honest[1]).as_json()))
    assert plain["accepted"] is True
    assert plain["facts"]["artefacts"][0]["state"] == "measured"


# One file altered.


def positions(data: bytes, count: int) -> list[int]:
    return sorted({*range(0, len(data), max(1, len(data) // count)), len(data) - 1})


@pytest.mark.parametrize("name", NAMES)
def test_each_altered_file_is_named_and_no_other(honest: Honest, name: str) -> None:
    machine, enrolment = honest
    data = getattr(enrolment.evidence, NAMES[name])
    variants = [data[:-1], data + b"\n", data[1:], b"\0" * len(data), data + data]
    for position in positions(data, 48):
        for bit in (0x01, 0x80):
            flipped = bytearray(data)
            flipped[position] ^= bit
            variants.append(bytes(flipped))
    for variant in variants:
        verdict = verify(with_file(enrolment.evidence, name, variant), machine.trust(enrolment))
        assert accused_files(verdict) == {name}, (name, verdict.findings)
        assert not verdict.genuine


@pytest.mark.parametrize("name", NAMES)
def test_each_missing_file_is_named(honest: Honest, name: str) -> None:
    machine, enrolment = honest
    verdict = verify(with_file(enrolment.evidence, name, b""), machine.trust(enrolment))
    assert ("missing-file", name) in pairs(verdict)
    assert not verdict.genuine


def test_nothing_but_empty_files_is_a_verdict_too(honest: Honest) -> None:
    evidence = honest[1].evidence
    for name in NAMES:
        evidence = with_file(evidence, name, b"")
    verdict = verify(evidence, trusting(honest))
    assert accused_files(verdict) == set(NAMES)


# The forger with a key of his own.


def test_a_forged_key_fails_only_the_credential_challenge(honest: Honest) -> None:
    machine, enrolment = honest
    forged = forger.forger().forge(enrolment)
    assert machine.judge(forged).findings == ()  # the forger is perfect, were it granted
    real = replace(forged, activation=enrolment.activation)
    assert codes(machine.judge(real)) == {"unbound"}
    assert not machine.judge(real).genuine


@pytest.mark.parametrize(
    ("wrong", "code", "subject"),
    [
        ({"attributes": 0x00040472}, "ak-attributes", "ak.pub"),  # not restricted
        ({"attributes": 0x00010472}, "ak-attributes", "ak.pub"),  # no signing key
        ({"attributes": 0x00050470}, "ak-attributes", "ak.pub"),  # not fixedTPM
        ({"attributes": 0x00050462}, "ak-attributes", "ak.pub"),  # not fixedParent
        ({"attributes": 0x00050452}, "ak-attributes", "ak.pub"),  # made outside
        ({"attributes": 0x00070472}, "ak-attributes", "ak.pub"),  # decrypts, too
        ({"attributes": 0x80050472}, "malformed", "ak.pub"),  # an attribute nobody knows
        ({"policy": bytes(32)}, "ak-attributes", "ak.pub"),  # not of the template
        ({"hierarchy": forger.OWNER}, "ak-name", "ak.pub"),
        ({"magic": 0xFF544348}, "malformed", "quote.msg"),  # not made by a TPM
        ({"type": 0x8017}, "malformed", "quote.msg"),  # a certification, not a quote
        ({"safe": 2}, "malformed", "quote.msg"),
        ({"tail": b"\0"}, "malformed", "quote.msg"),
        ({"high_s": True}, "malformed", "quote.sig"),
        ({"selection": bytes(4)}, "pcr-selection", "quote.msg"),  # covers nothing
        (
            {"selection": b"\0\0\0\1" + forger.select(forger.SHA256, (0, 1, 2, 3))},
            "pcr-selection",
            "quote.msg",
        ),
        (
            {"selection": b"\0\0\0\1" + forger.select(forger.SHA256, (*forger.QUOTED, 16))},
            "pcr-selection",
            "quote.msg",
        ),
        (
            {"selection": b"\0\0\0\1" + forger.select(forger.SHA1, forger.QUOTED)},
            "pcr-selection",
            "quote.msg",
        ),
        (
            {
                "selection": b"\0\0\0\2"
                + forger.select(forger.SHA1, forger.QUOTED)
                + forger.select(forger.SHA256, forger.QUOTED)
            },
            "pcr-selection",
            "quote.msg",
        ),
        ({"selection": b"\0\0\1\0"}, "malformed", "quote.msg"),  # 256 banks
    ],
    ids=lambda value: "-".join(f"{k}" for k in value) if isinstance(value, dict) else None,
)
def test_a_wrong_structure_is_refused_whoever_signed_it(
    honest: Honest, wrong: dict[str, int | bytes], code: str, subject: str
) -> None:
    verdict = honest[0].judge(forger.forger(**wrong).forge(honest[1]))
    assert (code, subject) in pairs(verdict)
    assert not verdict.genuine


def test_a_missing_attribute_is_named_with_its_danger(honest: Honest) -> None:
    verdict = honest[0].judge(forger.forger(attributes=0x00040472).forge(honest[1]))
    assert [finding.message for finding in verdict.findings] == [
        "the AK lacks the attribute restricted: it would also sign quotes that no TPM made"
    ]


def test_a_storage_key_in_place_of_the_ak(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    evidence = forging.seal(replace(forged.evidence, ak_pub=forged.evidence.ek_pub))
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert ("malformed", "ak.pub") in pairs(verdict)


def test_a_list_of_digests_signed_by_a_quote_over_pcrs(honest: Honest) -> None:
    """A quote for a nonce of the forger's choice must not count as a signed list."""
    forging = forger.forger()
    forged = forging.forge(honest[1])
    sums = forged.evidence.sums
    message = forging.attest(hashlib.sha256(sums).digest(), bytes(32))
    sums_quote = forger.sized(message) + forging.sign(message)
    evidence = replace(forged.evidence, sums_quote=sums_quote)
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert pairs(verdict) == {("binding", "SHA256SUMS.quote")}


def test_an_ek_of_another_template(honest: Honest) -> None:
    """The certificate covers the key only; with other attributes the challenge proves less."""
    forging = forger.forger()
    forged = forging.forge(honest[1])
    ek_pub = forged.evidence.ek_pub.replace(b"\x00\x03\x00\xb2", b"\x00\x02\x00\xb2", 1)
    assert ek_pub != forged.evidence.ek_pub
    evidence = forging.seal(replace(forged.evidence, ek_pub=ek_pub))
    granted = replace(forged.activation, ek_pub=ek_pub)
    verdict = honest[0].judge(Enrolment(evidence, forged.nonce, granted))
    assert pairs(verdict) == {("malformed", "ek.pub")}


def test_a_quote_that_another_key_signed(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    signature = forger.forger().sign(forged.evidence.quote_msg)
    evidence = forging.seal(replace(forged.evidence, quote_sig=signature))
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert pairs(verdict) == {("signature", "quote.sig")}
    assert verdict.facts.pcrs == ()  # what nobody signed is no fact


def test_what_a_quote_leaves_out_is_named(honest: Honest) -> None:
    forging = forger.forger(selection=b"\0\0\0\1" + forger.select(forger.SHA256, QUOTED_LESS_14))
    verdict = honest[0].judge(forging.forge(honest[1]))
    assert "does not cover the PCRs 14" in {f.message for f in verdict.findings}


QUOTED_LESS_14 = tuple(pcr for pcr in forger.QUOTED if pcr != 14)


def test_other_values_than_the_quoted_ones(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    values = pcrs.parse(forged.evidence.quote_pcrs) | {13: bytes(32)}
    evidence = replace(forged.evidence, quote_pcrs=pcrs.serialise(values))
    verdict = honest[0].judge(replace(forged, evidence=forging.seal(evidence)))
    assert pairs(verdict) == {("pcr-values", "quote.pcrs")}


def test_a_signed_list_of_more_files_than_there_are(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    evidence = forging.seal(forged.evidence, more=b"0" * 64 + b"  one more\n")
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert pairs(verdict) == {("binding", "SHA256SUMS")}


def test_values_of_other_pcrs(honest: Honest) -> None:
    forging = forger.forger()
    values = pcrs.parse(honest[1].evidence.quote_pcrs)
    values[16] = values.pop(15)
    verdict = honest[0].judge(forging.forge(honest[1], values))
    assert ("pcr-selection", "quote.pcrs") in pairs(verdict)


def test_two_keys_at_once(honest: Honest) -> None:
    """His key in ak.pem signs, the honest one in ak.pub is activated."""
    forging = forger.forger()
    forged = forging.forge(honest[1])
    evidence = forging.seal(replace(forged.evidence, ak_pub=honest[1].evidence.ak_pub))
    verdict = honest[0].judge(replace(honest[1], evidence=evidence))
    assert ("ak", "ak.pem") in pairs(verdict)
    assert not verdict.genuine


# Freshness.


def test_a_replayed_quote(honest: Honest) -> None:
    verdict = verify(
        honest[1].evidence, trusting(honest, nonce=b"another nonce, 32 bytes long ...")
    )
    assert pairs(verdict) == {("replayed", "quote.msg")}
    assert verdict.facts.fresh is False


def test_a_nonce_file_that_is_not_what_was_quoted(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    evidence = forging.seal(replace(forged.evidence, nonce=b"another nonce of 32 bytes ......"))
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert pairs(verdict) == {("nonce", "nonce")}


def test_a_nonce_that_only_begins_as_ours(honest: Honest) -> None:
    nonce = honest[1].nonce
    for other in (nonce[:-1], nonce + b"\0", b""):
        assert ("replayed", "quote.msg") in pairs(
            verify(honest[1].evidence, trusting(honest, nonce=other))
        )


def test_a_replay_with_the_nonce_file_rewritten(honest: Honest) -> None:
    forging = forger.forger()
    old = forging.forge(honest[1])
    nonce = b"what the verifier sent just now."
    evidence = forging.seal(replace(old.evidence, nonce=nonce))
    verdict = honest[0].judge(Enrolment(evidence, nonce, old.activation))
    assert ("replayed", "quote.msg") in pairs(verdict)


def test_without_a_nonce_freshness_is_not_judged(honest: Honest) -> None:
    verdict = verify(honest[1].evidence, trusting(honest, nonce=None))
    assert verdict.accepted
    assert verdict.facts.fresh is None


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"resets": 6}, True),  # the counter went back
        ({"resets": 7, "restarts": 0}, True),
        ({"resets": 7, "restarts": 2, "clock": 99_999}, True),
        ({"resets": 6, "restarts": 1, "clock": 200_000, "safe": 0}, True),
        ({"resets": 7, "restarts": 2, "clock": 99_999, "safe": 0}, False),  # after a power cut
        ({"resets": 7, "restarts": 1, "clock": 100_000}, False),
        ({"resets": 8, "restarts": 0, "clock": 100_000}, False),
    ],
)
def test_counters_of_paired_evidence(honest: Honest, now: dict[str, int], found: bool) -> None:
    earlier = forger.forger(restarts=1)
    before = earlier.forge(honest[1])
    after = replace(earlier, **now).forge(honest[1])  # type: ignore[arg-type]
    trust = replace(honest[0].trust(after), previous=before.evidence.quote_msg)
    assert ("clock" in codes(verify(after.evidence, trust))) is found
    assert honest[0].judge(after).accepted  # alone, the clock is a fact


# The keys.


def test_without_a_challenge_the_key_is_not_believed(honest: Honest) -> None:
    verdict = verify(honest[1].evidence, trusting(honest, activation=None))
    assert pairs(verdict) == {("unbound", "ak.pub")}
    assert verdict.facts.activated is None


@pytest.mark.parametrize(
    "change",
    [
        {"answer": b"not the secret"},
        {"ak_name": b"\x00\x0b" + bytes(32)},
        {"ek_pub": b"another EK"},
        {"secret": b"", "answer": b""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_challenge_that_was_not_met(honest: Honest, change: dict[str, bytes]) -> None:
    activation = replace(honest[1].activation, **change)
    verdict = verify(honest[1].evidence, trusting(honest, activation=activation))
    assert codes(verdict) == {"unbound"}


def test_an_unknown_manufacturer(honest: Honest) -> None:
    verdict = verify(honest[1].evidence, trusting(honest, manufacturers=b""))
    assert "ek-certificate" in codes(verdict)
    assert not verdict.genuine


def test_a_certificate_that_is_not_valid_yet(honest: Honest) -> None:
    then = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    verdict = verify(honest[1].evidence, trusting(honest, now=then))
    assert pairs(verdict) == {("ek-certificate", "ek.crt")}


def test_another_ek_than_the_certified_one(honest: Honest) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    ek_pub = bytearray(forged.evidence.ek_pub)
    ek_pub[-1] ^= 2
    evidence = forging.seal(replace(forged.evidence, ek_pub=bytes(ek_pub)))
    granted = Activation(forging.name, bytes(ek_pub), bytes(32), bytes(32))
    verdict = honest[0].judge(Enrolment(evidence, forged.nonce, granted))
    assert pairs(verdict) == {("ek-certificate", "ek.pub")}


# Logs that lie. The machine booted honestly; only what is reported differs.

LogForger = Callable[[list[bytes]], list[bytes]]


def relabel(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"type":"policy"', b'"type":"model"') for line in lines]


def renumber(lines: list[bytes]) -> list[bytes]:
    return [b'{"recnum":%d,' % n + line.split(b",", 1)[1] for n, line in enumerate(lines)]


@pytest.mark.parametrize(
    "lie",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[1:],
        lambda lines: renumber(lines[:2] + lines[3:]),
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: renumber([lines[0], lines[2], lines[1], *lines[3:]]),
        lambda lines: renumber([*lines[:2], lines[1], *lines[2:]]),
        lambda lines: renumber(lines + lines),
        lambda lines: renumber([line for line in lines if b'"cap"' not in line]),
        relabel,
        lambda lines: [line.replace(b"a" * 64, b"9" * 64) for line in lines],
        lambda lines: [line.replace(b'"ainos"', b'"other"') for line in lines],
        lambda lines: [line.replace(b'"pcr":13', b'"pcr":14', 1) for line in lines],
        lambda lines: [line.replace(b'"pcr":13', b'"pcr":16', 1) for line in lines],
        lambda lines: [line.replace(b",", b", ", 1) for line in lines],
        lambda lines: [b"[]", *lines],
        lambda lines: [b"\xff", *lines[1:]],
        lambda lines: [],
    ],
    ids=[
        "truncated", "beheaded", "gap", "swapped", "reordered", "duplicated", "merged", "uncapped",
        "relabelled", "other-digest", "other-content-type", "other-pcr", "resettable-pcr",
        "reformatted", "not-an-object", "not-text", "emptied",
    ],
)  # fmt: skip
def test_a_log_that_the_tpm_did_not_see(honest: Honest, lie: LogForger) -> None:
    forging = forger.forger()
    forged = forging.forge(honest[1])
    lines = forged.evidence.log_cel.split(b"\n")[:-1]
    log = b"".join(line + b"\n" for line in lie(lines))
    evidence = forging.seal(replace(forged.evidence, log_cel=log))
    verdict = honest[0].judge(replace(forged, evidence=evidence))
    assert accused_files(verdict) == {"log.cel"}
    assert not verdict.genuine


@pytest.mark.parametrize(
    "events",
    [
        [*boot_set(), Event(13, {"type": "weights", "name": "x", "digest": "y"})],
        [*boot_set(), phases.cap(13)],
        [event for event in boot_set() if event.content != {"type": "cap", "pcr": 14}],
        [CONFIG, *MODELS, *AGENTS, *map(phases.cap, (14, 13, 12))],
        [*boot_set(), MODELS[0]],
    ],
    ids=["unknown-type", "capped-twice", "not-capped", "caps-out-of-order", "measured-twice"],
)
def test_a_log_that_the_tpm_saw_but_no_ainit_writes(machine: Machine, events: list[Event]) -> None:
    machine.boot(events=events)
    verdict = machine.judge(machine.enrol())
    assert ("log", "log.cel") in pairs(verdict)
    assert accused_files(verdict) == {"log.cel"}


FirmwareForger = Callable[[list[Entry]], list[Entry]]


def hide_and_claim(entries: list[Entry]) -> list[Entry]:
    """Secure Boot was off: relabel what says so, and add a claim that no PCR covers."""
    told = next(entry for entry in entries if "SecureBoot".encode("utf-16-le") in entry.data)
    claim = firmware_log.variable(firmware_log.GLOBAL, "SecureBoot", b"\1")
    return [
        Entry(7, firmware_log.DRIVER_CONFIG, claim, bytes(32)) if entry is told else entry
        for entry in entries
    ]


def unextended_claim(entries: list[Entry]) -> list[Entry]:
    claim = firmware_log.variable(firmware_log.GLOBAL, "SecureBoot", b"\1")
    told = next(entry for entry in entries if "SecureBoot".encode("utf-16-le") in entry.data)
    at = entries.index(told)
    hidden = told.relabelled(firmware_log.IPL)
    return [*entries[:at], Entry(7, firmware_log.NO_ACTION, claim), hidden, *entries[at + 1 :]]


def true_claim_for_false_digest(entries: list[Entry]) -> list[Entry]:
    told = next(entry for entry in entries if "SecureBoot".encode("utf-16-le") in entry.data)
    lie = replace(told, data=told.data[:-1] + b"\1", digest=told.extended)
    return [lie if entry is told else entry for entry in entries]


@pytest.mark.parametrize("lie", [hide_and_claim, unextended_claim, true_claim_for_false_digest])
def test_secure_boot_off_cannot_be_hidden(machine: Machine, lie: FirmwareForger) -> None:
    entries = firmware_log.boot(secure=False)
    machine.boot(entries)
    machine.firmware_log.write_bytes(firmware_log.write(lie(entries)))
    verdict = machine.judge(machine.enrol())
    assert accused_files(verdict) == {"firmware.log"}
    assert not verdict.genuine


@pytest.mark.parametrize(
    "lie",
    [
        lambda entries: entries[:-1],
        lambda entries: entries[1:],
        lambda entries: [entries[1], entries[0], *entries[2:]],
        lambda entries: entries + entries,
        lambda entries: [*entries, Entry(8, firmware_log.IPL, b"never extended")],
        lambda entries: [
            entry.relabelled(firmware_log.IPL) if entry.type == firmware_log.SEPARATOR else entry
            for entry in entries
        ],
        lambda entries: [replace(entries[0], type=0x12345678), *entries[1:]],
        lambda entries: [Entry(0, firmware_log.NO_ACTION, b"StartupLocality\0\3"), *entries],
    ],
    ids=[
        "truncated", "beheaded", "reordered", "merged", "appended", "separators-relabelled",
        "unknown-type", "false-locality",
    ],
)  # fmt: skip
def test_a_firmware_log_that_the_tpm_did_not_see(machine: Machine, lie: FirmwareForger) -> None:
    entries = firmware_log.boot()
    machine.firmware_log.write_bytes(firmware_log.write(lie(entries)))
    verdict = machine.judge(machine.enrol())
    assert accused_files(verdict) == {"firmware.log"}
    assert not verdict.genuine


def test_no_firmware_log_at_all(machine: Machine) -> None:
    machine.firmware_log.unlink()
    verdict = machine.judge(machine.enrol())
    assert {code for code, subject in pairs(verdict) if subject == "firmware.log"} == {
        "missing-file"
    }
    assert verdict.facts.secure_boot is None


# Genuine evidence of a machine that is not as it was built.


def judge_machine(machine: Machine, events: list[Event]) -> Verdict:
    machine.boot(events=events)
    verdict = machine.judge(machine.enrol())
    assert verdict.genuine
    assert not verdict.accepted
    return verdict


def test_an_altered_model_that_was_refused(machine: Machine) -> None:
    refusal = phases.refused("model", "magika", "the signature does not cover these bytes")
    verdict = judge_machine(machine, boot_events(models=[refusal]))
    assert pairs(verdict) == {("refused", "model magika"), ("golden", "PCR 13")}
    refused = verdict.findings[0]
    assert "the signature does not cover these bytes" in refused.message
    assert refused.scope is Scope.MACHINE


def boot_events(models: list[Event] | None = None, drop: str = "") -> list[Event]:
    """The boot set with other models in place of those of the same name, and one left out."""
    given = {event.content["name"]: event for event in [*MODELS, *(models or [])]}
    given.pop(drop, None)
    return boot_set(models=given.values())


def test_an_altered_model_that_was_measured(machine: Machine) -> None:
    other = phases.measured("model", "magika", "sha256:" + "7" * 64)
    verdict = judge_machine(machine, boot_events(models=[other]))
    assert pairs(verdict) == {("altered", "model magika"), ("golden", "PCR 13")}
    assert "7" * 64 in verdict.findings[0].message


def test_a_missing_policy(machine: Machine) -> None:
    verdict = judge_machine(machine, boot_events(drop="placement"))
    assert pairs(verdict) == {("missing", "policy placement"), ("golden", "PCR 13")}


def test_an_extra_model(machine: Machine) -> None:
    extra = phases.measured("model", "minilm", "sha256:" + "8" * 64)
    verdict = judge_machine(machine, boot_events(models=[extra]))
    assert pairs(verdict) == {("extra", "model minilm"), ("golden", "PCR 13")}


def test_a_model_of_another_kind_is_not_the_predicted_one(machine: Machine) -> None:
    other = phases.measured("policy", "magika", "sha256:" + "a" * 64)
    verdict = judge_machine(machine, boot_events(models=[other]))
    assert {("missing", "model magika"), ("extra", "policy magika")} <= pairs(verdict)


def test_another_machine_configuration(machine: Machine) -> None:
    config = phases.measured("machine-config", "machine", "sha256:" + "0" * 64)
    verdict = judge_machine(machine, phases.boot_set(config, MODELS, AGENTS))
    assert pairs(verdict) == {("altered", "machine-config machine"), ("golden", "PCR 12")}


def test_what_comes_after_the_cap_leaves_the_prediction_and_is_judged(machine: Machine) -> None:
    late = phases.measured("policy", "hot-swapped", "sha256:" + "5" * 64)
    verdict = judge_machine(machine, [*boot_events(), late])
    assert pairs(verdict) == {("extra", "policy hot-swapped")}
    assert all(pcr.match is not False for pcr in verdict.facts.pcrs)


def test_secure_boot_off(machine: Machine) -> None:
    machine.boot(firmware_log.boot(secure=False))
    verdict = machine.judge(machine.enrol())
    assert verdict.genuine
    assert pairs(verdict) == {("secure-boot", "PCR 7"), ("golden", "PCR 7")}


def test_a_command_line_that_the_stub_measured(machine: Machine) -> None:
    machine.boot([*firmware_log.boot(), firmware_log.command_line("init=/bin/sh")])
    verdict = machine.judge(machine.enrol())
    assert verdict.genuine
    assert pairs(verdict) == {("foreign-measurement", "PCR 12"), ("golden", "PCR 12")}
    assert "init=/bin/sh" in verdict.findings[0].message


def test_another_kernel_image(machine: Machine) -> None:
    entries = [
        replace(entry, digest=b"\x77" * 32) if entry.data == b"path of the kernel image" else entry
        for entry in firmware_log.boot()
    ]
    machine.boot(entries)
    verdict = machine.judge(machine.enrol())
    assert verdict.genuine
    assert pairs(verdict) == {("golden", "PCR 4")}


def test_a_pcr_that_no_log_explains(machine: Machine) -> None:
    machine.tpm.tpm().extend(8, b"\x01" * 32)
    machine.tpm.tpm().extend(15, b"\x01" * 32)
    verdict = machine.judge(machine.enrol())
    assert pairs(verdict) == {("replay", "firmware.log"), ("replay", "log.cel")}
