"""The verifier: evidence and a policy in, one verdict with every finding out. Pure.

What a verdict rests on, in this order: the AK is a restricted key (``keys``); it lives in the TPM
of the EK (a credential that the caller made and the machine activated); the EK is certified by a
trusted manufacturer; the AK signed the quote, over our nonce and our PCRs; the PCR values are the
quoted ones; both logs lead to these values (``firmware``, ``measurements``); and values and
artefacts are those of an image that the policy accepts (``acceptance``).

Leaves out revocation, and whether the TPM sits in the machine one means: pin
``facts.ek_fingerprint`` for that. clockInfo.safe is a fact, not a finding: it is "no" for some
seconds after an honest machine lost power, and freshness rests on the nonce. An unsafe clock is not
compared with an earlier one.
"""

from __future__ import annotations

import datetime
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes

from ..policy import phases
from . import acceptance, firmware, measurements, pcrs
from .acceptance import Policy
from .evidence import FILES, Evidence
from .keys import Attester, Findings, attester, check_attester, check_binding, check_endorsement
from .tpms import SHA256, Clock, MalformedError, Quote, parse_quote
from .verdict import ClockFact, Facts, Scope, Verdict


@dataclass(frozen=True, slots=True)
class Activation:
    """The credential challenge that the verifier itself held: for which keys, and its answer."""

    ak_name: bytes
    ek_pub: bytes
    secret: bytes
    answer: bytes

    def is_met(self, ak_name: bytes, ek_pub: bytes) -> bool:
        """Did the TPM of this EK recover the secret for this AK?"""
        asked = (self.ak_name, self.ek_pub) == (ak_name, ek_pub)
        return asked and len(self.secret) >= 16 and hmac.compare_digest(self.secret, self.answer)


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier brings. ``nonce`` None leaves freshness unjudged (facts.fresh says so)."""

    policy: Policy
    manufacturers: bytes  # PEM certificates
    now: datetime.datetime
    nonce: bytes | None
    activation: Activation | None
    previous: bytes | None = None  # quote.msg of an earlier, accepted evidence of this machine


def verify(evidence: Evidence, trust: Trust) -> Verdict:
    """Judge everything; stop at nothing. Findings against the evidence come first."""
    findings = Findings()
    for field, name in FILES.items():
        if not getattr(evidence, field):
            findings.evidence("missing-file", name, "is missing or empty")
    signer = attester(evidence, findings)
    check_binding(evidence, signer, findings)
    check_attester(evidence, signer, findings)
    certificate = check_endorsement(evidence, trust.manufacturers, trust.now, findings)
    activated = _check_activation(evidence, signer, trust.activation, findings)
    quote = _check_quote(evidence, signer, trust, findings)
    values = _check_values(evidence, quote, findings)
    events = _check_firmware(evidence, values, findings)
    start = firmware.replay(events)
    log = _check_log(evidence, values, start, findings)
    _check_boot(log, quote, findings)
    at_cap = log.replay(start, to_cap=True)
    policy = trust.policy
    image = acceptance.find_image(values, policy, findings)
    artefacts = acceptance.check_artefacts(log, image, policy, findings)
    facts_of_pcrs = acceptance.check_pcrs(
        values, at_cap, image, policy, artefacts, events, findings
    )
    facts = Facts(
        nonce=quote.nonce.hex() if quote else "",
        fresh=None if trust.nonce is None else quote is not None and quote.nonce == trust.nonce,
        ak=signer.public.name.hex() if signer.public else "",
        ek_issuer=certificate.issuer.rfc4514_string() if certificate else "",
        ek_fingerprint=certificate.fingerprint(hashes.SHA256()).hex() if certificate else "",
        activated=activated,
        secure_boot=firmware.is_secure_boot_on(events),
        firmware_events=len(events),
        clock=_clock_fact(quote.clock) if quote else None,
        pcrs=facts_of_pcrs,
        version=image.version,
        artefacts=artefacts,
    )
    ordered = sorted(findings.items, key=lambda finding: finding.scope is Scope.MACHINE)
    return Verdict(tuple(ordered), facts)


def _check_activation(
    evidence: Evidence, signer: Attester, activation: Activation | None, findings: Findings
) -> bool | None:
    if activation is None:
        findings.evidence(
            "unbound",
            "ak.pub",
            "nothing shows that the AK lives in the TPM of the EK: no credential was activated",
        )
        return None
    met = signer.public is not None and activation.is_met(signer.public.name, evidence.ek_pub)
    if not met:
        subject = findings.blame("ak.pub", "ek.pub")
        text = "the TPM of this EK did not recover the secret made for this AK"
        findings.evidence("unbound", subject, text)
    return met


def _check_quote(
    evidence: Evidence, signer: Attester, trust: Trust, findings: Findings
) -> Quote | None:
    """The quote, when it is a TPM's and the AK's; every reason against it is reported."""
    try:
        signed = signer.signed(evidence.quote_msg, evidence.quote_sig)
    except MalformedError as error:
        signed = False
        findings.evidence("malformed", "quote.sig", str(error))
    else:
        if not signed:
            subject = findings.blame("quote.sig", "quote.msg")
            text = "quote.sig is not the AK's signature over quote.msg"
            findings.evidence("signature", subject, text)
    try:
        quote = parse_quote(evidence.quote_msg)
    except MalformedError as error:
        findings.evidence("malformed", "quote.msg", str(error))
        return None
    if signer.public is not None and quote.signer != signer.public.primary_name:
        subject = findings.blame("ak.pub", "quote.msg")
        text = "the quote was not made by the key in ak.pub as an endorsement primary"
        findings.evidence("ak-name", subject, text)
    _check_nonce(evidence, quote, trust.nonce, findings)
    for problem in _selection_problems(quote):
        findings.evidence("pcr-selection", "quote.msg", problem)
    if trust.previous is not None:
        _check_clock(quote.clock, trust.previous, findings)
    return quote if signed else None


def _check_nonce(
    evidence: Evidence, quote: Quote, wanted: bytes | None, findings: Findings
) -> None:
    if wanted is not None and quote.nonce != wanted:
        text = f"answers the nonce {quote.nonce.hex()}, not ours: the quote is replayed"
        findings.evidence("replayed", "quote.msg", text)
    if evidence.nonce != quote.nonce:
        subject = findings.blame("nonce", "quote.msg")
        findings.evidence("nonce", subject, "the file nonce is not the nonce that was quoted")


def _selection_problems(quote: Quote) -> list[str]:
    if quote.selections == ((SHA256, pcrs.QUOTED),):
        return []
    problems = [
        f"quotes PCRs of the bank {bank:#06x}; only SHA-256 (0x000b) counts"
        for bank, _ in quote.selections
        if bank != SHA256
    ]
    covered = {pcr for bank, part in quote.selections if bank == SHA256 for pcr in part}
    if absent := sorted(set(pcrs.QUOTED) - covered):
        problems.append(f"does not cover the PCRs {', '.join(map(str, absent))}")
    return problems or ["quotes other PCRs than were asked for"]


def _check_clock(clock: Clock, previous: bytes, findings: Findings) -> None:
    try:
        before = parse_quote(previous).clock
    except MalformedError as error:
        findings.evidence("malformed", "previous quote", str(error))
        return
    then = before.resets, before.restarts if before.resets == clock.resets else 0
    now = clock.resets, clock.restarts if before.resets == clock.resets else 0
    is_back = clock.safe and clock.milliseconds < before.milliseconds
    if now < then or is_back:
        text = (
            "the TPM's counters went back since the earlier evidence: another TPM, or a cleared one"
        )
        findings.evidence("clock", "quote.msg", text)


def _check_values(evidence: Evidence, quote: Quote | None, findings: Findings) -> dict[int, bytes]:
    """The PCR values, when the quote covers them; nothing otherwise."""
    try:
        values = pcrs.parse(evidence.quote_pcrs)
    except MalformedError as error:
        findings.evidence("malformed", "quote.pcrs", str(error))
        return {}
    if quote is None:
        return {}
    if pcrs.composite(values) != quote.pcr_digest:
        subject = findings.blame("quote.pcrs", "quote.msg")
        findings.evidence("pcr-values", subject, "quote.pcrs holds other values than were quoted")
        return {}
    if tuple(values) != pcrs.QUOTED:
        findings.evidence("pcr-selection", "quote.pcrs", "holds other PCRs than were asked for")
    return values


def _check_firmware(
    evidence: Evidence, values: dict[int, bytes], findings: Findings
) -> list[firmware.FirmwareEvent]:
    if not evidence.firmware_log:
        return []
    try:
        events = firmware.parse(evidence.firmware_log)
    except MalformedError as error:
        findings.evidence("malformed", "firmware.log", str(error))
        return []
    for problem in firmware.contradictions(events):
        findings.evidence("firmware-event", "firmware.log", problem)
    match firmware.is_secure_boot_on(events):
        case None:
            text = "does not say whether Secure Boot was on"
            findings.evidence("secure-boot", "firmware.log", text)
        case False:
            findings.machine("secure-boot", "PCR 7", "Secure Boot is off")
    replayed = firmware.replay(events)
    for pcr, value in values.items():
        if pcr not in phases.LOGGED and replayed.get(pcr, phases.ZERO) != value:
            subject = findings.blame("firmware.log", "quote.pcrs", "quote.msg")
            text = f"does not lead to PCR {pcr} ({value.hex()})"
            findings.evidence("replay", subject, f"the firmware log {text}")
    for event in events:
        if event.pcr in phases.LOGGED and event.type != firmware.EV_NO_ACTION:
            text = f'something outside the build was measured before the kernel: "{event.text()}"'
            findings.machine("foreign-measurement", f"PCR {event.pcr}", text)
    return events


def _check_log(
    evidence: Evidence, values: dict[int, bytes], start: dict[int, bytes], findings: Findings
) -> measurements.Log:
    log = measurements.read(evidence.log_cel)
    for problem in log.problems:
        findings.evidence("log", "log.cel", problem)
    for pcr, value in log.replay(start).items():
        if values.get(pcr, value) != value:
            subject = findings.blame("log.cel", "firmware.log", "quote.pcrs", "quote.msg")
            text = f"the log does not lead to PCR {pcr} ({values[pcr].hex()})"
            findings.evidence("replay", subject, text)
    return log


def _check_boot(log: measurements.Log, quote: Quote | None, findings: Findings) -> None:
    """The log is of the boot that the TPM is in: nobody reset the TPM alone and filled it anew."""
    if quote is None or log.counters is None:
        return  # each is reported
    now = quote.clock.resets, quote.clock.restarts
    if now != log.counters:
        then = "{} resets and {} restarts".format(*log.counters)
        text = f"the TPM was started again since this boot began: {then} then, {now[0]} and"
        text = f"{text} {now[1]} now; its PCRs hold what somebody extended after that"
        findings.evidence("reset", findings.blame("log.cel", "quote.msg"), text)


def _clock_fact(clock: Clock) -> ClockFact:
    return ClockFact(clock.milliseconds, clock.resets, clock.restarts, clock.safe)
