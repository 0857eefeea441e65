"""A machine is met and steered over the network. EMULATED: the TPM is swtpm, the processor TCG's.

Its own configuration on the state partition names two operators; nothing else is changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lib import drive, models, state_partition
from lib.host import KEYS, REPOSITORY, run
from lib.machine import Machine
from lib.qemu import Hardware

from ainit.constants import REMOTE_PORT
from ainit.linux import fsverity
from ainit.remote.operator import Folder
from tests.qemu import story
from tests.support.keylime import HOST, free_ports

Data = dict[str, Any]

DEADLINE_S = 180.0


@dataclass
class Stand:
    """The machine, and an operator's computer."""

    machine: Machine
    port: int
    place: Path
    mistaken: subprocess.CompletedProcess[str] | None = None  # an operator who expects another TPM

    def run(self, who: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ainit.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "AINITCTL_FOLDER": str(self.place / who)},
            cwd=REPOSITORY,
        )

    def add(self, who: str, ek: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            who,
            *("remote", "add", "node1", f"{HOST}:{self.port}", "--ek", ek, "--timeout", "120"),
            *("--policy", str(self.place / "policy.toml")),
        )

    def meet(self, who: str) -> None:
        done = self.add(who, self.ek)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def ek(self) -> str:
        """The machine's word for its TPM, in the kernel's log, which its screen shows."""
        text = story.in_shell(self.machine, "dmesg | grep -o 'certificate, SHA-256: .*'")
        return text.rpartition("SHA-256: ")[2].strip()


def configuration(place: Path) -> str:
    lines = ["[remote]", f'listen = "tcp:0.0.0.0:{REMOTE_PORT}"']
    for who, role in (("ada", "admin"), ("vera", "viewer")):
        certificate = Folder(str(place / who)).make_key(who)
        lines += [f"[remote.operators.{who}]", f'role = "{role}"']
        lines += [f"certificate = '''\n{certificate}'''"]
    lines += ["[[network.interface]]", 'match = "e*"', "dhcp4 = true", ""]
    return "\n".join(lines)


def stick(place: Path) -> Path:
    """A USB disk with a policy that a publisher of the image signed."""
    [policy] = models.read([models.MODELS / "placement"])
    record = models.Record("spare", "policy", policy[1].file)
    published = models.publish(policy[0], record, KEYS / "publisher.pem", place / "models")
    disk = place / "stick.img"
    run(["mkfs.vfat", "-n", "MODELS", "-C", str(disk), str(16 << 10)])
    run(["mcopy", "-s", "-i", str(disk), str(published), "::"])
    return disk


def accepted(place: Path, image: Path, machine: Machine, text: str) -> None:
    """The operator's policy: the image, and the configuration that he wrote."""
    data = text.encode()
    digest = fsverity.text(fsverity.digest_stream(io.BytesIO(data).read, len(data)))
    (place / "tpm.pem").write_bytes(machine.tpm_root.read_bytes())
    (place / "manifest.json").write_bytes((image / "manifest.json").read_bytes())
    (place / "policy.toml").write_text(
        'manufacturers = ["tpm.pem"]\n[images]\nmanifests = ["manifest.json"]\n'
        f'[[artefact]]\nkind = "machine-config"\nname = "machine"\ndigest = "{digest}"\n'
    )


