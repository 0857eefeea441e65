"""The store service as PID 1 starts it: verdicts in a file first, then on its socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ainit.errors import NotCoveredError
from ainit.linux import fsverity
from tests.support.service import Service
from tests.support.sigstore import Sigstore
from tests.support.store import Publisher, deliver, deliver_several, shards


def start(folder: Path) -> Service:
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    machine = folder / "machine.json"
    if not machine.exists():
        machine.write_text("{}")
    before = (
        "import ainit.constants as constants\n"
        f"constants.ADMITTED = {str(folder / 'admitted.json')!r}\n"
        f"constants.MACHINE_JSON = {str(machine)!r}\n"
        f"constants.MODELS = {str(folder / 'models')!r}\n"
        f"constants.PUBLISHER_KEYS = {str(keys)!r}\n"
    )
    return Service("ainit.store", folder, before=before)


def has_verity(folder: Path) -> bool:
    path = folder / "probe"
    path.write_bytes(b"x")
    with open(path, "rb") as file:
        try:
            fsverity.enable(file.fileno())
        except NotCoveredError:
            return False
    return True


def test_verdicts_are_published_before_it_is_ready(tmp_path: Path) -> None:
    publisher = Publisher()
    (tmp_path / "keys").mkdir()
    publisher.write(tmp_path / "keys")
    (tmp_path / "keys" / "acme.key").unlink()
    deliver(tmp_path / "models", publisher, "speech")
    deliver(tmp_path / "models", publisher, "filetype", content=b"\x80\x04pickle")
    deliver_several(tmp_path / "models", publisher, shards(), "llama")
    with start(tmp_path) as service:
        published = json.loads((tmp_path / "admitted.json").read_text())
        reply: Any = service.call("org.ainos.Store.Models")
    assert reply == published
    filetype, llama, speech = reply["models"]
    assert (filetype["name"], filetype["state"]) == ("filetype", "refused")
    if has_verity(tmp_path):
        assert filetype["reason"].startswith("format pickle refused")
        assert (speech["state"], speech["signer"]) == ("admitted", "acme")
        assert Path(speech["path"]).exists()
        assert sorted(path.name for path in Path(llama["path"]).iterdir()) == llama["files"]
    else:  # nothing may be admitted on a file system that cannot hold it to its digest
        assert speech["reason"].startswith("fs-verity is not available here")
        assert llama["reason"].startswith("config.json: fs-verity is not available here")


def test_a_machine_without_models_is_fine(tmp_path: Path) -> None:
    with start(tmp_path) as service:
        assert service.call("org.ainos.Store.Models") == {"models": []}


def test_a_bad_key_stops_the_store_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "acme.pem").write_text("junk")
    with pytest.raises(AssertionError, match=r"acme\.pem:1: not a public key"), start(tmp_path):
        pass


def test_a_bad_trusted_root_stops_the_store_and_says_which(tmp_path: Path) -> None:
    """One that the machine's own check let pass: it looks into no certificate."""
    root = Sigstore().trusted_root()
    authority: Any = root["certificateAuthorities"][0]
    authority["certChain"]["certificates"] = [{"rawBytes": "AAAA"}]
    record = {
        "publishers": [{"name": "ana", "trusted_root": "example", "identity": "a", "issuer": "b"}],
        "trusted_roots": {"example": json.dumps(root)},
    }
    (tmp_path / "machine.json").write_text(json.dumps(record))
    said = r"\[trusted_roots\] example:1: a certificate cannot be read"
    with pytest.raises(AssertionError, match=said), start(tmp_path):
        pass
