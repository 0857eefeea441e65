"""The RAUC bundle of a release: root, hash tree and UKI, for fleets that RAUC updates.

    squashfs    the images, uncompressed, and beside each its block hash index
    hash tree   dm-verity's, of the squashfs
    CMS         the manifest, signed; it holds the tree's root hash
    length      of the CMS, eight bytes, the highest first

That is RAUC's format *verity*, with its adaptive method *block-hash-index* (RAUC's reference,
"Bundle Formats" and "Adaptive Updates"). The signature is RSA without signed attributes, hence
without a time: equal releases and keys give equal bytes. Our machines take the same files as
targets of their own; they do not read this.

    write(directory, Signer.development())
"""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from ainit.ota import verity
from ainit.ota.release import Release
from lib import tools
from lib.host import KEYS, HostError, exclusive, published, run
from lib.layout import BLOCK
from lib.release import epoch

BUNDLE = "ainos.raucb"
DEVELOPMENT = KEYS / "bundle"
# RAUC's class of a slot for each file of a release.
IMAGES = {"rootfs": "root.erofs", "verity": "root.verity", "uki": "uki.efi"}
_YEARS = 30


@dataclass(frozen=True, slots=True)
class Signer:
    """An RSA key, and the certificate that RAUC's keyring leads to."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def read(cls, directory: Path) -> Signer:
        """Load ``key.pem`` and ``certificate.pem``. Raises HostError."""
        try:
            key = serialization.load_pem_private_key((directory / "key.pem").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(
                (directory / "certificate.pem").read_bytes()
            )
        except (OSError, TypeError, ValueError) as error:
            raise HostError(f"{directory}: no key for bundles: {error}") from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise HostError(f"{directory / 'key.pem'}: not an RSA key")
        return cls(key, certificate)

    @classmethod
    def development(cls, directory: Path = DEVELOPMENT) -> Signer:
        """Make the development key on first use, and load it."""
        with exclusive("keys"):
            if not (directory / "certificate.pem").exists():
                _make(directory)
        return cls.read(directory)

    def sign(self, content: bytes) -> bytes:
        """The CMS message of this content, DER."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        signed = builder.add_signer(
            self.certificate, self.key, hashes.SHA256(), rsa_padding=padding.PKCS1v15()
        )
        options = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes]
        return signed.sign(serialization.Encoding.DER, options)


def write(directory: Path, release: Release, signer: Signer) -> Path:
    """Write the bundle of a release directory into it."""
    out = directory / BUNDLE
    with published(out) as file, tempfile.TemporaryDirectory(dir=directory.parent) as name:
        images = Path(name) / "images"
        images.mkdir()
        listed = [_add(directory / each, kind, images) for kind, each in IMAGES.items()]
        packed = Path(name) / "packed"
        options = ["-all-root", "-noappend", "-no-progress", "-no-xattrs", "-quiet"]
        options += ["-noI", "-noD", "-noF", "-mkfs-time", str(epoch()), "-all-time", str(epoch())]
        command = [*tools.command("mksquashfs", "update"), str(images), str(packed), *options]
        run(command, env={"TZ": "UTC"})
        content = packed.read_bytes()
        content += bytes(-len(content) % BLOCK)
        salt = hashlib.sha256(f"ainos bundle {release.version}".encode()).digest()
        geometry = verity.Geometry(len(content) // BLOCK, salt)
        tree = verity.build(lambda at, size: content[at : at + size], geometry)
        hashes_only = tree.content[BLOCK:]  # RAUC has no superblock
        head = [
            *("[update]", f"compatible=ainos-{release.image}", f"version={release.version}", ""),
            *("[bundle]", "format=verity", f"verity-hash={tree.root_hash}"),
            *(f"verity-salt={salt.hex()}", f"verity-size={len(hashes_only)}", ""),
        ]
        signed = signer.sign("\n".join([*head, *listed]).encode())
        file.write_bytes(content + hashes_only + signed + len(signed).to_bytes(8, "big"))
    return out


def _add(source: Path, kind: str, images: Path) -> str:
    """Put an image into the bundle with its index; returns its part of the manifest."""
    data = source.read_bytes()
    (images / source.name).hardlink_to(source)
    adaptive = ""
    if len(data) % BLOCK == 0:
        blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
        index = b"".join(hashlib.sha256(block).digest() for block in blocks)
        (images / f"{source.name}.block-hash-index").write_bytes(index)
        adaptive = "adaptive=block-hash-index\n"
    digest = hashlib.sha256(data).hexdigest()
    return f"[image.{kind}]\nsha256={digest}\nsize={len(data)}\nfilename={source.name}\n{adaptive}"


def _make(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    key = rsa.generate_private_key(65537, 3072)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AINOS development bundle")])
    begin = datetime.datetime.fromtimestamp(epoch(), datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    with published(directory / "key.pem") as file:
        file.touch(0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    with published(directory / "certificate.pem") as file:
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
