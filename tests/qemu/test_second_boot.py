"""One machine on an NVMe disk, switched on twice: what it keeps, notices, and does when told.

Between the two boots the disk gets a machine configuration and an extension, and a byte of a model
that was admitted changes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lib import disk, drive
from lib.layout import BLOCK, MIB
from lib.state_partition import partition_offset

from ainit.linux import fsverity
from ainit.policy import phases
from tests.qemu.story import DISK_GIB, EXTENSION, SAID, Story, tell

Data = dict[str, Any]

MODELS = {"magika", "placement", "silero-vad"}
# QEMU's own network answers at 10.0.2.2 and fec0::2, and asks to be reached through its one card.
CONFIGURATION = """\
[machine]
hostname = "rack7-node3"

[units]
disabled = ["crasher"]

[network]
dns = ["10.0.2.3", "fec0::3"]
search = ["example.org"]

[[network.interface]]
name = "uplink"
kind = "bond"
bond = { mode = "active-backup", members = ["eth0"] }
addresses = ["10.0.2.20/24", "fec0::20/64"]
gateway4 = "10.0.2.2"
gateway6 = "fec0::2"
mtu = 1450

[[network.interface]]
name = "storage"
kind = "vlan"
vlan = { id = 40, parent = "uplink" }
addresses = ["10.0.40.2/24"]
mtu = 1400
"""


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine's own configuration, as a file of this host."""
    path = tmp_path_factory.mktemp("configuration") / "machine.toml"
    path.write_text(CONFIGURATION)
    return path


