"""Attacks on models that are signed by Sigstore identity: by whom, under whom, and where logged.

Whoever attacks has a certificate of the same instance, or a key that was ana's for ten minutes.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ainit.policy.publishers import Publisher as Rights
from ainit.policy.trusted_roots import Window
from ainit.store import certificates, transparency
from ainit.store.certified import Certified, Instance, load_certified
from ainit.store.transparency import Entry
from tests.support.sigstore import (
    IDENTITY,
    ISSUER,
    MINUTE,
    MOMENT,
    SIGNATURES,
    YEAR,
    Authority,
    Json,
    Log,
    Sigstore,
    private_key,
)
from tests.support.store import Publisher, deliver, onnx

from .attack import Equal, Ground, stopped_by, without
from .store import EVIL, RECORD, RIGHTS, Bench

SIGSTORE = Sigstore()
ROOT = SIGSTORE.trusted_root()
FORGER = Authority()
EVIL_PAYLOAD, GOOD_PAYLOAD = (
    Publisher.statement("speech", {"record.json": RECORD, "model.onnx": model})
    for model in (EVIL, onnx())
)


class Same:
    """Differs from nothing."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


def delivered(ground: Ground, bundle: Json, root: Json = ROOT, **rights: Any) -> bool:
    """Does a machine that trusts ana use the forger's model under this signature?"""
    ana = Rights("ana", trusted_root="example", identity=IDENTITY, issuer=ISSUER, **rights)
    bench = Bench(ground)
    (deliver(bench.root, None, content=EVIL) / "model.sig").write_text(json.dumps(bundle))
    certified = load_certified({"ana": ana}, {"example": json.dumps(root)}, MOMENT.date())
    return bench.boot(certified=certified, publishers={"ana": ana})


def signed(*identities: str, authority: Authority = SIGSTORE.authority, **how: Any) -> Json:
    """The forger's model, with a certificate that says this."""
    key = private_key()
    how.setdefault("log", SIGSTORE.certificate_log)
    leaf = authority.certify(key.public_key(), *identities, **how)
    return SIGSTORE.sign(EVIL_PAYLOAD, key=key, leaf=leaf)


def entry(bundle: Json) -> Json:
    found: Json = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


NAMED = stopped_by(
    "the certificate names the publisher, and who vouched for him",
    without(Certified, "_publisher", lambda self, *_: self.identities[0]),
)


@NAMED
def model_by_another_identity(ground: Ground) -> bool:
    """Somebody else's genuine certificate, by the same authority."""
    return delivered(ground, signed("mallory@example.org"))


@NAMED
def identity_by_word_of_another(ground: Ground) -> bool:
    """The publisher's address, vouched for by a provider that gives anybody any address."""
    return delivered(ground, signed(issuers=("https://evil.example.org",) * 2))


@stopped_by(
    "an authority that is trusted certified the identity",
    without(Instance, "chain", lambda _, leaf, __: [leaf, FORGER.certificate]),
)
def identity_by_an_authority_of_his_own(ground: Ground) -> bool:
    """An authority that the forger founded, under the names of the trusted one."""
    return delivered(ground, signed(authority=FORGER))


@stopped_by(
    "the authority was in use when it was signed", without(Window, "holds", lambda *_: True)
)
def identity_by_an_authority_that_was_given_up(ground: Ground) -> bool:
    """An authority whose key leaked certifies for the past."""
    return delivered(ground, signed(), SIGSTORE.trusted_root(end=MOMENT - MINUTE))


@stopped_by("the certificate was logged", without(certificates, "logged", lambda *_: None))
def identity_certified_in_secret(ground: Ground) -> bool:
    """The authority is made to certify the publisher's identity, and nobody was to see it."""
    return delivered(ground, signed(log=private_key()))


@stopped_by(
    "the certificate is for signing code", without(certificates, "purpose", lambda *_, **__: None)
)
def certificate_for_a_server(ground: Ground) -> bool:
    """A certificate of the same authority for another use."""
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return delivered(ground, signed(usages=(SIGNATURES, server)))


@stopped_by(
    "the certificate was in force when the log took the signature",
    without(Entry, "logged", lambda *_: MOMENT),
)
def key_found_a_year_later(ground: Ground) -> bool:
    """The key that was the publisher's for ten minutes, found in a backup; the log takes it."""
    key = private_key()
    leaf = SIGSTORE.certify(key)
    return delivered(
        ground, SIGSTORE.sign(EVIL_PAYLOAD, key=key, leaf=leaf, moment=MOMENT + YEAR / 2)
    )


@stopped_by("the log is trusted", without(Entry, "logged", lambda *_: MOMENT))
def signature_in_a_log_of_his_own(ground: Ground) -> bool:
    """With that key, in the past, logged where nobody will ever look."""
    elsewhere = Sigstore(SIGSTORE.authority)
    elsewhere.certificate_log, elsewhere.log = SIGSTORE.certificate_log, Log()
    return delivered(ground, elsewhere.sign(EVIL_PAYLOAD))


@stopped_by("the log entry is of this signature", without(Entry, "matches", lambda *_: None))
def entry_of_another_signature(ground: Ground) -> bool:
    """With that key, and the entry of what the publisher signed with it."""
    key = private_key()
    leaf = SIGSTORE.certify(key)
    honest, forged = (
        SIGSTORE.sign(payload, key=key, leaf=leaf) for payload in (GOOD_PAYLOAD, EVIL_PAYLOAD)
    )
    forged["verificationMaterial"]["tlogEntries"] = [entry(honest)]
    return delivered(ground, forged)


@stopped_by("the entry is in the tree", without(transparency, "root_of", lambda *_: Equal()))
def promise_that_was_not_kept(ground: Ground) -> bool:
    """The log promised to show the signature, and shows a tree without it."""
    bundle, other = signed(), SIGSTORE.log.enter(b"another entry")
    entry(bundle)["inclusionProof"] = other["inclusionProof"]
    return delivered(ground, bundle)


@stopped_by("the log signed the tree", without(transparency, "_checkpoint", lambda *_: Same()))
def tree_for_one_machine(ground: Ground) -> bool:
    """The log promised, and the tree that holds the signature is the forger's own."""
    key = private_key()
    leaf = SIGSTORE.certify(key)
    bundle = SIGSTORE.sign(EVIL_PAYLOAD, key=key, leaf=leaf, checkpoint_key=private_key())
    return delivered(ground, bundle)


@RIGHTS
def model_by_a_revoked_identity(ground: Ground) -> bool:
    """A model signed by somebody who is no longer a publisher here."""
    return delivered(ground, signed(), revoked=True)
