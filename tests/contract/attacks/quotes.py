"""Attacks with quotes: not a TPM's, not fresh, not of what was asked, not what they seem."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ainit.attest import pcrs, tpms
from ainit.attest.enrol import Enrolment
from ainit.attest.evidence import Evidence
from ainit.policy import phases
from tests.unit.attest import forger
from tests.unit.attest.machine import MODELS, boot_set, write_log

from .attack import Ground, Lack, stopped_by, unsaid, without

EVIL = phases.measured("model", "magika", "sha256:" + "6" * 64)
SELECTION = stopped_by("the quote covers exactly the PCRs asked for", unsaid("pcr-selection"))
NONCE = stopped_by("the quote answers the verifier's own nonce", unsaid("replayed"))


def forged(ground: Ground, **wrong: int | bytes) -> bool:
    return ground.believed(forger.forger(**wrong).forge(ground.honest))


def unread(field: str) -> Lack:
    """A verifier that skips a field of a structure where it should compare it."""
    expect = tpms.Reader.expect

    def skip(self: tpms.Reader, size: int, wanted: int, what: str) -> None:
        if what == field:
            self.take(size)
        else:
            expect(self, size, wanted, what)

    return without(tpms.Reader, "expect", skip)


@stopped_by("only what a TPM generated begins so", unread("magic"))
def quote_that_no_tpm_made(ground: Ground) -> bool:
    """A structure that the forger composed and had an honest key sign, without TPM_GENERATED."""
    return forged(ground, magic=0xFF544348)


@stopped_by("the structure is a quote", unread("type"))
def certification_for_a_quote(ground: Ground) -> bool:
    """What a TPM says about a key of the forger's, laid out so that it reads as a quote."""
    return forged(ground, type=0x8017)


@stopped_by("nothing follows the quote", without(tpms.Reader, "done", lambda _: None))
def quote_with_a_tail(ground: Ground) -> bool:
    """Bytes after the end that another reader may take for the beginning."""
    return forged(ground, tail=b"\0")


@stopped_by(
    "of two signatures that are equally valid one is accepted",
    without(tpms, "P256_ORDER", 2 * tpms.P256_ORDER),
)
def signature_turned_over(ground: Ground) -> bool:
    """A second valid signature made from the first one, for evidence that looks new."""
    return forged(ground, high_s=True)


@stopped_by("the AK signed the quote", unsaid("signature"))
def quote_that_another_key_signed(ground: Ground) -> bool:
    """Everything in the name of the honest AK; the signature is the forger's."""
    honest = ground.honest.evidence
    signature = forger.forger().sign(honest.quote_msg)
    evidence = replace(honest, quote_sig=signature)
    return ground.believed(resealed(ground, evidence))


def resealed(ground: Ground, evidence: Evidence) -> Enrolment:
    """As from a machine whose attestation service the forger runs: its real AK signs the list."""
    with ground.honest_machine.attestation_tpm() as tpm:
        sums = evidence.listing()
        message, signature = tpm.quote(hashlib.sha256(sums).digest(), ())
    quote = forger.sized(message) + signature
    return replace(ground.honest, evidence=replace(evidence, sums=sums, sums_quote=quote))


@SELECTION
def quote_over_nothing(ground: Ground) -> bool:
    """A genuine signature over no PCR at all."""
    return forged(ground, selection=bytes(4))


@SELECTION
def quote_without_the_models(ground: Ground) -> bool:
    """A quote that leaves PCR 13 out."""
    fewer = tuple(pcr for pcr in forger.QUOTED if pcr != 13)
    return forged(ground, selection=b"\0\0\0\1" + forger.select(forger.SHA256, fewer))


@SELECTION
def quote_over_a_resettable_pcr(ground: Ground) -> bool:
    """A quote over PCR 16, too, which software resets and fills as it likes."""
    more = (*forger.QUOTED, 16)
    return forged(ground, selection=b"\0\0\0\1" + forger.select(forger.SHA256, more))


@SELECTION
def quote_of_the_wrong_bank(ground: Ground) -> bool:
    """A quote over the SHA-1 bank, where collisions can be bought."""
    return forged(ground, selection=b"\0\0\0\1" + forger.select(forger.SHA1, forger.QUOTED))


@SELECTION
def quote_over_two_banks(ground: Ground) -> bool:
    """A quote over both banks: which one do the values belong to?"""
    banks = forger.select(forger.SHA1, forger.QUOTED) + forger.select(forger.SHA256, forger.QUOTED)
    return forged(ground, selection=b"\0\0\0\2" + banks)


@stopped_by("the values are those that were quoted", unsaid("pcr-values"))
def values_of_another_machine(ground: Ground) -> bool:
    """A machine with another model; its values and its log are told as the honest ones."""
    models = [EVIL, *MODELS[1:]]
    ground.machine.boot(events=boot_set(models=models))
    answer = ground.machine.enrol()
    forging = forger.forger()
    events = [phases.booted(7, 0), *boot_set()]
    values = pcrs.parse(answer.evidence.quote_pcrs)
    made = forging.forge(answer)
    values |= phases.predict(events)
    evidence = replace(made.evidence, quote_pcrs=pcrs.serialise(values), log_cel=write_log(events))
    return ground.believed(replace(made, evidence=forging.seal(evidence)))


@stopped_by("the values are those of the PCRs asked for", unsaid("pcr-selection", "quote.pcrs"))
def values_of_other_pcrs(ground: Ground) -> bool:
    """The values of PCR 16 in place of those of PCR 8, which no log mentions."""
    values = pcrs.parse(ground.honest.evidence.quote_pcrs)
    values[16] = values.pop(8)
    return ground.believed(forger.forger().forge(ground.honest, values))


