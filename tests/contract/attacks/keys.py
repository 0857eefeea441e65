"""Attacks with keys: another AK, another EK, certificates that nobody should have believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ainit.attest import keys as verifier_keys
from ainit.attest import templates
from ainit.attest.enrol import Enrolment
from ainit.attest.keys import rsa_key
from ainit.attest.tpms import parse_public
from ainit.attest.verify import Activation
from tests.unit.attest import authority, forger
from tests.unit.attest.authority import DAY, NOW, OTHER_KEY, Issue

from .attack import Equal, Ground, stopped_by, unsaid, without

TEMPLATE = stopped_by("the AK is made from the AK's template", unsaid("ak-attributes"))
CHALLENGE = stopped_by("the TPM of the EK recovered a secret made for the AK", unsaid("unbound"))


def forged(ground: Ground, **wrong: int | bytes) -> bool:
    """Evidence under the forger's own key, the challenge granted, believed?"""
    return ground.believed(forger.forger(**wrong).forge(ground.honest))


@TEMPLATE
def key_not_restricted(ground: Ground) -> bool:
    """An AK that also signs what the forger composes outside the TPM, quotes for example."""
    return forged(ground, attributes=0x00040472)


@TEMPLATE
def key_copied_out(ground: Ground) -> bool:
    """An AK that may be duplicated into software (fixedTPM is missing)."""
    return forged(ground, attributes=0x00050470)


@TEMPLATE
def key_moved_with_its_parent(ground: Ground) -> bool:
    """An AK that may be duplicated with its parent (fixedParent is missing)."""
    return forged(ground, attributes=0x00050462)


@TEMPLATE
def key_made_outside(ground: Ground) -> bool:
    """An AK that was imported: its private half was made outside the TPM."""
    return forged(ground, attributes=0x00050452)


@TEMPLATE
def key_that_decrypts(ground: Ground) -> bool:
    """An AK that decrypts, too."""
    return forged(ground, attributes=0x00070472)


@TEMPLATE
def key_that_is_never_asked_for(ground: Ground) -> bool:
    """An AK that does not sign by itself."""
    return forged(ground, attributes=0x00010472)


@TEMPLATE
def key_with_a_policy(ground: Ground) -> bool:
    """An AK that is used under a policy of the forger's."""
    return forged(ground, policy=bytes(32))


@stopped_by("the quote is by the AK as a primary of the endorsement hierarchy", unsaid("ak-name"))
def key_of_the_owner(ground: Ground) -> bool:
    """The same key, made in the hierarchy of the owner, whom nobody vouches for."""
    return forged(ground, hierarchy=forger.OWNER)


@stopped_by("both files of the AK hold one key", unsaid("ak"))
def two_keys_at_once(ground: Ground) -> bool:
    """The honest TPM's AK is challenged, the forger's AK in the other file signs."""

    @dataclass(frozen=True)
    class Impostor(forger.Forger):
        @property
        def name(self) -> bytes:
            return parse_public(ground.honest.evidence.ak_pub).name

    forging = Impostor(forger.forger().key)
    made = forging.forge(ground.honest)
    evidence = replace(made.evidence, ak_pub=ground.honest.evidence.ak_pub)
    return ground.believed(replace(ground.honest, evidence=forging.seal(evidence)))


@CHALLENGE
def key_of_no_tpm(ground: Ground) -> bool:
    """Everything in software: no TPM was ever asked."""
    made = forger.forger().forge(ground.honest)
    return ground.believed(replace(made, activation=ground.honest.activation))


@CHALLENGE
def challenge_left_out(ground: Ground) -> bool:
    """The evidence comes from a file, and nobody challenged the TPM."""
    return ground.believed(forger.forger().forge(ground.honest), activation=None)


@CHALLENGE
def challenge_answered_for_another_key(ground: Ground) -> bool:
    """The honest TPM answers a challenge for its own AK; the evidence has the forger's."""
    made = forger.forger().forge(ground.honest)
    answer = replace(ground.honest.activation, ek_pub=made.evidence.ek_pub)
    return ground.believed(replace(made, activation=answer))


@CHALLENGE
def challenge_answered_by_another_tpm(ground: Ground) -> bool:
    """The forger's own TPM answers; the EK in the evidence is the honest machine's."""
    made = forger.forger().forge(ground.honest)
    answer = replace(made.activation, ek_pub=b"the EK of another TPM")
    return ground.believed(replace(made, activation=answer))


@CHALLENGE
def challenge_guessed(ground: Ground) -> bool:
    """A verifier that forgot to choose a secret is answered with nothing."""
    made = forger.forger().forge(ground.honest)
    return ground.believed(
        replace(made, activation=replace(made.activation, secret=b"", answer=b""))
    )


