"""``scripts/release`` as people run it: a ceremony whose root keys never come together."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from lib import release_bundle, release_keys, tools
from lib.host import REPOSITORY

from ainit.cli import main
from ainit.ota.release import Release
from tests.support.release import image


@dataclass
class Office:
    """An online computer, and offline ones with a root key each."""

    place: Path

    def run(self, *words: str) -> tuple[int, list[str]]:
        """Run the script, and return its status and the lines that it printed anywhere."""
        done = subprocess.run(
            [str(REPOSITORY / "scripts/release"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            cwd=self.place,
        )
        return done.returncode, done.stdout.splitlines()

    def online(self, verb: str, *words: str) -> tuple[int, list[str]]:
        """Run it on the online computer, which has no private root key."""
        return self.run(verb, *words, "--repository", "repository", "--keys", "online")

    def sign(self, number: int) -> tuple[int, list[str]]:
        """Run it on an offline computer, which has one key and the proposal."""
        return self.run(
            "root", "--sign", f"offline/root-{number}.pem", "repository/proposed/root.json"
        )

    def build(self, version: str) -> str:
        """Make a release directory."""
        source = image(self.place / f"image-{version}", version)
        words = ["--image", str(source), "--out", "releases"]
        status, lines = self.online("build", version, *words)
        assert (status, len(lines)) == (0, 1), lines
        return lines[0]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    release_keys.development(tmp_path / "online")
    (tmp_path / "offline").mkdir()
    for number in (1, 2, 3):
        name = f"root-{number}.pem"
        (tmp_path / "online" / name).rename(tmp_path / "offline" / name)
    return Office(tmp_path)


def test_a_ceremony(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    built = office.build("1.0")
    status, lines = office.online("publish", "--channel", "stable", built)
    assert (status, "there is no root in" in lines[0]) == (1, True)
    assert office.online("root", "--propose")[0] == 0
    status, lines = office.sign(1)
    assert (status, lines[-1].endswith("is signed with 1 of 2 keys of its own")) == (0, True)
    status, lines = office.online("root", "--publish")
    assert (status, "signed with 1 of 2 keys of the proposed root" in lines[0]) == (1, True)
    status, lines = office.online("root")
    assert lines[0] == "proposed: root 1, signed with 1 of 2 keys"
    assert office.sign(3)[0] == 0
    assert office.online("root", "--publish") == (0, ["root 1 is published"])
    assert office.online("publish", "--channel", "stable", built) == (
        0,
        ["stable: base-x86_64 1.0, 11 files"],
    )
    assert office.online("rollout", "--channel", "stable", "base-x86_64", "50") == (
        0,
        ["stable: base-x86_64 1.0 is for 50 % of the machines"],
    )
    assert main(["release", "verify", str(office.place / "repository")]) == 0
    assert "base-x86_64 1.0" in capsys.readouterr().out

    # A new key for the timestamp, with one signature at a time as well.
    _, lines = office.online("root")
    (old,) = [line.split()[-1] for line in lines if line.startswith("timestamp ")]
    release_keys.development(office.place / "online", ["timestamp-2"])
    status, lines = office.online("rotate", "timestamp", old, "online/timestamp-2.pem")
    assert (status, lines[0]) == (0, "proposed: root 2, signed with 0 of 2 old and 0 of 2 new keys")
    assert [office.sign(number)[0] for number in (2, 3)] == [0, 0]
    assert office.online("root", "--publish") == (0, ["root 2 is published"])
    (office.place / "online/timestamp.pem").unlink()
    assert office.online("timestamp")[0] == 0
    assert office.online("renew", "snapshot", "stable")[0] == 0
    assert main(["release", "verify", str(office.place / "repository")]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["renew", "root"], "a root is renewed by `scripts/release root --propose`"),
        (["renew", "nobody"], "not a role to renew: nobody"),
        (["timestamp"], "nothing is published in"),
        (["publish", "--channel", "edge", "."], ". is no release"),
        (["root", "--publish"], "no root is proposed"),
        (["build", ""], "'' is no version of a release"),
        (["rotate", "stable", "0", "online/stable.pem"], "there is no root in"),
        (["root", "--sign", "online/root-1.pub.pem"], "no root is proposed"),
    ],
)
def test_a_refusal_is_one_line(office: Office, words: list[str], said: str) -> None:
    status, lines = office.online(*words)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("release: ")
    assert said in lines[0]
    assert not (office.place / "repository").exists()


def test_a_key_for_bundles_makes_one(office: Office) -> None:
    tools.folder("update")  # what is fetched on first use says so among the lines
    release_bundle.Signer.development(office.place / "online" / "bundle")
    built = office.place / office.build("1.0")
    assert "ainos.raucb" in Release.from_bytes((built / "release.json").read_bytes()).files
    assert (built / "ainos.raucb").stat().st_size > 4096