@pytest.fixture(scope="module")
def stand(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    place = tmp_path_factory.mktemp("operators")
    text = configuration(place)
    (place / "machine.toml").write_text(text)
    [port] = free_ports(1)

    def install(disk: Path) -> None:
        state_partition.debugfs(disk, f"write {place / 'machine.toml'} /config/machine.toml")

    hardware = Hardware(forwards=((port, REMOTE_PORT),), sticks=(stick(place / "stick"),))
    with Machine(image, tmp_path_factory.mktemp("machine"), hardware) as machine:
        machine.alter(install)
        story.boot(machine)
        drive.wait_at_rest(machine)
        accepted(place, image, machine, text)
        stand = Stand(machine, port, place)
        # While the machine runs what the operators accept: the tests change that, in any order.
        stand.mistaken = stand.add("ada", hashlib.sha256(b"another").hexdigest())
        stand.meet("ada")
        stand.meet("vera")
        evidence = ("attest", "evidence", "--out", str(place / "evidence"))
        done = stand.run("vera", "--host", "node1", *evidence)
        assert done.returncode == 0, done.stderr
        yield stand
        machine.power_off()


def test_an_operator_meets_the_machine_and_steers_it(stand: Stand) -> None:
    done = stand.run("ada", "--host", "node1", "--json", "status")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["machine"]["health"] == "healthy", status["machine"]["findings"]
    before = story.until(stand.machine, "filetype", lambda unit: unit["state"] == "ready")
    done = stand.run("ada", "--host", "node1", "restart", "filetype")
    assert done.returncode == 0, done.stderr
    story.until_ready_again(stand.machine, before)
    said = stand.run("ada", "--host", "node1", "logs", "remote")
    assert "ada (admin) calls org.ainos.Control.Restart" in said.stdout, said.stderr


def test_a_model_comes_from_a_usb_disk(stand: Stand) -> None:
    done = stand.run("ada", "--host", "node1", "models", "add", "usb:MODELS/spare")
    assert done.returncode == 0, done.stdout + done.stderr
    listed = json.loads(stand.run("ada", "--host", "node1", "--json", "models", "list").stdout)
    [spare] = [model for model in listed["models"] if model["name"] == "spare"]
    assert spare["state"] == "admitted"
    mounts = story.in_shell(stand.machine, "cat /proc/mounts")
    assert "/run/ainit/disk" not in mounts
    done = stand.run("ada", "--host", "node1", "models", "add", "usb:OTHER/spare")
    assert done.returncode == 1
    assert "no USB disk has a file system called OTHER" in done.stdout + done.stderr


def test_the_key_is_the_tpms(stand: Stand) -> None:
    text = story.in_shell(stand.machine, "cat /var/lib/ainos/remote/channel.pem")
    assert "BEGIN TSS2 PRIVATE KEY" in text
    assert "BEGIN PRIVATE KEY" not in text


def test_a_viewer_looks_and_attests_and_changes_nothing(stand: Stand) -> None:
    assert stand.run("vera", "--host", "node1", "gpu", "status").returncode == 0
    done = stand.run("vera", "--host", "node1", "reboot")
    assert done.returncode == 1
    assert "permission denied" in done.stderr
    evidence, policy = (str(stand.place / name) for name in ("evidence", "policy.toml"))
    done = stand.run("vera", "attest", "verify", evidence, "--policy", policy)
    assert done.returncode == 0, done.stdout


def test_nobody_else_is_let_in(stand: Stand) -> None:
    Folder(str(stand.place / "eve")).make_key("eve")
    done = stand.add("eve", stand.ek)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "node1 is added" not in done.stdout


def test_another_tpm_is_refused(stand: Stand) -> None:
    assert stand.mistaken is not None
    assert stand.mistaken.returncode == 1
    assert f"has another TPM: {stand.ek}" in stand.mistaken.stderr


def test_an_operator_who_leaves_the_configuration_is_out_at_once(stand: Stand) -> None:
    assert stand.run("vera", "--host", "node1", "status").returncode == 0
    before = story.until(stand.machine, "remote", lambda unit: unit["state"] == "ready")
    text = (stand.place / "machine.toml").read_text()
    head, _, rest = text.partition("[remote.operators.vera]")
    (stand.place / "next").mkdir()
    following = head + "[[network" + rest.partition("[[network")[2]
    (stand.place / "next/machine.toml").write_text(following)
    done = stand.run(
        "ada", "--host", "node1", "edit", "--revert-after", "60s",
        str(stand.place / "next/machine.toml"),
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # the answer may be cut off with the connection
    after = story.until_ready_again(stand.machine, before)
    assert stand.run("vera", "--host", "node1", "status").returncode == 3
    done = stand.run("ada", "--host", "node1", "call", "org.ainos.Control.ReloadConfiguration")
    assert done.returncode in (0, 3), done.stderr
    story.until_ready_again(stand.machine, after)
    assert stand.run("vera", "--host", "node1", "status").returncode == 0
