"""A release directory: what is in it, and that it is the same whoever makes it when."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from lib import debian_lock, release_files, release_keys, release_provenance
from lib.host import REPOSITORY, HostError, run, sha256_file
from lib.release_files import Wanted

from ainit.ota.delta import Delta
from tests.support.release import PCRS, Publisher, image


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def statement(directory: Path) -> dict[str, Any]:
    envelope = json.loads((directory / "provenance.intoto.json").read_text())
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


def test_a_release_holds_what_an_update_needs(publisher: Publisher) -> None:
    built = publisher.build("1.0", version_floor="0.5")
    assert built.relative_to(publisher.place).parts == ("release-", "1.0", "base-x86_64")
    assert {path.name for path in built.iterdir()} == {
        "root.erofs", "root.verity", "uki.efi", "uki.seal.json", "systemd-bootx64.efi",
        "manifest.json", "manifest.json.sig", "sbom.cdx.json", "provenance.intoto.json",
        "release.json", "blocks.idx", "uki.delta",
    }  # fmt: skip
    release = release_files.read(built)
    assert release.facts() == {
        "version": "1.0",
        "variant": "base",
        "architecture": "x86_64",
        "version_floor": "0.5",
        "data_format_floor": 2,
    }
    assert json.loads((built / "manifest.json").read_text())["pcrs"] == PCRS


def test_another_file_may_travel_with_it(publisher: Publisher, tmp_path: Path) -> None:
    extra = tmp_path / "dbx.esl"
    extra.write_text("revoked")
    release = release_files.read(publisher.build("1.0", extra=(extra,)))
    assert release.files["dbx.esl"].sha256 == sha256_file(extra)


def test_it_brings_the_difference_to_the_four_before_it(publisher: Publisher) -> None:
    built = [publisher.build(version) for version in ("0.9", "0.10", "1.0", "1.1", "1.2", "1.3")]
    manifests = [json.loads((each / "manifest.json").read_text()) for each in built]
    names = [f"delta-{each['root']['hash'][:16]}" for each in manifests]
    assert {path.name for path in built[-1].glob("delta-*")} == set(names[1:5])
    old, new = (
        b"".join((built[at] / name).read_bytes() for name in ("root.erofs", "uki.efi"))
        for at in (3, 5)
    )
    with (built[-1] / names[3]).open("rb") as file:
        assert b"".join(Delta(file).pieces(lambda at, size: old[at : at + size])) == new
    assert names[3] in release_files.read(built[-1]).files


def test_which_releases_it_comes_from_can_be_said(publisher: Publisher) -> None:
    first, _ = publisher.build("1.0"), publisher.build("1.1")
    built = publisher.build("1.2", previous=(first,))
    root_hash = json.loads((first / "manifest.json").read_text())["root"]["hash"]
    assert [path.name for path in built.glob("delta-*")] == [f"delta-{root_hash[:16]}"]
    with pytest.raises(HostError, match="not a release to prepare the way from"):
        publisher.build("1.3", previous=(publisher.place,))


def test_two_builds_give_equal_bytes(publisher: Publisher, tmp_path: Path) -> None:
    source = image(tmp_path / "image", "1.0")
    one, two = (
        release_files.build(Wanted("1.0", source), tmp_path / name, publisher.ring)
        for name in ("one", "two")
    )
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert [name for name in names if (one / name).read_bytes() != (two / name).read_bytes()] == []


def test_the_provenance_is_a_statement_as_in_toto_has_it(publisher: Publisher) -> None:
    found = statement(publisher.build("1.0", builder="https://builder.example/1"))
    Statement.copy_from_pb(ParseDict(found, statement_pb2.Statement())).validate()
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["predicate"]["runDetails"]["builder"]["id"] == "https://builder.example/1"


def test_the_provenance_names_every_file_and_what_it_was_made_from(publisher: Publisher) -> None:
    built = publisher.build("1.0")
    found = statement(built)
    files = {path.name for path in built.iterdir()} - {"release.json", "provenance.intoto.json"}
    assert {each["name"]: each["digest"]["sha256"] for each in found["subject"]} == {
        name: sha256_file(built / name) for name in files
    }
    materials = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    commit = run(["git", "-c", "safe.directory=*", "rev-parse", "HEAD"], cwd=REPOSITORY).strip()
    assert materials[0]["digest"] == {"gitCommit": commit}
    digests = {each["name"]: each["digest"].get("sha256") for each in materials[1:]}
    for lock in ("scripts/debian.lock", "scripts/requirements-host.txt", "scripts/wheels.txt"):
        assert digests[lock] == sha256_file(REPOSITORY / lock)
    (kernel,) = debian_lock.read(group="kernel")
    assert digests[kernel.filename] == kernel.sha256


def test_without_a_builders_key_nothing_is_signed(publisher: Publisher) -> None:
    ring = publisher.ring
    public = release_keys.KeyRing(
        ring.place,
        tuple(release_keys.Key(key.role, key.public, None) for key in ring.keys),
    )
    with pytest.raises(HostError, match="no private key of the builder"):
        release_provenance.signed({}, public)


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.1", "is version 1.0, not 1.1; the version is written in ainit/__init__.py")],
)
def test_a_version_is_the_images(publisher: Publisher, version: str, said: str) -> None:
    source = image(publisher.place / "image", "1.0")
    with pytest.raises(HostError, match=said):
        release_files.build(Wanted(version, source), publisher.place / "out", publisher.ring)


def test_a_version_that_cannot_be_compared_is_refused(publisher: Publisher) -> None:
    with pytest.raises(HostError, match=r"'1\.0rc1' is no version of a release"):
        publisher.build("1.0rc1")
    assert not list(publisher.place.glob("release-/**/release.json"))


def test_an_image_that_is_not_its_manifests_is_refused(publisher: Publisher) -> None:
    source = image(publisher.place / "image", "1.0")
    (source / "root.erofs").write_text("interrupted")
    with pytest.raises(HostError, match=r"root\.erofs is not what manifest\.json says"):
        release_files.build(Wanted("1.0", source), publisher.place / "out", publisher.ring)


def test_an_image_that_was_not_signed_is_refused(publisher: Publisher) -> None:
    source = image(publisher.place / "image", "1.0")
    manifest = json.loads((source / "manifest.json").read_text())
    del manifest["pcrs"], manifest["seal"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(HostError, match="no pcrs, seal: the image was not signed"):
        release_files.build(Wanted("1.0", source), publisher.place / "out", publisher.ring)


def test_an_image_that_is_not_there_says_how_to_make_it(publisher: Publisher) -> None:
    with pytest.raises(HostError, match="`make image` builds one"):
        release_files.build(
            Wanted("1.0", publisher.place / "none"), publisher.place, publisher.ring
        )


def test_a_directory_is_read_with_every_finding(publisher: Publisher) -> None:
    built = publisher.build("1.0")
    (built / "uki.efi").unlink()
    (built / "root.erofs").write_text("changed")
    (built / "more").write_text("more")
    with pytest.raises(HostError) as caught:
        release_files.read(built)
    assert str(caught.value).splitlines()[1:] == [
        "uki.efi is missing",
        "more is not in release.json",
        "root.erofs differs from release.json",
    ]


def test_what_is_no_release_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is no release: No such file"):
        release_files.read(tmp_path)
