"""Signatures by Sigstore identity: our verifier against the ``sigstore`` package, offline.

Both get the same bundle and the same trusted root. The package also makes one itself, with the
instance of the tests behind it, and the package ``model_signing`` verifies one over a whole model.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from lib.host import REPOSITORY
from model_signing import verifying
from sigstore._internal.rekor.client import RekorClient
from sigstore._internal.tuf import DEFAULT_TUF_URL, STAGING_TUF_URL
from sigstore.dsse import Statement
from sigstore.models import Bundle, TransparencyLogEntry, TrustedRoot
from sigstore.sign import Signer, SigningContext
from sigstore.verify import Verifier, policy
from sigstore_models.rekor.v1 import TransparencyLogEntry as EntryModel

from ainit.errors import RefusedError
from ainit.policy.machine_config import machine
from ainit.policy.publishers import Publisher as Rights
from ainit.store import signature
from ainit.store.certified import load_certified
from tests.contract.test_store_signature import sign
from tests.support.remote import LIBRARIES
from tests.support.sigstore import (
    CODE,
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
    base64_text,
    entry_body,
    private_key,
)
from tests.support.store import Publisher, deliver

URLS = {"production": DEFAULT_TUF_URL, "staging": STAGING_TUF_URL}
WORKFLOW = "https://forge.example.org/acme/models/release.yml@refs/heads/main"


def payload(name: str = "speech") -> bytes:
    return Publisher.statement(name, {"model.onnx": b"weights", "record.json": b"{}"})


PAYLOAD = payload()


def package_says(bundle: Json, root: Json, directory: Path, identity: str = IDENTITY) -> str:
    """Why the package refuses; empty when it accepts."""
    path = directory / "trusted_root.json"
    path.write_text(json.dumps(root))
    try:
        verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
        verifier.verify_dsse(
            Bundle.from_json(json.dumps(bundle)), policy.Identity(identity=identity, issuer=ISSUER)
        )
    except Exception as error:  # noqa: BLE001 - the package raises whatever its parsers raise
        return str(error) or repr(error)
    return ""


def ours_says(bundle: Json, root: Json, identity: str = IDENTITY) -> str:
    """Why ours refuses; empty when it accepts."""
    ana = Rights("ana", trusted_root="example", identity=identity, issuer=ISSUER)
    certified = load_certified({"ana": ana}, {"example": json.dumps(root)}, MOMENT.date())
    try:
        found = signature.verify(json.dumps(bundle).encode(), {}, certified)
    except RefusedError as error:
        return str(error)
    assert (found.signer, found.model) == ("ana", "speech")
    return ""


@pytest.mark.parametrize("identity", [IDENTITY, WORKFLOW])
@pytest.mark.parametrize(("others", "after"), [(0, 0), (1, 0), (6, 3), (7, 9), (20, 1)])
def test_what_the_instance_signs_is_accepted_by_both(
    tmp_path: Path, identity: str, others: int, after: int
) -> None:
    sigstore = Sigstore()
    sigstore.log = Log(others)
    key = private_key()
    leaf = sigstore.certify(key, identity)
    bundle = sigstore.sign(PAYLOAD, key=key, leaf=leaf, after=after)
    assert package_says(bundle, sigstore.trusted_root(), tmp_path, identity) == ""
    assert ours_says(bundle, sigstore.trusted_root(), identity) == ""


# Forgeries: an instance that is honest otherwise, and what the forger makes of it.

Forged = tuple[Json, Json]
Forgery = Callable[[Sigstore], Forged]


def signed(change: Callable[[Json], None]) -> Forgery:
    """A good bundle, edited."""

    def forge(sigstore: Sigstore) -> Forged:
        bundle = sigstore.sign(PAYLOAD)
        change(bundle)
        return bundle, sigstore.trusted_root()

    return forge


def certified(*identities: str, **how: Any) -> Forgery:
    """A certificate of the instance that says something else."""

    def forge(sigstore: Sigstore) -> Forged:
        key = private_key()
        bundle = sigstore.sign(PAYLOAD, key=key, leaf=sigstore.certify(key, *identities, **how))
        return bundle, sigstore.trusted_root()

    return forge


def entered(**how: Any) -> Forgery:
    """A log that does something else."""
    return lambda sigstore: (sigstore.sign(PAYLOAD, **how), sigstore.trusted_root())


def entry(bundle: Json) -> Json:
    found: Json = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def another_byte(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return base64_text(bytes(data))


def certificate_of_another_authority(sigstore: Sigstore) -> Forged:
    """Its names are the same, and the certificate is in the log."""
    root = sigstore.trusted_root()
    sigstore.authority = Authority()
    return sigstore.sign(PAYLOAD), root


def certificate_by_a_leaf(sigstore: Sigstore) -> Forged:
    """Whoever got a certificate issues another one with it."""
    root = sigstore.trusted_root()
    key = private_key()
    leaf = sigstore.certify(key)
    sigstore.authority.key, sigstore.authority.certificate = key, leaf
    return sigstore.sign(PAYLOAD), root


def logged_elsewhere(sigstore: Sigstore) -> Forged:
    root = sigstore.trusted_root()
    sigstore.log = Log()
    return sigstore.sign(PAYLOAD), root


def log_key_in_anothers_name(sigstore: Sigstore) -> Forged:
    """Another log's entry, renamed to the trusted one."""
    bundle, root = logged_elsewhere(sigstore)
    entry(bundle)["logId"] = root["tlogs"][0]["logId"]
    return bundle, root


