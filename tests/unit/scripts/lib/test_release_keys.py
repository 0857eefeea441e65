from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest
from lib import release_keys
from lib.host import HostError
from lib.release_keys import NAMES, KeyRing


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "keys"
    release_keys.development(place)
    return place


def test_development_keys_are_made_once(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert before.keys() == {f"{name}{half}.pem" for name in NAMES for half in ("", ".pub")}
    release_keys.development(directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_private_keys_are_their_owners_alone(directory: Path) -> None:
    modes = {f"{path.stat().st_mode & 0o777:o}" for path in directory.glob("*[!b].pem")}
    assert modes == {"600"}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_both_halves_are_one_key(directory: Path) -> None:
    private, public = (release_keys.load(directory / f"root-2{half}.pem") for half in ("", ".pub"))
    assert (private.id, private.role) == (public.id, "root") == (public.id, public.role)
    assert private.signer
    assert not public.signer


def test_a_role_has_the_keys_whose_files_are_named_for_it(directory: Path) -> None:
    ring = KeyRing.read(directory)
    assert len(ring.of("root")) == 3
    assert len(ring.of("timestamp")) == 1
    with pytest.raises(HostError, match=r"there is no key for nobody: nobody\.pem"):
        ring.of("nobody")


def test_a_key_of_openssls_is_a_key(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "root-1.pem"))
    assert release_keys.load(tmp_path / "root-1.pem").signer


@pytest.mark.parametrize(("passphrase", "right"), [("sesame", True), ("other", False)])
def test_a_passphrase_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passphrase: str, right: bool
) -> None:
    path = tmp_path / "root-1.pem"
    words = ["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:sesame"]
    openssl(*words, "-out", str(path))
    monkeypatch.setattr(
        getpass, "getpass", lambda prompt: passphrase if str(path) in prompt else ""
    )
    if right:
        assert release_keys.load(path).signer
    else:
        with pytest.raises(HostError, match=r"root-1\.pem: "):
            release_keys.load(path)


def test_other_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "root-1.pem"
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(path))
    with pytest.raises(HostError, match=r"root-1\.pem: not an Ed25519 key"):
        release_keys.load(path)
    openssl("ec", "-in", str(path), "-pubout", "-out", str(tmp_path / "root-2.pem"))
    with pytest.raises(HostError, match=r"root-2\.pem: not an Ed25519 key"):
        release_keys.load(tmp_path / "root-2.pem")


@pytest.mark.parametrize("text", ["", "key", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "root-1.pem").write_text(text)
    with pytest.raises(HostError, match=r"root-1\.pem: "):
        KeyRing.read(tmp_path)


def test_a_directory_without_keys_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="there are no keys in"):
        KeyRing.read(tmp_path)
    with pytest.raises(HostError, match=r"absent\.pem: .*No such file"):
        release_keys.load(tmp_path / "absent.pem")
