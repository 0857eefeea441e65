"""Our verbs and hashes against the real tools: sbsign, sbverify, virt-fw-vars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lib.architecture import X86_64
from lib.host import REPOSITORY, CommandError, run

from ainit.ota.pe import Image
from secureboot.lib import tools
from secureboot.lib.keys import KeySet, generate
from secureboot.lib.predict import SECURITY, signature_entry
from tests.support import pe

SECTIONS = {".text": b"\xc3" * 3000, ".linux": b"kernel", ".cmdline": b"quiet", ".sbat": b"sbat"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    keys = KeySet(tmp_path_factory.mktemp("keys"))
    generate(keys, "test")
    return keys


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "unsigned.efi"
    path.write_bytes(pe.build(SECTIONS))
    return path


def test_sbsign_signs_the_hash_that_we_compute(keys: KeySet, image: Path, tmp_path: Path) -> None:
    """The signature holds the hash that sbsign computed itself (SpcIndirectDataContent)."""
    signed = tmp_path / "signed.efi"
    tools.sign(image, signed, keys)
    digest = Image(signed.read_bytes()).authenticode()
    assert digest in Image(signed.read_bytes()).certificates
    assert Image(signed.read_bytes()).sections == SECTIONS


def test_sbverify_refuses_one_changed_byte_and_another_key(
    keys: KeySet, image: Path, tmp_path: Path
) -> None:
    signed = tmp_path / "signed.efi"
    tools.sign(image, signed, keys)
    with pytest.raises(CommandError):
        run(["sbverify", "--cert", str(keys.certificate("KEK")), str(signed)])
    data = bytearray(signed.read_bytes())
    data[data.index(b"quiet")] ^= 1
    signed.write_bytes(data)
    with pytest.raises(CommandError):
        run(["sbverify", "--cert", str(keys.certificate("db")), str(signed)])


def test_enrolled_variables_are_read_back(keys: KeySet, tmp_path: Path) -> None:
    store = tmp_path / "variables.fd"
    tools.enrol(store, keys)
    variables = tools.read_variables(store)
    assert variables["SecureBootEnable"] == b"\1"
    assert {"PK", "KEK", "db", "dbx"} <= variables.keys()
    entry = signature_entry(variables["db"], keys.authority())
    assert entry == keys.owner().bytes_le + keys.authority()
    assert store.stat().st_size == X86_64.variables.stat().st_size


def test_updates_for_real_firmware_hold_the_same_lists(keys: KeySet, tmp_path: Path) -> None:
    """An update is a time-based authentication header (with an empty signature) and the lists."""
    store = tmp_path / "variables.fd"
    tools.enrol(store, keys)
    tools.write_updates(tmp_path / "auth", store)
    for name in ("PK", "KEK", "db"):
        update = (tmp_path / "auth" / f"{name}.auth").read_bytes()
        assert update.endswith(tools.read_variables(store)[name])


def verb(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "secureboot" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_verbs_from_nothing_to_a_prediction(image: Path, tmp_path: Path) -> None:
    keys, store, signed = tmp_path / "keys", tmp_path / "variables.fd", tmp_path / "signed.efi"
    assert "db.pem" in verb("keys", "--release-dir", keys).stdout
    assert verb("keys", "--release-dir", keys).stdout == ""
    assert verb("enrol", "--keys", keys, store).returncode == 0
    assert verb("sign", "--keys", keys, image, signed).returncode == 0
    artefacts = ["--loader", signed, "--uki", signed, "--variables", store, "--keys", keys]
    predicted = verb("predict", *artefacts)
    assert predicted.stderr == ""
    found = json.loads(predicted.stdout)
    assert found["pcrs"].keys() == {"4", "7", "9", "11"}
    assert found["variables"].keys() == {"SecureBoot", "PK", "KEK", "db", "dbx"}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(predicted.stdout)
    assert verb("vouch", "--keys", keys, manifest).returncode == 0
    check = ["openssl", "dgst", "-sha256", "-verify", str(keys / "release.pub.pem")]
    check += ["-signature", f"{manifest}.sig", str(manifest)]
    checked = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert "Verified OK" in checked.stdout
    unsigned = verb("predict", "--loader", image, *artefacts[2:])
    assert (unsigned.returncode, unsigned.stdout) == (1, "")
    assert "must be signed" in unsigned.stderr
    assert SECURITY.bytes_le in store.read_bytes()


def test_without_keys_a_verb_says_what_makes_them(image: Path, tmp_path: Path) -> None:
    failed = verb("sign", "--keys", tmp_path / "none", image, tmp_path / "signed.efi")
    assert failed.returncode == 1
    assert "`secureboot/keys` makes them" in failed.stderr