def entry_of_another_artifact(sigstore: Sigstore) -> Forged:
    """The entry of what the same key signed before."""
    key = private_key()
    leaf = sigstore.certify(key)
    bundle, other = (
        sigstore.sign(text, key=key, leaf=leaf) for text in (PAYLOAD, payload("vision"))
    )
    bundle["verificationMaterial"]["tlogEntries"] = [entry(other)]
    return bundle, sigstore.trusted_root()


def entry_of_another_certificate(sigstore: Sigstore) -> Forged:
    """The envelope's own signature, logged as somebody else's."""
    bundle = sigstore.sign(PAYLOAD)
    found = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    body = entry_body(PAYLOAD, found, sigstore.certify(private_key()))
    bundle["verificationMaterial"]["tlogEntries"] = [sigstore.log.enter(body)]
    return bundle, sigstore.trusted_root()


def certificate_exchanged(sigstore: Sigstore) -> Forged:
    """A signature by mallory, with ana's certificate; the entry says so, too."""
    bundle = sigstore.sign(PAYLOAD, key=private_key(), leaf=sigstore.certify(private_key()))
    return bundle, sigstore.trusted_root()


def authority_that_expired(sigstore: Sigstore) -> Forged:
    sigstore.authority = Authority(end=MOMENT - MINUTE)
    return sigstore.sign(PAYLOAD), sigstore.trusted_root()


def authority_not_yet_in_use(sigstore: Sigstore) -> Forged:
    root = sigstore.trusted_root()
    root["certificateAuthorities"][0]["validFor"]["start"] = "2100-01-01T00:00:00Z"
    return sigstore.sign(PAYLOAD), root


def two_entries(bundle: Json) -> None:
    bundle["verificationMaterial"]["tlogEntries"] *= 2


def the_payload(bundle: Json) -> None:
    bundle["dsseEnvelope"]["payload"] = base64_text(payload("vision"))


def the_time(bundle: Json) -> None:
    entry(bundle)["integratedTime"] = str(int(entry(bundle)["integratedTime"]) + 1)


def the_promise(bundle: Json) -> None:
    found = entry(bundle)["inclusionPromise"]
    found["signedEntryTimestamp"] = another_byte(found["signedEntryTimestamp"])


def the_path(bundle: Json) -> None:
    hashes = entry(bundle)["inclusionProof"]["hashes"]
    hashes[1] = another_byte(hashes[1])


def the_place(bundle: Json) -> None:
    proof = entry(bundle)["inclusionProof"]
    proof["logIndex"] = str(int(proof["logIndex"]) - 1)


def no_place(bundle: Json) -> None:
    proof = entry(bundle)["inclusionProof"]
    proof["logIndex"] = proof["treeSize"]


def a_shorter_path(bundle: Json) -> None:
    del entry(bundle)["inclusionProof"]["hashes"][-1]


def a_longer_path(bundle: Json) -> None:
    entry(bundle)["inclusionProof"]["hashes"] *= 2


def the_root(bundle: Json) -> None:
    proof = entry(bundle)["inclusionProof"]
    proof["rootHash"] = another_byte(proof["rootHash"])


