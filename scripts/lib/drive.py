"""Boot a machine, wait until it has come to rest, ask it everything, attest it, judge the scenario.

``run`` is what ``make run`` does; the QEMU tests and the benchmark use its parts.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ainit.attest.acceptance import Policy
from ainit.attest.directory import load, load_record, save
from ainit.attest.enrol import enrol
from ainit.attest.evidence import FILES
from ainit.attest.golden import parse_manifest
from ainit.attest.verdict import Facts, Finding, Scope, Verdict
from ainit.attest.verify import Activation, Trust, verify
from ainit.errors import AinosError
from lib import repartition
from lib import report as reports
from lib.host import BUILD, HostError, published
from lib.machine import Machine
from lib.progress import step
from lib.qemu import Hardware
from lib.scenario import judge
from lib.tamper import TAMPERS

Data = dict[str, Any]

# Which image is driven unless the caller has its own: AINOS_IMAGE names one such as Buildroot's.
IMAGE = Path(os.environ.get("AINOS_IMAGE") or BUILD / "image").absolute()
RUN = BUILD / "run"
BOOT_DEADLINE_S = 300.0
SILENCE_S = 200.0  # much longer than an emulated machine takes
HANDED_OVER = "BdsDxe: starting"  # the firmware's last words
# What the firmware says when it is done.
LOADER_BEGINS = "BdsDxe: starting Boot"
REST_DEADLINE_S = 300.0
CALL_DEADLINE_S = 60.0
DOWN_DEADLINE_S = 60.0  # after a refusal, in which nothing may come up all the same
POLL_S = 0.5
RESTING = ("ready", "exited", "failed", "refused", "inactive", "backoff")


def manifest(image: Path) -> Data:
    """The build's own account of the image in a directory."""
    loaded: Data = json.loads((image / "manifest.json").read_text())
    return loaded


def wait_at_rest(machine: Machine, deadline_s: float = REST_DEADLINE_S) -> Data:
    """The status once no unit is on its way any more. Raises HostError when that takes too long."""
    deadline = time.monotonic() + deadline_s
    while True:
        status = machine.call("org.ainos.Control.Status", {})
        health = status["machine"]["health"]
        moving = [unit for unit in status["units"] if not is_at_rest(unit, health)]
        if health != "starting" and not moving:
            return status
        if time.monotonic() > deadline:
            names = ", ".join(f"{unit['name']} ({unit['state']})" for unit in moving)
            raise HostError(f"not at rest after {deadline_s:.0f} s: {names}")
        time.sleep(POLL_S)


def is_at_rest(unit: Data, health: str) -> bool:
    """Whether a unit will stay as it is; one that keeps failing rests once it was restarted."""
    if unit["state"] in ("backoff", "starting") and not unit["essential"]:
        return bool(unit["restarts"])
    if unit["state"] == "waiting" and health != "healthy":
        return True
    return unit["state"] in RESTING


def attest(machine: Machine, directory: Path | None = None) -> Verdict:
    """Ask for evidence, challenge the TPM, judge; the files go into ``directory``.

    A machine that cannot give evidence is a verdict, too.
    """
    try:
        with machine.client(CALL_DEADLINE_S) as client:
            enrolment = enrol(client)
    except AinosError as error:
        finding = Finding(Scope.EVIDENCE, "no-evidence", "the machine", str(error))
        return Verdict((finding,), Facts())
    if directory is not None:
        save(directory, enrolment)
    return verify(enrolment.evidence, trust_in(machine, enrolment.nonce, enrolment.activation))


def trust_in(machine: Machine, nonce: bytes, activation: Activation) -> Trust:
    """What the host brings to judge this machine's evidence."""
    return Trust(
        policy=Policy((parse_manifest((machine.image / "manifest.json").read_bytes()),)),
        manufacturers=machine.tpm_root.read_bytes(),
        now=datetime.datetime.now(datetime.UTC),
        nonce=nonce,
        activation=activation,
    )


