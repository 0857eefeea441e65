"""Signatures by certificate of a pinned authority: our verifier against ``model_signing``."""

from __future__ import annotations

import datetime
import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from model_signing import hashing, signing, verifying

from ainit.errors import RefusedError
from ainit.policy.publishers import Publisher as Rights
from ainit.store import signature
from ainit.store.certified import load_certified
from tests.support.sigstore import (
    CODE,
    MINUTE,
    MOMENT,
    SIGNATURES,
    YEAR,
    Authority,
    certificate,
    private_key,
)
from tests.support.store import deliver

SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
Bundle = dict[str, dict[str, Any]]
Usages = Sequence[x509.ExtensionType]


class Branch:
    """A publisher with authorities of its own, and somebody who signs for it."""

    def __init__(self, directory: Path, curve: ec.EllipticCurve | None = None) -> None:
        self.authority = Authority()
        self.key = private_key(curve)
        self.chain = [self.authority.certificate]
        self.directory = deliver(directory, None)
        self.path = self.directory / "model.sig"
        self.pinned = self._pem("pinned", self.authority.root)

    def certify(
        self, usages: Usages = (SIGNATURES, CODE), start: datetime.datetime = MOMENT
    ) -> x509.Certificate:
        extensions = [(usage, True) for usage in usages]
        return certificate(
            "ana", self.key.public_key(), "authority", self.authority.key,
            start=start, end=start + YEAR / 2, extensions=extensions,
        )  # fmt: skip

    def sign(self, leaf: x509.Certificate | None = None) -> None:
        """As a publisher does."""
        key = self.directory.parent / "key.pem"
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        ignored = hashing.Config().set_ignored_paths(paths=["model.sig"], ignore_git_paths=False)
        config = signing.Config().use_certificate_signer(
            private_key=key,
            signing_certificate=self._pem("leaf", leaf or self.certify()),
            certificate_chain=[self._pem("chain", *self.chain)],
        )
        config.set_hashing_config(ignored).sign(self.directory, self.path)

    def package_accepts(self) -> bool:
        config = verifying.Config().use_certificate_verifier(certificate_chain=[self.pinned])
        try:
            with warnings.catch_warnings():  # the package warns in a deprecated way
                warnings.simplefilter("ignore", DeprecationWarning)
                config.verify(self.directory, self.path)
        except Exception:  # noqa: BLE001 - the package raises whatever its parsers raise
            return False
        return True

    def ours_says(self, today: datetime.datetime = MOMENT) -> str:
        """Why ours refuses; empty when it accepts."""
        branch = Rights("branch", certificates=self.pinned.read_text())
        certified = load_certified({"branch": branch}, {}, today.date())
        try:
            found = signature.verify(self.path.read_bytes(), {}, certified)
        except RefusedError as error:
            return str(error)
        assert (found.signer, found.model) == ("branch", "speech")
        return ""

    def _pem(self, name: str, *found: x509.Certificate) -> Path:
        path = self.directory.parent / f"{name}.pem"
        path.write_bytes(b"".join(item.public_bytes(serialization.Encoding.PEM) for item in found))
        return path


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
@pytest.mark.parametrize("whole", [False, True], ids=["", "with-the-root"])
def test_what_the_package_signs_is_verified_here(
    tmp_path: Path, curve: ec.EllipticCurve, whole: bool
) -> None:
    branch = Branch(tmp_path, curve)
    branch.chain += [branch.authority.root] * whole
    branch.sign()
    assert branch.package_accepts()
    assert branch.ours_says() == ""


def another_authority(branch: Branch) -> None:
    branch.authority = Authority()
    branch.chain = [branch.authority.certificate, branch.authority.root]
    branch.sign()


def authority_left_out(branch: Branch) -> None:
    branch.chain = [branch.authority.root]
    branch.sign()


def certificate_by_a_leaf(branch: Branch) -> None:
    """Whoever has a certificate issues another one with it."""
    leaf = branch.certify()
    branch.chain = [leaf, branch.authority.certificate]
    mallory = certificate(
        "mallory", branch.key.public_key(), "ana", branch.key, extensions=[(SIGNATURES, True)]
    )
    branch.sign(mallory)


def before_the_authority(branch: Branch) -> None:
    branch.sign(branch.certify(start=MOMENT - 2 * YEAR))


def not_for_signatures(branch: Branch) -> None:
    branch.sign(branch.certify(usages=[SERVER]))


def edited(change: Callable[[Bundle], None]) -> Callable[[Branch], None]:
    def forge(branch: Branch) -> None:
        branch.sign()
        bundle = json.loads(branch.path.read_text())
        change(bundle)
        branch.path.write_text(json.dumps(bundle))

    return forge


def the_payload(bundle: Bundle) -> None:
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = payload[:40] + payload[40:].swapcase()


def no_certificates(bundle: Bundle) -> None:
    bundle["verificationMaterial"]["x509CertificateChain"] = {"certificates": []}


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (another_authority, "no trusted authority certified it"),
        (authority_left_out, "no trusted authority certified it"),
        (certificate_by_a_leaf, "no trusted authority certified it"),
        (before_the_authority, "no trusted authority certified it"),
        (not_for_signatures, "the certificate is not for signatures"),
        (edited(the_payload), "altered: the signature by branch does not hold"),
        (edited(no_certificates), "altered: the signature file holds no certificate"),
    ],
)
def test_both_refuse_what_was_forged(
    tmp_path: Path, forge: Callable[[Branch], None], reason: str
) -> None:
    branch = Branch(tmp_path)
    forge(branch)
    assert not branch.package_accepts()
    assert re.match(reason, branch.ours_says())


@pytest.mark.parametrize(
    ("usages", "reason"),
    [
        ([SIGNATURES, SERVER], "the certificate is not for signing code"),
        ([CODE], "the certificate is not for signatures"),
    ],
)
def test_ours_alone_asks_both_usages(tmp_path: Path, usages: Usages, reason: str) -> None:
    branch = Branch(tmp_path)
    branch.sign(branch.certify(usages=usages))
    assert branch.package_accepts()
    assert branch.ours_says() == reason


def test_ours_alone_refuses_a_certificate_that_expired(tmp_path: Path) -> None:
    """The package judges as of the day on which the certificate begins."""
    branch = Branch(tmp_path)
    leaf = branch.certify()
    branch.sign(leaf)
    last = leaf.not_valid_after_utc
    assert branch.package_accepts()
    assert branch.ours_says(last) == ""
    expired = f"the certificate of branch expired after {last.date()}"
    assert branch.ours_says(last + 24 * 60 * MINUTE) == expired