def the_note(bundle: Json) -> None:
    checkpoint = entry(bundle)["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace("example.org - 1", "example.org - 2")


def unsigned_note(bundle: Json) -> None:
    checkpoint = entry(bundle)["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].split("\n\n")[0] + "\n\n"


def no_checkpoint(bundle: Json) -> None:
    del entry(bundle)["inclusionProof"]["checkpoint"]


def no_proof(bundle: Json) -> None:
    del entry(bundle)["inclusionProof"]


def no_promise(bundle: Json) -> None:
    del entry(bundle)["inclusionPromise"]


def no_entry(bundle: Json) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def the_version(bundle: Json) -> None:
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json"


def two_signatures(bundle: Json) -> None:
    bundle["dsseEnvelope"]["signatures"] *= 2


def the_signature(bundle: Json) -> None:
    found = bundle["dsseEnvelope"]["signatures"][0]
    found["sig"] = another_byte(found["sig"])


def another_signature_logged_as_well(sigstore: Sigstore) -> Forged:
    """An altered signature, which the log took: it does not verify what it takes here."""
    key = private_key()
    leaf = sigstore.certify(key)
    bundle = sigstore.sign(PAYLOAD, key=key, leaf=leaf)
    the_signature(bundle)
    found = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    body = entry_body(PAYLOAD, found, leaf)
    bundle["verificationMaterial"]["tlogEntries"] = [sigstore.log.enter(body)]
    return bundle, sigstore.trusted_root()


def another_field(bundle: Json) -> None:
    bundle["verificationMaterial"]["more"] = 1


def no_certificate(bundle: Json) -> None:
    del bundle["verificationMaterial"]["certificate"]


EVIL = "https://evil.example.org"
AUTHORITY = x509.BasicConstraints(True, None)
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])

FORGERIES: list[tuple[Forgery, str]] = [
    (certified("mallory@example.org"), "signed as mallory@example.org, whom no publ"),
    (certified("https://example.org/ana"), "signed as https://example.org/ana, whom"),
    (certified(issuers=(EVIL, EVIL)), "signed as ana@example.org by word of https"),
    (certificate_of_another_authority, "no trusted authority certified it"),
    (certificate_by_a_leaf, "no trusted authority certified it"),
    (certificate_exchanged, "altered: the signature by ana does not hold"),
    (authority_that_expired, "no trusted authority certified it"),
    (authority_not_yet_in_use, "no authority was in use when it was signed"),
    (certified(log=None), "the certificate holds 0 promises of logs, not one"),
    (certified(log=private_key()), "the certificate was logged where nobody trusts it"),
    (certified(log_signs=False), "altered: the promise of the certificate's log does not hold"),
    (certified(usages=[SIGNATURES]), "the certificate is not for signing code"),
    (certified(usages=[SIGNATURES, SERVER]), "the certificate is not for signing code"),
    (certified(usages=[CODE]), "the certificate is not for signatures"),
    (certified(usages=[SIGNATURES, CODE, AUTHORITY]), "no trusted authority certified it"),
    (certified(start=MOMENT + MINUTE), "the certificate was used before or after its time"),
    (certified(start=MOMENT - 11 * MINUTE), "the certificate was used before or after its time"),
    (entered(moment=MOMENT + 10 * MINUTE), "the certificate was used before or after its time"),
    (entered(moment=MOMENT - 2 * MINUTE), "the certificate was used before or after its time"),
    (entered(checkpoint_key=private_key()), "altered: the log did not sign the checkpoint"),
    (entered(kind={"kind": "intoto", "version": "0.0.2"}), "logged in a way that is not supported"),
    (entered(kind={"kind": "dsse", "version": "0.0.9"}), "logged in a way that is not supported"),
    (logged_elsewhere, "the signature was logged where nobody trusts it"),
    (log_key_in_anothers_name, "altered: the promise of the log does not hold"),
    (entry_of_another_artifact, "the log entry is of another signature"),
    (entry_of_another_certificate, "the log entry is of another signature"),
    (another_signature_logged_as_well, "altered: the signature by ana does not hold"),
    (signed(the_payload), "the log entry is of another signature"),
    (signed(the_signature), "the log entry is of another signature"),
    (signed(the_time), "altered: the promise of the log does not hold"),
    (signed(the_promise), "altered: the promise of the log does not hold"),
    (signed(the_path), "altered: the log's proof does not hold"),
    (signed(the_place), "altered: the log's proof does not hold"),
    (signed(no_place), "altered: the log's proof is of no place in the tree"),
    (signed(a_shorter_path), "altered: the log's proof is too short"),
    (signed(a_longer_path), "altered: the log's proof is too long"),
    (signed(the_root), "altered: the log's proof does not hold"),
    (signed(the_note), "altered: the log did not sign the checkpoint"),
    (signed(unsigned_note), "altered: the log's checkpoint is none"),
    (signed(no_checkpoint), "altered: checkpoint is missing"),
    (signed(no_proof), "the log does not prove that it holds the signature"),
    (signed(no_promise), "the log did not sign when it took the signature"),
    (signed(no_entry), "no log entry says when it was signed"),
    (signed(two_entries), "altered: tlogEntries holds more than 1 items"),
    (signed(the_version), "signature of an unknown type"),
    (signed(two_signatures), "altered: the signature file holds another number"),
    (signed(another_field), "altered: verificationMaterial has an unknown field more"),
    (signed(no_certificate), "altered: x509CertificateChain is missing"),
]