@NONCE
def quote_of_yesterday(ground: Ground) -> bool:
    """What the honest machine answered to somebody else, before it was taken over."""
    return ground.believed(ground.honest, nonce=b"what the verifier sent just now.")


@NONCE
def quote_for_a_longer_nonce(ground: Ground) -> bool:
    """An old quote whose nonce begins with the verifier's."""
    return ground.believed(ground.honest, nonce=ground.honest.nonce[:-1])


@NONCE
def quote_of_yesterday_with_todays_nonce_beside_it(ground: Ground) -> bool:
    """An old quote; the nonce file is the new one."""
    forging = forger.forger()
    old = forging.forge(ground.honest)
    nonce = b"what the verifier sent just now."
    evidence = forging.seal(replace(old.evidence, nonce=nonce))
    with_file = replace(old, evidence=evidence, nonce=nonce)
    quoted = replace(evidence, nonce=old.nonce)
    # Whoever compares the file alone is content; ours compares what the TPM signed.
    return ground.believed(replace(with_file, evidence=forging.seal(quoted)))


@stopped_by("the nonce file is the nonce that was quoted", unsaid("nonce"))
def nonce_for_other_eyes(ground: Ground) -> bool:
    """A nonce file that makes an auditor believe that he was the one who asked."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    evidence = forging.seal(replace(made.evidence, nonce=b"another nonce of 32 bytes ......"))
    return ground.believed(replace(made, evidence=evidence))


def back_in_time(ground: Ground, **now: int) -> bool:
    """Evidence whose counters are these, after accepted evidence with 7 resets, 1 restart."""
    earlier = forger.forger(restarts=1)
    before = earlier.forge(ground.honest)
    after = replace(earlier, **now).forge(ground.honest)  # type: ignore[arg-type]
    return ground.believed(after, previous=before.evidence.quote_msg)


CLOCK = stopped_by("the TPM's counters only ever grow", unsaid("clock"))


@CLOCK
def another_tpm_of_the_same_name(ground: Ground) -> bool:
    """A TPM that was reset less often than the one that was accepted before."""
    return back_in_time(ground, resets=6)


@CLOCK
def snapshot_of_a_virtual_tpm(ground: Ground) -> bool:
    """A virtual TPM put back to an earlier snapshot of the same boot."""
    return back_in_time(ground, restarts=0)


@CLOCK
def clock_put_back(ground: Ground) -> bool:
    """A TPM whose clock, which it calls safe, went back."""
    return back_in_time(ground, restarts=1, clock=99_999)


@stopped_by("what the AK signed is what arrived", unsaid("altered"))
def description_rewritten_on_the_way(ground: Ground) -> bool:
    """Text in the firmware's log that no digest covers, rewritten on the network."""
    evidence = ground.honest.evidence
    log = evidence.firmware_log.replace(b"path of the boot loader", b"path of the good loader")
    assert log != evidence.firmware_log
    return ground.believed(replace(ground.honest, evidence=replace(evidence, firmware_log=log)))


@stopped_by("the list of files is signed by the AK", unsaid("binding", "not signed by the AK"))
def list_that_nobody_signed(ground: Ground) -> bool:
    """The same with a list of digests that fits, signed by the forger."""
    evidence = ground.honest.evidence
    log = evidence.firmware_log.replace(b"path of the boot loader", b"path of the good loader")
    sealed = forger.forger().seal(replace(evidence, firmware_log=log))
    return ground.believed(replace(ground.honest, evidence=sealed))


@stopped_by("the list of files is the signed one", unsaid("binding", "not the list that"))
def list_rewritten(ground: Ground) -> bool:
    """The same with a list of digests that fits, under the old signature."""
    evidence = ground.honest.evidence
    log = evidence.firmware_log.replace(b"path of the boot loader", b"path of the good loader")
    altered = replace(evidence, firmware_log=log)
    altered = replace(altered, sums=altered.listing())
    return ground.believed(replace(ground.honest, evidence=altered))


@stopped_by("a list is signed by a quote over no PCR", unsaid("binding", "quotes PCRs"))
def list_signed_by_asking_for_a_quote(ground: Ground) -> bool:
    """A quote for a nonce of the forger's choice, which anybody may ask for, signs a list."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    message = forging.attest(hashlib.sha256(made.evidence.sums).digest(), bytes(32))
    sums_quote = forger.sized(message) + forging.sign(message)
    evidence = replace(made.evidence, sums_quote=sums_quote)
    return ground.believed(replace(made, evidence=evidence))


@stopped_by("a signed list has our files and no others", unsaid("binding", "lists other files"))
def list_of_more_files(ground: Ground) -> bool:
    """A list that vouches for a file that was never sent."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    evidence = forging.seal(made.evidence, more=b"0" * 64 + b"  one more\n")
    return ground.believed(replace(made, evidence=evidence))


@stopped_by("the log is of the boot that the TPM is in", unsaid("reset"))
def tpm_reset_and_filled_anew(ground: Ground) -> bool:
    """With another model running, the TPM alone is reset by its pin and given the extends of a
    good boot, the record of the boot among them.
    """
    ground.machine.boot(events=boot_set(models=[EVIL, *MODELS[1:]]))
    counters = ground.machine.tpm.tpm().counters()
    ground.machine.boot(counters=counters)  # nothing but the TPM starts again
    return ground.answers()
