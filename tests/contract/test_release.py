"""A machine that trusts one root follows releases over HTTP, and nobody leads it astray.

Whoever attacks here writes what the server serves, and holds the keys that a test names.
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lib import release_files, release_keys, release_root
from lib.release_root import Change
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from ainit.cli import main
from ainit.cli.released import Reader, Seen
from ainit.errors import AinosError, RefusedError
from tests.support.release import IMAGE, PCRS, Publisher, alter


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory; a path that ends in what ``endless`` names never ends."""

    endless = ""

    def do_GET(self) -> None:
        if not (self.endless and self.path.endswith(self.endless)):
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * (1 << 16))
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        pass


class Service:
    """A publisher with a server, and a machine that remembers."""

    def __init__(self, publisher: Publisher, address: str) -> None:
        self.publisher = publisher
        self.address = address
        self.root = publisher.root()
        self.metadata = publisher.directory / "metadata"

    def look(self, state: str = "machine", channel: str = "stable", version: str = "") -> Seen:
        """What a machine finds that has this state."""
        place = self.publisher.place / state
        with Reader(self.address, self.root, place) as reader:
            return reader.verify(channel, IMAGE, version)

    def alter(self, role: str, keys: str, change: Callable[[Any], None]) -> None:
        """See Publisher."""
        self.publisher.alter(role, keys, change)

    def lead_to(self, role: str, version: int) -> None:
        """See Publisher."""
        self.publisher.lead_to(role, version)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setenv("no_proxy", "*")
    made = Publisher(tmp_path)
    made.begin()
    return made