@pytest.mark.parametrize(("forge", "reason"), FORGERIES)
def test_both_refuse_what_was_forged(tmp_path: Path, forge: Forgery, reason: str) -> None:
    bundle, root = forge(Sigstore())
    assert package_says(bundle, root, tmp_path)
    assert re.match(reason, ours_says(bundle, root))


# What the package accepts, and we do not: it does not ask whether an authority or a log was in use
# when something was signed, and reads one of two names.


def authority_out_of_use(sigstore: Sigstore) -> Forged:
    """Who stole the key of an authority that was given up signs in the past."""
    return sigstore.sign(PAYLOAD), sigstore.trusted_root(end=MOMENT - MINUTE)


def log_out_of_use(which: str) -> Forgery:
    def forge(sigstore: Sigstore) -> Forged:
        root = sigstore.trusted_root()
        root[which][0]["publicKey"]["validFor"]["end"] = "2025-05-31T00:00:00Z"
        return sigstore.sign(PAYLOAD), root

    return forge


def checkpoint_of_another_tree(sigstore: Sigstore) -> Forged:
    """Of another size, with the same root."""
    bundle = sigstore.sign(PAYLOAD)
    root = base64.b64decode(entry(bundle)["inclusionProof"]["rootHash"])
    sigstore.log.enter(b"one more")
    note = sigstore.log.checkpoint(root, sigstore.log.key)
    entry(bundle)["inclusionProof"]["checkpoint"]["envelope"] = note
    return bundle, sigstore.trusted_root()


def entry_of_another_kind(sigstore: Sigstore) -> Forged:
    """What the log signed is of another kind than stands beside it."""
    key = private_key()
    leaf = sigstore.certify(key)
    bundle = sigstore.sign(PAYLOAD, key=key, leaf=leaf)
    found = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    body = entry_body(PAYLOAD, found, leaf).replace(
        b'"apiVersion":"0.0.1"', b'"apiVersion":"0.0.9"'
    )
    bundle["verificationMaterial"]["tlogEntries"] = [sigstore.log.enter(body)]
    return bundle, sigstore.trusted_root()


def another_curve(sigstore: Sigstore) -> Forged:
    key = private_key(ec.SECP384R1())
    return sigstore.sign(PAYLOAD, key=key, leaf=sigstore.certify(key)), sigstore.trusted_root()


STRICTER: list[tuple[Forgery, str]] = [
    (authority_out_of_use, "no authority was in use when it was signed"),
    (log_out_of_use("tlogs"), "the signature was logged when the log was not in use"),
    (log_out_of_use("ctlogs"), "the certificate was logged when the log was not in use"),
    (entry_of_another_kind, "altered: the log entry is of another kind than it says"),
    (checkpoint_of_another_tree, "altered: the log's checkpoint is of another tree"),
    (
        certified(IDENTITY, "mallory@example.org"),
        "the certificate names another than one URI or e-mail address",
    ),
    (certified(issuers=(ISSUER, EVIL)), "the certificate names no issuer of the id"),
    (another_curve, "the certificate's key is not on secp256r1"),
]


@pytest.mark.parametrize(("forge", "reason"), STRICTER)
def test_ours_alone_refuses(tmp_path: Path, forge: Forgery, reason: str) -> None:
    bundle, root = forge(Sigstore())
    assert package_says(bundle, root, tmp_path) == ""
    assert re.match(reason, ours_says(bundle, root))


# What the packages themselves make and verify.


