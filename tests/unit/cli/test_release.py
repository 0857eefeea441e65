"""``ainitctl release verify``: what is compared beyond TUF, and what people read."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lib import release_files, release_provenance, release_repository
from lib.host import sha256_file

from ainit.ota.release import PROVENANCE, File
from tests.support.release import Publisher

from .conftest import Run

Change = Callable[[Any], None]


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.begin()
    return made


@pytest.fixture
def verify(run: Run, publisher: Publisher) -> Callable[..., Any]:
    return lambda *more: run("release", "verify", str(publisher.directory), *more)


def publish(publisher: Publisher, built: Path) -> None:
    release_repository.publish(publisher.repository(), [built], "stable")


def describe_anew(built: Path) -> None:
    """Have the description be of what lies there now, as a careless or bribed builder would."""
    path = built / "release.json"
    record = json.loads(path.read_text())
    for name, file in record["files"].items():
        file["sha256"] = sha256_file(built / name)
        file["size"] = (built / name).stat().st_size
    path.write_text(json.dumps(record))


def said(publisher: Publisher, change: Change) -> Change:
    """Change what the builder says, and have him sign it."""

    def changed(built: Any) -> None:
        envelope = json.loads((built / PROVENANCE).read_text())
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        (built / PROVENANCE).write_bytes(release_provenance.signed(statement, publisher.ring))

    return changed


def test_a_release_is_shown(publisher: Publisher, verify: Callable[..., Any]) -> None:
    publish(publisher, publisher.build("1.0", version_floor="0.9"))
    result = verify("--root", str(publisher.directory / "metadata/1.root.json"))
    assert result.code == 0
    shown = dict(line.split(None, 1) for line in result.out.splitlines())
    assert shown["root"].endswith("given")
    assert shown["release"] == "base-x86_64 1.0"
    assert shown["floors"] == "version 0.9, data format 2"
    assert shown["files"].startswith("11, 0.0 MiB")
    assert shown["golden"] == "PCRs 4, 7, 9, 11, 12, 13, 14"
    assert shown["builder"].endswith("its signature was not looked at")


def test_a_root_that_is_found_there_is_said_to_be_that(
    publisher: Publisher, verify: Callable[..., Any]
) -> None:
    publisher.publish("1.0")
    assert "the one found there" in verify().out


def test_a_directory_without_a_repository_is_said_to_be_that(run: Run, tmp_path: Path) -> None:
    result = run("release", "verify", str(tmp_path))
    assert result.code == 1
    assert "1.root.json: No such file or directory; --root names the one" in result.err


def test_another_root_is_not_believed(
    publisher: Publisher, verify: Callable[..., Any], tmp_path: Path
) -> None:
    publisher.publish("1.0")
    other = Publisher(tmp_path / "other")
    other.begin()
    result = verify("--root", str(other.directory / "metadata/1.root.json"))
    assert result.code == 1
    assert "timestamp was signed by 0/1 keys" in result.err


def test_a_root_that_is_none_is_refused(verify: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "root").write_text("{}")
    result = verify("--root", str(tmp_path / "root"))
    assert result.code == 1
    assert "the trusted root: " in result.err


def test_a_state_remembers(publisher: Publisher, verify: Callable[..., Any]) -> None:
    publisher.publish("1.0")
    timestamp = publisher.directory / "metadata/timestamp.json"
    old = timestamp.read_bytes()
    publisher.publish("1.1")
    state = ["--state", str(publisher.place / "state")]
    assert verify(*state).code == 0
    timestamp.write_bytes(old)
    assert verify().code == 0
    assert verify(*state).code == 1


def test_the_builders_key_is_asked_for(publisher: Publisher, verify: Callable[..., Any]) -> None:
    publisher.publish("1.0")
    keys = publisher.place / "keys"
    right = verify("--builder", str(keys / "builder.pub.pem"))
    assert right.code == 0
    assert "signed by the key that was given" in right.out
    wrong = verify("--builder", str(keys / "stable.pub.pem"))
    assert wrong.code == 1
    assert f"{PROVENANCE}: Accepted signatures do not match" in wrong.err


def other_manifest(**changed: object) -> Change:
    def change(built: Any) -> None:
        manifest = json.loads((built / "manifest.json").read_text())
        (built / "manifest.json").write_text(json.dumps({**manifest, **changed}))

    return change


def write(name: str, text: str) -> Change:
    return lambda built: (built / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_manifest(version="3"), "manifest.json says another version"),
        (other_manifest(architecture="aarch64"), "manifest.json says another architecture"),
        (other_manifest(files={"uki.efi": {"sha256": "0"}}), "uki.efi is not what manifest.json"),
        (write("root.erofs", "other"), "root.erofs is not what manifest.json says"),
        (write("root.erofs", "other"), "provenance.intoto.json is of another root.erofs"),
        (write("systemd-bootx64.efi", "other"), "is of another systemd-bootx64.efi"),
        (write("sbom.cdx.json", '{"bomFormat": "none"}'), "sbom.cdx.json is no bill of materials"),
        (write("sbom.cdx.json", "[]"), "1.0 is malformed"),
        (write("manifest.json", "{"), "1.0 is malformed"),
        (write(PROVENANCE, "{}"), "1.0 is malformed"),
    ],
)  # fmt: skip
def test_files_that_contradict_each_other_are_refused(
    publisher: Publisher, verify: Callable[..., Any], change: Change, message: str
) -> None:
    built = publisher.build("1.0")
    change(built)
    describe_anew(built)
    publish(publisher, built)
    result = verify()
    assert result.code == 1
    assert message in result.err


def subject(statement: Any) -> None:
    statement["subject"].pop()


def release(statement: Any) -> None:
    statement["predicate"]["buildDefinition"]["externalParameters"]["version"] = "0.9"


def predicate(statement: Any) -> None:
    statement["predicateType"] = "https://slsa.dev/provenance/v0.2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (subject, "is of another uki.seal.json"),
        (release, "is of another release"),
        (predicate, "is no SLSA provenance"),
    ],
)
def test_provenance_of_something_else_is_refused(
    publisher: Publisher, verify: Callable[..., Any], change: Change, message: str
) -> None:
    built = publisher.build("1.0")
    said(publisher, change)(built)
    describe_anew(built)
    publish(publisher, built)
    result = verify()
    assert result.code == 1
    assert f"{PROVENANCE} {message}" in result.err


def test_a_pointer_to_another_image_is_refused(
    publisher: Publisher, verify: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs the channel may name what he likes; a description still says what it is for."""
    built = publisher.build("1.0")
    monkeypatch.setattr(
        release_repository, "newest", lambda channel, _: f"{channel}/server-x86_64/release.json"
    )
    publish(publisher, built)
    result = verify("--image", "server-x86_64")
    assert result.code == 1
    assert "describes base-x86_64 1.0" in result.err


def test_a_description_of_other_files_is_refused(
    publisher: Publisher, verify: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = publisher.build("1.0")
    path, right = built / "release.json", release_files.read(built)
    files = {**right.files, "uki.efi": File("0" * 64, 3)}
    path.write_bytes(right.with_files(files).to_bytes())
    monkeypatch.setattr(release_files, "read", lambda _: right)
    publish(publisher, built)
    result = verify()
    assert result.code == 1
    assert "stable/base-x86_64/1.0/uki.efi is not what release.json says" in result.err


def test_a_computer_without_the_library_says_so(
    publisher: Publisher, verify: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ainit.cli.released", raising=False)
    monkeypatch.setitem(sys.modules, "ainit.cli.released", None)
    result = verify()
    assert result.code == 1
    assert "this computer lacks python-tuf" in result.err