@pytest.fixture
def service(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Release 1.0 is published and served; the machine has seen it."""
    publisher.publish("1.0")
    monkeypatch.setattr(Handler, "endless", "")
    handler = partial(Handler, directory=str(publisher.directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made = Service(publisher, f"http://127.0.0.1:{server.server_port}")
        try:
            assert made.look().release.version == "1.0"
            yield made
        finally:
            server.shutdown()
            thread.join()


def test_a_machine_goes_from_one_release_to_the_next(service: Service) -> None:
    service.publisher.publish("2.0")
    seen = service.look()
    assert seen.release.version == "2.0"
    assert seen.pcrs == PCRS


def test_an_old_timestamp_is_refused(service: Service) -> None:
    path = service.metadata / "timestamp.json"
    old = path.read_bytes()
    service.publisher.publish("2.0")
    assert service.look().release.version == "2.0"
    path.write_bytes(old)
    with pytest.raises(RefusedError, match="timestamp version"):
        service.look()


def test_an_old_snapshot_is_refused_though_the_timestamp_is_new(service: Service) -> None:
    old = service.publisher.repository().snapshot().version
    service.publisher.publish("2.0")
    assert service.look().release.version == "2.0"

    def back(signed: Any) -> None:
        signed.snapshot_meta = MetaFile(old)

    service.alter("timestamp", "timestamp", back)
    with pytest.raises(RefusedError, match="snapshot version"):
        service.look()


def test_old_targets_are_refused_though_the_snapshot_is_new(service: Service) -> None:
    old = service.publisher.repository().targets("stable").version
    service.publisher.publish("2.0")
    assert service.look().release.version == "2.0"
    service.lead_to("stable", old)
    with pytest.raises(RefusedError, match=rf"stable\.json version {old}, got {old + 1}"):
        service.look()


def test_who_has_seen_nothing_cannot_know_of_a_rollback(service: Service) -> None:
    """What a state is for: without one, an old and fresh timestamp is as good as a new one."""
    saved = service.publisher.place / "saved"
    shutil.copytree(service.metadata, saved)
    service.publisher.publish("2.0")
    shutil.rmtree(service.metadata)
    shutil.copytree(saved, service.metadata)
    assert service.look("new machine").release.version == "1.0"


def test_a_machine_is_not_kept_from_news_for_ever(service: Service) -> None:
    service.publisher.repository(days=-7.1).refresh(["timestamp"])
    with pytest.raises(RefusedError, match=r"timestamp\.json is expired"):
        service.look("new machine")
    service.publisher.repository().refresh(["timestamp"])
    assert service.look("new machine").release.version == "1.0"


@pytest.mark.parametrize(("role", "days"), [("snapshot", 91), ("targets", 366), ("stable", 366)])
def test_no_role_is_fresh_for_ever(service: Service, role: str, days: int) -> None:
    service.publisher.repository(days=-days).refresh([role])
    below = ["timestamp"] if role == "snapshot" else ["snapshot", "timestamp"]
    service.publisher.repository().refresh(below)
    with pytest.raises(RefusedError, match=rf"{role}(\.json)? is expired"):
        service.look("new machine")


def test_a_mixture_of_two_states_is_refused(service: Service) -> None:
    repository = service.publisher.repository()
    old = repository.path("stable", repository.targets("stable").version)
    service.publisher.publish("2.0")
    new = service.publisher.repository()
    shutil.copy(old, new.path("stable", new.targets("stable").version))
    with pytest.raises(RefusedError, match=r"Expected stable v3, got v2"):
        service.look()


def bytes_of(service: Service, name: str) -> Path:
    (found,) = service.publisher.directory.glob(f"targets/stable/{IMAGE}/1.0/*.{name}")
    return found


@pytest.mark.parametrize(
    "name", ["root.erofs", "uki.efi", "manifest.json", "provenance.intoto.json"]
)
def test_a_changed_byte_is_refused(service: Service, name: str) -> None:
    path = bytes_of(service, name)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefusedError, match="hash"):
        service.look()


def test_a_shorter_file_is_refused(service: Service) -> None:
    path = bytes_of(service, "root.erofs")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RefusedError, match="length"):
        service.look()


def test_of_a_longer_file_only_what_was_signed_is_read(service: Service) -> None:
    path = bytes_of(service, "root.erofs")
    path.write_bytes(path.read_bytes() + b"x")
    assert service.look().release.version == "1.0"


def test_a_missing_file_is_refused(service: Service) -> None:
    bytes_of(service, "root.erofs").unlink()
    with pytest.raises(RefusedError, match="404"):
        service.look()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".root.erofs", "Observed hash"),
        ("timestamp.json", "exceeding the maximum allowed length"),
        (".stable.json", "exceeding the maximum allowed length"),
        ("2.root.json", "exceeding the maximum allowed length"),
    ],
)
def test_data_without_end_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.setattr(Handler, "endless", name)
    with pytest.raises(RefusedError, match=why):
        service.look("new machine")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "stable"])
def test_metadata_that_no_key_of_its_role_signed_is_refused(service: Service, role: str) -> None:
    """Signed by every other key there is, and with all that leads to it signed rightly."""
    others = {"root", "targets", "snapshot", "timestamp", "stable", "beta", "edge"} - {role}
    version = service.publisher.repository().open(role).signed.version
    service.alter(role, " ".join(others), lambda signed: None)
    if role in ("targets", "stable"):
        service.lead_to(role, version + 1)
    elif role == "snapshot":

        def forward(signed: Any) -> None:
            signed.snapshot_meta = MetaFile(version + 1)

        service.alter("timestamp", "timestamp", forward)
    with pytest.raises(RefusedError, match=f"{role} was signed by 0/1 keys"):
        service.look()


@pytest.mark.parametrize("name", ["release.json", "9.0/release.json"])
@pytest.mark.parametrize(("thief", "victim"), [("beta", "stable"), ("stable", "beta")])
def test_a_channel_signs_for_no_other(service: Service, thief: str, victim: str, name: str) -> None:
    """Whoever has a channel's key, and the snapshot's and the timestamp's, makes a release in
    another; whichever of the two is asked first.
    """
    publisher = service.publisher
    publisher.publish("1.0", channel="beta")
    forged, path = publisher.build("9.0"), f"{victim}/{IMAGE}/{name}"
    place = publisher.directory / "targets" / path
    described = TargetFile.from_file(path, str(forged / "release.json"), ["sha256"])
    described.unrecognized_fields["custom"] = release_files.read(forged).facts()
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(
        forged / "release.json", place.with_name(f"{described.hashes['sha256']}.release.json")
    )

    def add(signed: Any) -> None:
        signed.targets[path] = described

    version = publisher.repository().targets(thief).version
    service.alter(thief, thief, add)
    service.lead_to(thief, version + 1)
    assert service.look(channel=victim).release.version == "1.0"
    with pytest.raises(RefusedError, match=f"there is no {victim}/{IMAGE}/9.0/release.json"):
        service.look(channel=victim, version="9.0")


def next_root(service: Service, keys: str, version: int, change: Callable[[Any], None]) -> None:
    path = service.metadata / f"{version}.root.json"
    shutil.copy(service.metadata / "1.root.json", path)
    alter(path, service.publisher.ring, keys.split(), change)


def test_a_root_signed_by_one_key_is_refused(service: Service) -> None:
    def forge(signed: Any) -> None:
        signed.version = 2

    path = service.metadata / "2.root.json"
    next_root(service, "root", 2, forge)
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    for each in sorted(metadata.signatures)[1:]:
        del metadata.signatures[each]
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(RefusedError, match="root was signed by 1/2 keys"):
        service.look()


def test_a_root_of_the_attackers_own_keys_is_refused(service: Service) -> None:
    """The new root is signed by its own keys, and not by enough of the old."""
    publisher = service.publisher
    names = ["root-7", "root-8", "root-9"]
    foreign = release_keys.development(publisher.place / "foreign", names)

    def take_over(signed: Any) -> None:
        signed.version = 2
        for each in list(signed.roles["root"].keyids):
            signed.revoke_key(each, "root")
        for each in foreign.keys:
            signed.add_key(each.public, "root")

    next_root(service, "", 2, take_over)
    alter(service.metadata / "2.root.json", foreign, ["root"], lambda signed: None)
    with pytest.raises(RefusedError, match="root was signed by 0/2 keys"):
        service.look()


def test_no_root_is_skipped(service: Service) -> None:
    def third(signed: Any) -> None:
        signed.version = 3

    next_root(service, "root", 2, third)
    with pytest.raises(RefusedError, match="root version 2 instead got version 3"):
        service.look()


def rotate(service: Service, role: str, days: float = 0) -> None:
    """Replace the first key of a role; the publisher keeps the new one beside the others."""
    publisher = service.publisher
    ring = publisher.ring
    repository = publisher.repository(ring, days)
    names = [key.role for key in ring.keys if key.signer]
    name = f"{role}-{names.count(role) + 20}"
    new = release_keys.load(
        release_keys.development(publisher.place / "keys", [name]).place / f"{name}.pem"
    )
    old = repository.delegator(role)[1][0]
    repository = publisher.repository(days=days)
    assert release_root.rotate(repository, Change(role, old, new))


def test_a_machine_that_slept_follows_every_rotation(service: Service) -> None:
    for role in ("root", "timestamp", "snapshot", "root", "targets", "stable", "root"):
        rotate(service, role)
    service.publisher.publish("2.0")
    assert service.publisher.repository().root_version == 7
    assert service.look().release.version == "2.0"
    assert service.look("new machine").release.version == "2.0"


def test_a_machine_that_was_off_for_years_walks_over_expired_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last root has to be fresh; so have the roles below it, now."""
    monkeypatch.setenv("no_proxy", "*")
    then = Publisher(tmp_path, datetime.now(UTC) - timedelta(days=1500))
    then.begin()
    then.publish("1.0")
    first = then.root()
    for days in (500, 1000):
        repository = then.repository(days=days)
        release_root.propose(repository)
        release_root.sign_here(repository)
        release_root.publish(repository)
    now = Publisher(tmp_path)
    now.repository().refresh(["targets", "stable", "snapshot", "timestamp"])
    with Reader(str(now.directory), first, tmp_path / "state") as reader:
        assert reader.verify("stable", IMAGE).release.version == "1.0"
    (now.directory / "metadata/3.root.json").unlink()
    with (
        Reader(str(now.directory), first, tmp_path / "fresh") as reader,
        pytest.raises(RefusedError, match=r"root\.json is expired"),
    ):
        reader.verify("stable", IMAGE)


def test_whoever_does_not_answer_is_not_called_a_liar(service: Service) -> None:
    with (
        Reader("http://127.0.0.1:1", service.root, service.publisher.place / "x") as reader,
        pytest.raises(AinosError, match="Connection refused") as caught,
    ):
        reader.verify("stable", IMAGE)
    assert not isinstance(caught.value, RefusedError)


def test_a_server_that_is_silent_is_not_waited_for(service: Service) -> None:
    place = service.publisher.place / "x"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Reader(address, service.root, place, timeout=0.1) as reader,
            pytest.raises(AinosError, match="silent"),
        ):
            reader.verify("stable", IMAGE)


def test_the_command_says_what_was_verified(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(service.root)
    builder = service.publisher.place / "keys/builder.pub.pem"
    words = ["release", "verify", service.address, "--root", str(root)]
    assert main([*words, "--builder", str(builder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["version"], answer["pcrs"]) == ("1.0", PCRS)
    assert main([*words, "--channel", "beta"]) == 1
    assert "there is no beta/base-x86_64/release.json" in capsys.readouterr().err