def certified(ground: Ground, issue: Issue, trusted: list[x509.Certificate]) -> bool:
    """Evidence whose EK certificate was issued like this, for a verifier that trusts these."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    public = rsa_key(parse_public(made.evidence.ek_pub))
    der = issue.make(public=public).public_bytes(serialization.Encoding.DER)
    evidence = forging.seal(replace(made.evidence, ek_crt=der))
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in trusted)
    return ground.believed(replace(made, evidence=evidence), manufacturers=pem, now=NOW)


@stopped_by("the issuer is trusted", unsaid("ek-certificate", "nobody trusted is called"))
def certificate_of_an_unknown_maker(ground: Ground) -> bool:
    """The EK is certified by an authority that the forger founded."""
    return certified(ground, Issue(issuer="stranger"), [authority.maker()])


@stopped_by("the issuer's signature holds", unsaid("ek-certificate", "signature is wrong"))
def certificate_in_a_makers_name(ground: Ground) -> bool:
    """The forger's authority calls itself as a trusted maker does."""
    return certified(ground, Issue(key=OTHER_KEY), [authority.maker()])


@stopped_by("the certificate is valid by now", unsaid("ek-certificate", "valid only from"))
def certificate_of_tomorrow(ground: Ground) -> bool:
    """A certificate that is not valid yet."""
    return certified(ground, Issue(first=NOW + DAY / 2), [authority.maker()])


@stopped_by("the certificate has not expired", unsaid("ek-certificate", "certificate: it expired"))
def certificate_of_yesterday(ground: Ground) -> bool:
    """A certificate that expired."""
    return certified(ground, Issue(last=NOW - DAY / 2), [authority.maker()])


@stopped_by("the issuer has not expired", unsaid("ek-certificate", "its issuer expired"))
def certificate_under_an_expired_authority(ground: Ground) -> bool:
    """A certificate whose issuer expired, and whose key may have leaked since."""
    return certified(ground, Issue(), [authority.maker(last=NOW - DAY / 2)])


@stopped_by("an issuer may issue", unsaid("ek-certificate", "may not issue"))
def certificate_by_a_key_that_may_not_issue(ground: Ground) -> bool:
    """A trusted maker's ordinary certificate issued another one."""
    return certified(ground, Issue(), [authority.maker(authority=False)])


@stopped_by(
    "the certificate is of a key, not of an authority", unsaid("ek-certificate", "of an au")
)
def certificate_of_an_authority(ground: Ground) -> bool:
    """An authority's own certificate passed off as an EK's."""
    return certified(ground, Issue(authority=True), [authority.maker()])


@stopped_by(
    "the certificate says whether it is an authority's", unsaid("ek-certificate", "does not")
)
def certificate_without_its_limits(ground: Ground) -> bool:
    """A certificate that does not say whether it may issue others."""
    return certified(ground, Issue(authority=None), [authority.maker()])


@stopped_by(
    "the certificate is for an endorsement key", unsaid("ek-certificate", "as an endorsement")
)
def certificate_for_a_web_server(ground: Ground) -> bool:
    """A maker's certificate for another use."""
    use = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")
    return certified(ground, Issue(use=use), [authority.maker()])


@stopped_by("the EK is the certified key", unsaid("ek-certificate", "not the key that"))
def endorsement_key_of_another_tpm(ground: Ground) -> bool:
    """A genuine certificate, beside an EK that the forger made in software."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    own = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n.to_bytes(256, "big")
    ek_pub = templates.ek_template(own)
    evidence = forging.seal(replace(made.evidence, ek_pub=ek_pub))
    granted = Activation(forging.name, ek_pub, bytes(32), bytes(32))
    return ground.believed(Enrolment(evidence, made.nonce, granted))


@stopped_by(
    "the EK is made from the maker's template",
    without(verifier_keys, "ek_template", lambda _: Equal()),
)
def endorsement_key_of_another_template(ground: Ground) -> bool:
    """The certified modulus with other attributes: the challenge would prove less."""
    forging = forger.forger()
    made = forging.forge(ground.honest)
    ek_pub = made.evidence.ek_pub.replace(b"\x00\x03\x00\xb2", b"\x00\x02\x00\xb2", 1)
    assert hashlib.sha256(ek_pub).digest() != hashlib.sha256(made.evidence.ek_pub).digest()
    evidence = forging.seal(replace(made.evidence, ek_pub=ek_pub))
    granted = replace(made.activation, ek_pub=ek_pub)
    return ground.believed(Enrolment(evidence, made.nonce, granted))