@pytest.fixture(scope="module")
def story(image: Path, configuration: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Everything that was done and seen."""
    return tell(image, configuration, tmp_path_factory.mktemp("machine"))


def units(status: Data) -> dict[str, Data]:
    return {unit["name"]: unit for unit in status["units"]}


# The first boot, and the disk behind it.


def test_the_first_boot_is_healthy_from_an_nvme_disk(story: Story) -> None:
    machine = story.first["machine"]
    assert machine["health"] == "healthy", machine["findings"]
    assert machine["root"].startswith("nvme0n1 ")
    assert machine["state"] == "/dev/nvme0n1p6"
    assert machine["configuration"] == "default"


def test_a_confirmed_boot_has_all_its_tries_again(image: Path, story: Story) -> None:
    assert story.disk_between.uki == disk.entry_name(drive.manifest(image)["version"])


def test_power_off_and_reboot_leave_the_file_system_clean(story: Story) -> None:
    for seen in (story.disk_between, story.disk_after):
        assert re.search(r"Filesystem state: +clean\n", seen.state)
        assert "needs_recovery" not in seen.state


def test_the_state_took_the_rest_of_the_disk_at_the_first_boot(story: Story) -> None:
    end = DISK_GIB * 1024 - 1  # MiB; the last one is the table's
    wanted = end - partition_offset("state") // MIB
    for seen in (story.disk_between, story.disk_after):
        blocks = re.search(r"^Block count: +(\d+)$", seen.state, re.MULTILINE)
        assert blocks, seen.state
        assert int(blocks[1]) * BLOCK == wanted * MIB
    assert units(story.first)["grow"]["state"] == "exited"


def test_every_model_was_taken_in(image: Path, story: Story) -> None:
    seen = story.disk_between
    assert seen.incoming == []
    assert set(seen.names) == {f"{name}.json" for name in MODELS}
    digests = {model["digest"].removeprefix("sha256:") for model in drive.manifest(image)["models"]}
    assert set(seen.objects) == digests


# The machine's own configuration.


def test_the_configuration_is_the_file(story: Story) -> None:
    machine = story.report["machine"]
    assert machine["configuration"] == "/var/lib/ainos/config/machine.toml"
    assert machine["hostname"] == "rack7-node3"
    assert story.said["hostname"] == "rack7-node3\n"


def test_a_disabled_unit_is_not_there(story: Story) -> None:
    assert "crasher" in units(story.first)
    assert "crasher" not in units(story.report)


def test_the_bond_has_its_addresses_and_mtu(story: Story) -> None:
    uplink = story.interfaces["uplink"]
    assert (uplink["state"], uplink["problem"]) == ("ready", "")
    assert {"10.0.2.20/24", "fec0::20/64"} <= set(uplink["addresses"])
    assert {"10.0.2.2", "fec0::2"} <= set(uplink["gateways"])
    assert uplink["mtu"] == 1450
    assert uplink["lease"] is None


def test_the_card_is_a_member_of_the_bond(story: Story) -> None:
    member = story.interfaces["eth0"]
    assert (member["state"], member["addresses"]) == ("member", [])
    assert "Bonding Mode: fault-tolerance (active-backup)" in story.said["bond"]
    assert "Currently Active Slave: eth0" in story.said["bond"]


def test_the_vlan_lies_on_the_bond(story: Story) -> None:
    storage = story.interfaces["storage"]
    assert (storage["state"], storage["problem"]) == ("ready", "")
    assert "10.0.40.2/24" in storage["addresses"]
    assert storage["mtu"] == 1400
    assert "VID: 40" in story.said["vlan"]
    assert "Device: uplink" in story.said["vlan"]


def test_the_world_answers_through_the_bond(story: Story) -> None:
    for topic in ("ping", "ping6"):
        assert "1 packets received" in story.said[topic]


def test_names_are_asked_of_the_configured_servers(story: Story) -> None:
    assert story.network["dns"] == ["10.0.2.3", "fec0::3"]
    assert story.network["search"] == ["example.org"]
    lines = story.said["resolv.conf"].splitlines()[1:]
    assert lines == ["nameserver 10.0.2.3", "nameserver fec0::3", "search example.org"]


# The altered model.


def test_the_altered_model_is_refused(story: Story) -> None:
    models = {model["name"]: model for model in story.report["models"]}
    assert {name for name in models if models[name]["state"] == "refused"} == {"magika"}
    assert models["magika"]["reason"].startswith("altered: a page of model.onnx")
    assert set(models) == {*MODELS, EXTENSION}


def test_its_agent_is_refused_and_says_why(story: Story) -> None:
    filetype = units(story.report)["filetype"]
    assert (filetype["state"], filetype["pid"]) == ("refused", None)
    assert "model magika: altered" in filetype["reason"]
    assert story.filetype["error"] == "org.ainos.Control.Unavailable"
    assert "altered" in story.filetype["detail"]["reason"]


def test_everything_else_is_up(story: Story) -> None:
    down = {
        name: unit["state"]
        for name, unit in units(story.report).items()
        if unit["state"] not in ("ready", "exited")
    }
    names = (
        "audit", "configure", "egress", "grow", "identity", "metrics", "remote", "seal", "update",
    )  # fmt: skip
    unconfigured = dict.fromkeys(names, "inactive")
    assert down == {"filetype": "refused", "confirm": "waiting", **unconfigured}
    assert story.report["machine"]["health"] == "degraded"
    assert len(story.report["inferences"]["speech"]["segments"]) == 2
    assert story.report["gpu"]["policy"]["state"] == "active"


def test_a_refused_agent_holds_no_gpu(story: Story) -> None:
    assert set(story.steered.held) == {"speech"}


def test_no_model_was_taken_in_again(story: Story) -> None:
    before, after = story.disk_between, story.disk_after
    assert {name: after.names[name] for name in before.names} == before.names
    assert set(before.objects) < set(after.objects)
    assert {file: after.made[file] for file in before.made} == before.made
    assert all(before.made.values())


# The extension.


def test_the_extension_is_taken_in_and_measured(story: Story) -> None:
    (known,) = [each for each in story.report["models"] if each["name"] == EXTENSION]
    assert (known["state"], known["kind"]) == ("admitted", "extension"), known["reason"]
    digest = fsverity.text(fsverity.digest_file(str(story.extension / f"{EXTENSION}.erofs")))
    (record,) = [
        record
        for record in story.report["measurements"]["records"]
        if record["content"]["type"] == "extension"
    ]
    assert record["pcr"] == 13
    assert record["content"] == {"type": "extension", "name": EXTENSION, "digest": digest}


def test_the_agent_that_asks_for_the_extension_finds_it_mounted(story: Story) -> None:
    directory = f"/run/ainit/extensions/{EXTENSION}"
    assert f"AINOS_EXTENSION_CUDA={directory}" in story.said["environment"].splitlines()
    assert SAID in story.said["extension"]
    (mount,) = [line.split() for line in story.said["mounts"].splitlines() if directory in line]
    assert mount[2] == "erofs"
    assert {"ro", "nosuid", "nodev"} <= set(mount[3].split(","))
    assert "Read-only file system" in story.said["write"]


# Attestation.


def test_the_evidence_is_genuine(story: Story) -> None:
    attestation = story.report["attestation"]
    assert attestation["genuine"]
    assert not attestation["accepted"]


def test_the_verifier_names_exactly_what_differs(story: Story) -> None:
    findings = story.report["attestation"]["findings"]
    assert {(finding["code"], finding["subject"]) for finding in findings} == {
        ("golden", "PCR 12"),
        ("altered", "machine-config machine"),
        ("golden", "PCR 13"),
        ("refused", "model magika"),
        ("extra", f"extension {EXTENSION}"),  # this image was built without one
        ("golden", "PCR 14"),  # an agent that is switched off is not measured
        ("missing", "agent crasher"),
    }


def test_who_knows_the_configuration_can_predict_pcr_12(
    image: Path, story: Story, configuration: Path
) -> None:
    digest = fsverity.text(fsverity.digest_file(str(configuration)))
    event = phases.measured(phases.MACHINE_CONFIG, "machine", digest)
    predicted = phases.predict([event, phases.cap(12)])[12].hex()
    (fact,) = [row for row in story.report["attestation"]["facts"]["pcrs"] if row["pcr"] == 12]
    assert fact["reported"] == predicted
    assert fact["predicted"] == drive.manifest(image)["pcrs"]["12"]


def test_the_log_replays_to_the_tpm(story: Story) -> None:
    measurements = story.report["measurements"]
    replayed = phases.replay(measurements["records"])
    assert {str(pcr): value.hex() for pcr, value in replayed.items()} == {
        pcr: measurements["pcrs"][pcr] for pcr in map(str, phases.LOGGED)
    }


def test_the_refusal_is_measured(story: Story) -> None:
    contents = [record["content"] for record in story.report["measurements"]["records"]]
    (refusal,) = [content for content in contents if content["type"] == "refusal"]
    assert (refusal["kind"], refusal["name"]) == ("model", "magika")
    assert refusal["reason"].startswith("altered: ")


# Steering.


def test_a_stopped_agent_gives_its_gpu_back(story: Story) -> None:
    seen = story.steered
    assert (seen.stopped["desired"], seen.stopped["pid"]) == ("down", None)
    assert "speech" not in seen.held_while_stopped
    assert seen.stopped["gpu"]["uuid"] is None


def test_who_asks_a_stopped_agent_is_told(story: Story) -> None:
    answer = story.steered.asked_while_stopped
    assert answer["error"] == "org.ainos.Control.Unavailable"
    assert "speech is inactive" in answer["detail"]["reason"]


def test_a_started_agent_has_a_gpu_again(story: Story) -> None:
    seen = story.steered
    assert seen.started["gpu"]["uuid"] == seen.held["speech"]
    assert seen.started["restarts"] == seen.before["restarts"]


def test_a_restarted_agent_keeps_its_gpu(story: Story) -> None:
    seen = story.steered
    assert seen.restarted["restarts"] == seen.started["restarts"] + 1
    assert seen.restarted["gpu"] == seen.started["gpu"]


def test_who_follows_the_log_sees_the_restart(story: Story) -> None:
    seen = story.steered
    first, last = seen.followed[0], seen.followed[-1]
    assert last["text"] == "ready"
    assert seen.followed == [
        line for line in seen.logged if first["time"] <= line["time"] <= last["time"]
    ]


def test_a_killed_agent_comes_back_with_its_gpu(story: Story) -> None:
    seen = story.steered
    assert seen.killed["restarts"] == seen.restarted["restarts"] + 1
    assert seen.held_after_kill == seen.held


def test_pid_1_outlived_no_fault(story: Story) -> None:
    assert story.last["machine"]["faults"] == 0


def test_reboot_resets_the_machine(story: Story) -> None:
    assert story.end == "guest-reset"


def test_a_boot_that_nobody_confirmed_costs_a_try(story: Story) -> None:
    armed, left = f"+{disk.TRIES}-0.efi", f"+{disk.TRIES - 1}-1.efi"
    assert story.disk_after.uki == story.disk_between.uki.replace(armed, left)