class Rekor(RekorClient):
    """The package's own client, with the log of the tests behind it."""

    def __init__(self, log: Log, moment: datetime.datetime) -> None:
        super().__init__("https://log.example.org")
        self.behind, self.now = log, moment

    def create_entry(self, request: Any) -> TransparencyLogEntry:
        content = request["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        pem = base64.b64decode(content["verifiers"][0])
        body = entry_body(
            base64.b64decode(envelope["payload"]),
            base64.b64decode(envelope["signatures"][0]["sig"]),
            x509.load_pem_x509_certificate(pem),
        )
        found = self.behind.enter(body, self.now)
        return TransparencyLogEntry(EntryModel.from_json(json.dumps(found)))


def test_what_the_package_signs_is_verified_here(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    sigstore = Sigstore(Authority(end=now + YEAR))

    def post(request: x509.CertificateSigningRequest, _token: object) -> SimpleNamespace:
        leaf = sigstore.authority.certify(
            request.public_key(),  # type: ignore[arg-type]
            log=sigstore.certificate_log,
            start=now - MINUTE,
        )
        return SimpleNamespace(cert=leaf, chain=[sigstore.authority.certificate])

    path = tmp_path / "trusted_root.json"
    path.write_text(json.dumps(sigstore.trusted_root()))
    context = SigningContext(
        fulcio=SimpleNamespace(signing_cert=SimpleNamespace(post=post)),  # type: ignore[arg-type]
        rekor=Rekor(sigstore.log, now),
        trusted_root=TrustedRoot.from_file(str(path)),
    )
    token: Any = SimpleNamespace(in_validity_period=lambda: True)
    bundle = json.loads(Signer(token, context).sign_dsse(Statement(PAYLOAD)).to_json())
    assert package_says(bundle, sigstore.trusted_root(), tmp_path) == ""
    assert ours_says(bundle, sigstore.trusted_root()) == ""


def test_the_package_verifies_a_whole_model_by_identity(tmp_path: Path) -> None:
    """The payload is the package's own, too."""
    sigstore = Sigstore()
    directory = deliver(tmp_path, None)
    path, configuration = directory / "model.sig", tmp_path / "trust.json"
    sign(Publisher(), directory)
    envelope = json.loads(path.read_text())["dsseEnvelope"]
    bundle = sigstore.sign(base64.b64decode(envelope["payload"]))
    path.write_text(json.dumps(bundle))
    signing = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
    trust = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": sigstore.trusted_root(),
        "signingConfig": signing,
    }
    configuration.write_text(json.dumps(trust))
    verifying.Config().use_sigstore_verifier(
        identity=IDENTITY, oidc_issuer=ISSUER, trust_config=configuration
    ).verify(directory, path)
    assert ours_says(bundle, sigstore.trusted_root()) == ""


@pytest.mark.parametrize("name", ["production", "staging"])
def test_the_roots_that_sigstore_publishes_can_be_configured(name: str) -> None:
    """As the package brings them along."""
    folder = files("sigstore._store") / quote(URLS[name], safe="")
    text = (folder / "trusted_root.json").read_text()
    quoted = f"[trusted_roots]\nsigstore = '''\n{text}'''\n"
    settings, findings = machine(quoted, "machine.toml")
    assert findings == []
    roots: Any = settings["trusted_roots"]
    assert load_certified({}, roots, MOMENT.date()).identities == []


IN_THE_IMAGE = """
import datetime, json, sys
sys.path.insert(0, sys.argv[1])
from ainit.policy.publishers import from_records
from ainit.store import signature
from ainit.store.__main__ import certified
machine = json.loads(sys.argv[2])
publishers = from_records(machine["publishers"])
found = certified(publishers, machine["trusted_roots"], datetime.date.today())
print(signature.verify(sys.stdin.buffer.read(), {}, found).signer)
"""


def test_the_image_has_what_it_takes(tree: Path) -> None:
    """Its Python, its libraries, and a publisher as its configuration names one."""
    sigstore = Sigstore()
    text = (
        f"[publishers.ana]\ntrusted_root = 'example'\nidentity = '{IDENTITY}'\n"
        f"issuer = '{ISSUER}'\n[trusted_roots]\n"
        f"example = '''{json.dumps(sigstore.trusted_root())}'''\n"
    )
    settings, findings = machine(text, "machine.toml")
    assert findings == []
    libraries = tree / LIBRARIES
    done = subprocess.run(
        [
            *(str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
            *(str(tree / "usr/bin/python3"), "-I", "-c", IN_THE_IMAGE),
            *(str(REPOSITORY), json.dumps(settings)),
        ],
        input=json.dumps(sigstore.sign(PAYLOAD)).encode(),
        capture_output=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin", "PYTHONHOME": str(tree / "usr")},
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"ana\n", b"", 0)