def alter_evidence(machine: Machine, directory: Path) -> dict[str, list[str]]:
    """File → whom the verifier names when one byte in the middle of that file alone is changed."""
    record = load_record(directory)
    assert record is not None  # `attest` has just saved it
    trust = trust_in(machine, *record)
    evidence = load(directory)
    named = {}
    for field, name in FILES.items():
        data = bytearray(getattr(evidence, field))
        data[len(data) // 2] ^= 1
        verdict = verify(replace(evidence, **{field: bytes(data)}), trust)
        named[name] = [finding.subject for finding in verdict.findings]
    return named


def examine(machine: Machine, directory: Path | None = None) -> Data:
    """The whole report on a machine that is up.

    Where the loader kept no time, as on an emulated x86 processor, the console says when it began,
    and the machine's uptime when the kernel did.
    """
    console = machine.console
    on = console.now() if console else 0.0
    gathered = reports.gather(machine.call)
    before_kernel = on - gathered["machine"].get("uptime", on)
    firmware = console.first(LOADER_BEGINS) if console else None
    known = [phase["name"] for phase in gathered["phases"]]
    if firmware is not None and known and "firmware" not in known:
        gathered["phases"][:0] = [
            {"name": "firmware", "seconds": round(firmware, 3)},
            {"name": "loader", "seconds": round(before_kernel - firmware, 3)},
        ]
    return {
        **_header(machine),
        **gathered,
        "attestation": attest(machine, directory).as_json(),
    }


def absent(machine: Machine) -> Data:
    """The report on a machine that never came up."""
    finding = Finding(Scope.EVIDENCE, "no-evidence", "the machine", "did not come up")
    return {
        **_header(machine),
        **reports.NOTHING,
        "attestation": Verdict((finding,), Facts()).as_json(),
    }


def _header(machine: Machine) -> Data:
    golden = manifest(machine.image)
    return {
        "schema": 1,
        "version": golden["version"],
        "root_hash": golden["root"]["hash"],
        "accelerator": machine.accelerator,
    }


def run(image: Path, *, tamper: str, gpu: str, keep: bool, sticks: Sequence[Path] = ()) -> int:
    """Boot one scenario and report; returns the exit status. ``sticks`` are images of USB disks."""
    console = Console(highlight=False)
    shutil.rmtree(RUN / "evidence", ignore_errors=True)
    hardware = Hardware(sticks=tuple(sticks))
    fault = TAMPERS[tamper] if tamper else None
    with Machine(image, RUN, hardware, fault=fault, gpu=gpu) as machine:
        report = observe(machine, tamper, RUN / "evidence")
        if not tamper and report["gpu"].get("emulated"):
            with step("GPUs partitioned anew"):
                report["repartition"] = repartition.under_load(machine)
        wrong = judge(tamper, report)
        report["scenario"] = {"name": tamper or "healthy", "not_held": wrong}
        with published(RUN / "report.json") as file:
            file.write_text(json.dumps(report, indent=2) + "\n")
        reports.show(report, console)
        say_verdict(console, report["scenario"])
        if machine.is_running and report["units"] and keep:
            console.print("The machine runs: `make shell` opens a console in it, Ctrl-C ends it.")
            machine.wait_end()
        elif machine.is_running and report["units"]:
            with step("power off"):
                machine.power_off()
    return 1 if wrong else 0


def observe(machine: Machine, tamper: str, evidence: Path | None) -> Data:
    """Boot and examine; of a fault that must keep the machine down, see that it does."""
    report = _observe(machine, tamper, evidence)
    console = machine.console
    if not tamper or console is None:
        return report
    fault = TAMPERS[tamper]
    if fault.must_not_print:
        report["foreign_seen"] = console.first(re.escape(fault.must_not_print)) is not None
    if fault.must_print:
        report["refusal_seen"] = console.first(fault.must_print) is not None
    if tamper == "evidence" and evidence is not None and report["attestation"]["genuine"]:
        report["altered_evidence"] = alter_evidence(machine, evidence)
    return report


def came_up(machine: Machine, refusal: str) -> bool:
    """Whether the control socket answers. Where a refusal is expected, it is waited for first."""
    if refusal and machine.console is not None:
        machine.console.wait_for(refusal, BOOT_DEADLINE_S)
        return machine.wait_control(DOWN_DEADLINE_S)
    return wait_up(machine)


def wait_up(machine: Machine) -> bool:
    """Whether a machine that was switched on answers. One that hangs before its kernel has said a
    word, as emulated ones do now and then, is reset, once.
    """
    if machine.wait_control(SILENCE_S):
        return True
    if machine.is_running and machine.console and HANDED_OVER in machine.console.last:
        machine.reset()
    return machine.wait_control(BOOT_DEADLINE_S)


def _observe(machine: Machine, tamper: str, evidence: Path | None) -> Data:
    with step("boot") as progress:
        machine.start()
        progress.note(f"QEMU, {machine.accelerator}")
        if not came_up(machine, TAMPERS[tamper].must_print if tamper else ""):
            progress.note("the machine did not come up")
            return absent(machine)
    with step("units at rest"):
        wait_at_rest(machine)
    with step("questions, evidence"):
        return examine(machine, evidence)


def say_verdict(console: Console, scenario: Data) -> None:
    """The last word: what was expected, and whether it held."""
    name, wrong = scenario["name"], scenario["not_held"]
    told = TAMPERS[name].expectation if name in TAMPERS else "everything holds"
    for line in wrong:
        console.print(f"[red]not held:[/red] {line}")
    verdict = "[red]FAILED[/red]" if wrong else "[green]held[/green]"
    console.print(f"[b]{name}[/b]: {told}: {verdict}   report: {RUN / 'report.json'}")
