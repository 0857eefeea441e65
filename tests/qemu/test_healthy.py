"""The untouched image under Secure Boot: everything that `make run` claims, and what backs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lib import drive
from lib.machine import Machine
from lib.process import wait_until
from lib.scenario import healthy

from ainit.constants import ADMITTED, ENFORCEMENT, MEASUREMENTS, MODELS
from ainit.pid1 import settings
from ainit.pid1.enforcement import IN_FORCE
from ainit.policy import phases
from tests.qemu import story

DEADLINE_S = story.STEER_DEADLINE_S

Data = dict[str, Any]


def test_everything_holds(attested: tuple[Data, Path]) -> None:
    assert healthy(attested[0]) == []


def test_prediction_covers_the_pcrs_that_matter(attested: tuple[Data, Path]) -> None:
    facts = attested[0]["attestation"]["facts"]["pcrs"]
    assert [row["pcr"] for row in facts if row["match"]] == [4, 7, 9, 11, 12, 13, 14]


def test_any_altered_file_is_refused_and_named(
    booted: Machine, attested: tuple[Data, Path]
) -> None:
    named = drive.alter_evidence(booted, attested[1])
    assert len(named) >= 10
    assert [name for name, subjects in named.items() if name not in subjects] == []


def test_tpm2_checkquote_accepts_the_evidence(attested: tuple[Data, Path]) -> None:
    _, evidence = attested
    nonce = (evidence / "nonce").read_bytes().hex()
    command = ["tpm2_checkquote", "-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig"]
    command += ["-f", "quote.pcrs", "-g", "sha256", "-q", nonce]
    done = subprocess.run(
        command, cwd=evidence, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tpm2_checkquote_refuses_another_nonce(attested: tuple[Data, Path]) -> None:
    _, evidence = attested
    command = ["tpm2_checkquote", "-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig"]
    command += ["-f", "quote.pcrs", "-g", "sha256", "-q", "00" * 32]
    done = subprocess.run(
        command, cwd=evidence, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0


def test_firmware_log_reads_with_tpm2_eventlog(attested: tuple[Data, Path]) -> None:
    _, evidence = attested
    command = ["tpm2_eventlog", "firmware.log"]
    done = subprocess.run(
        command, cwd=evidence, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    reported = {str(r["pcr"]): r["reported"] for r in attested[0]["attestation"]["facts"]["pcrs"]}
    for pcr in ("4", "7", "11"):
        assert f"0x{reported[pcr]}" in done.stdout.lower()


def test_the_log_replays_to_the_tpm(attested: tuple[Data, Path]) -> None:
    report, _ = attested
    measurements = report["measurements"]
    replayed = phases.replay(measurements["records"])
    assert {str(pcr): value.hex() for pcr, value in replayed.items()} == {
        pcr: measurements["pcrs"][pcr] for pcr in map(str, phases.LOGGED)
    }
    assert len(measurements["records"]) <= phases.BOOT_EXTENDS_MAX
    assert measurements["records"][0]["content"]["type"] == phases.BOOT


def test_ima_logs_the_digests_of_what_is_read_by_itself(booted: Machine) -> None:
    """What the kernel writes down of the models, and what the store says of them, is one."""
    log = story.in_shell(booted, "grep verity: /sys/kernel/security/ima/ascii_runtime_measurements")
    logged = {line.split()[3].removeprefix("verity:") for line in log.splitlines()}
    models = booted.call("org.ainos.Store.Models")["models"]
    admitted = {model["digest"] for model in models if model["state"] == "admitted"}
    assert admitted
    assert admitted <= logged
    assert all(line.split()[0] == "10" for line in log.splitlines())


def test_a_model_is_read_and_verified_again_when_asked(booted: Machine) -> None:
    call = booted.call
    job = call("org.ainos.Store.Verify", {"name": "magika"})["job"]
    assert wait_until(lambda: call("org.ainos.Store.Job")["job"]["finished"], DEADLINE_S)
    done = call("org.ainos.Store.Job")["job"]
    assert (done["id"], done["name"], done["reason"]) == (job["id"], "magika", "")
    assert call("org.ainos.Store.Collect") == {"objects": 0, "bytes": 0}


def test_a_model_that_nobody_signed_is_not_added(booted: Machine) -> None:
    call = booted.call
    call("org.ainos.Store.Add", {"source": "/usr/lib/ainos"})
    assert wait_until(lambda: call("org.ainos.Store.Job")["job"]["finished"], DEADLINE_S)
    assert call("org.ainos.Store.Job")["job"]["reason"] == "record.json is missing"


def test_the_kernel_is_set_as_the_table_says(booted: Machine) -> None:
    lacking = {"vm/unprivileged_userfaultfd"}  # a kernel without userfaultfd(2)
    names = [name for name, _, _ in settings.TABLE]
    read = "cd /proc/sys; for f in {}; do cat $f 2>/dev/null || echo lacks; done"
    found = [  # the shell takes a thousand characters at once
        value
        for start in range(0, len(names), 8)
        for value in story.in_shell(booted, read.format(" ".join(names[start : start + 8]))).split()
    ]
    wanted = {name: "lacks" if name in lacking else value for name, value, _ in settings.TABLE}
    assert dict(zip(names, found, strict=True)) == wanted


def test_an_agent_opens_what_was_measured_for_it_and_nothing_else(booted: Machine) -> None:
    """A shell that joins an agent's group is that agent to the kernel, whoever it is else. Files
    that nobody had open are judged as others are, and removing the programs' names ends nothing.
    """
    machine = booted.call("org.ainos.Control.Status", {})["machine"]
    assert machine["enforcement"] == IN_FORCE
    models = json.loads(story.in_shell(booted, f"cat {ADMITTED}"))["models"]
    paths = {model["name"]: model["path"] for model in models}
    planted, disk = f"{MODELS}/planted.onnx", f"/dev/{machine['root'].split()[0]}"
    allowed = [paths["magika"], "/usr/lib/os-release", "/proc/self/status", MEASUREMENTS]
    denied = [paths["silero-vad"], planted, disk]
    story.in_shell(booted, f"echo x > {planted}")

    def opened(join: str = "") -> str:
        """For each file, whether it can be opened."""
        files = " ".join([*allowed, *denied])
        each = f"for f in {files}; do (: <$f) 2>/dev/null && printf y || printf n; done"
        cold = "sync; echo 3 > /proc/sys/vm/drop_caches"
        return story.in_shell(booted, f"{cold}; sh -c '{join}{each}'").strip()

    join = "echo $$ > /sys/fs/cgroup/ainos/filetype/cgroup.procs; "
    assert opened() == "yyyyyyy"
    assert opened(join) == "yyyynnn"
    assert opened(f"{join}rm -r {ENFORCEMENT}; ") == "yyyynnn"
    assert story.in_shell(booted, f"ls {ENFORCEMENT} 2>/dev/null").strip() == ""
    described = booted.call("org.ainos.Control.Describe", {"name": "filetype"})["unit"]
    measured = [path for path in denied if path != disk]  # that is another filter's to deny
    assert described["denied_opens"] == 2 * len(measured)
    story.in_shell(booted, f"rm {planted}")


def test_every_model_was_measured_before_use(attested: tuple[Data, Path]) -> None:
    report, _ = attested
    records = report["measurements"]["records"]
    cap = next(r["recnum"] for r in records if r["content"] == {"type": "cap", "pcr": 13})
    measured = {
        r["content"]["name"]: r["recnum"]
        for r in records
        if r["pcr"] == 13 and "name" in r["content"]
    }
    for model in report["models"]:
        assert measured[model["name"]] < cap


@pytest.mark.variant("base", "server")  # NVIDIA's driver has no GPU here, and is no emulation
def test_agents_hold_the_instances_that_they_asked_for(attested: tuple[Data, Path]) -> None:
    report, _ = attested
    held = {
        instance["agent"]: instance
        for device in report["gpu"]["devices"]
        for instance in device["instances"]
    }
    for unit in report["units"]:
        if unit["gpu"]:
            assert held[unit["name"]]["profile"] == unit["gpu"]["profile"]
            assert held[unit["name"]]["uuid"] == unit["gpu"]["uuid"]
    assert report["gpu"]["emulated"] is True


def test_agents_are_limited_and_accounted_for(attested: tuple[Data, Path]) -> None:
    for unit in attested[0]["units"]:
        if unit["pid"]:
            assert unit["memory_bytes"] > 0


def test_the_crasher_backs_off_alone(booted: Machine) -> None:
    units = {u["name"]: u for u in booted.call("org.ainos.Control.Status", {})["units"]}
    assert units["crasher"]["restarts"] >= 1
    others = {u["restarts"] for u in units.values() if u["name"] != "crasher"}
    assert others == {0}


def test_ainitctl_works_from_the_host(booted: Machine) -> None:
    booted.disconnect()
    command = ["build/venv/bin/python", "-m", "ainit.cli", "--json", "status"]
    command[4:4] = ["--socket", str(booted.socket("control"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"]["health"] == "healthy"


def test_the_boot_was_confirmed(booted: Machine) -> None:
    logs = booted.call("org.ainos.Control.Logs", {"unit": "confirm", "lines": 20})
    assert any("confirmed: ainos_" in line["text"] for line in logs["lines"])


def test_pid_1_outlived_no_fault(booted: Machine) -> None:
    machine = booted.call("org.ainos.Control.Status", {})["machine"]
    assert machine["faults"] == 0
    assert machine["health"] == "healthy"


def test_image_says_what_it_holds(image: Path) -> None:
    manifest = drive.manifest(image)
    assert {"uki.efi", "root.erofs", "root.verity", "sbom.cdx.json"} <= set(manifest["files"])
    sbom = json.loads((image / "sbom.cdx.json").read_text())
    names = {component["name"] for component in sbom["components"]}
    assert {"ainit", "onnxruntime", "linux", "magika"} <= names
