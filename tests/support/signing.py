"""Kernel modules that are signed: small ones, keys, and a program that signs as the kernel's does.

key, certificate = key_pair(folder, "build")
sign_file(objects)              # objects/scripts/sign-file, for lib.modules.Signer
path.write_bytes(module("6.12.0", "550.163.01"))
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.elf import elf

# struct module_signature: algorithm, hash, id_type (PKCS#7), no names, and the length, big-endian.
_PROGRAM = r"""#!/bin/sh
# sign-file <hash> <key> <certificate> <module>
set -eu
openssl cms -sign -binary -noattr -nocerts -outform DER -md "$1" -inkey "$2" -signer "$3" \
    -in "$4" -out "$4.p7s"
size=$(stat -c %s "$4.p7s")
cat "$4.p7s" >>"$4"
rm "$4.p7s"
length=$(printf '\\0%03o\\0%03o' $((size >> 8)) $((size & 255)))
printf '\0\0\2\0\0\0\0\0\0\0%b' "$length" >>"$4"
printf '~Module signature appended~\n' >>"$4"
"""


def module(release: str, version: str) -> bytes:
    """A module without code, for a kernel release, of a release of the driver."""
    return elf({".modinfo": f"version={version}\0vermagic={release} SMP mod_unload \0".encode()})


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key and its certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-new", "-x509", "-sha512", "-nodes", "-batch", "-days", "2"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-subj", f"/CN={name}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


def sign_file(objects: Path) -> None:
    """Put the signing program into an object tree."""
    program = objects / "scripts/sign-file"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_PROGRAM)
    program.chmod(0o755)
