"""Boot a machine, wait until it has come to rest, ask it everything, attest it, judge the scenario.

``run`` is what ``make run`` does; the QEMU tests and the benchmark use its parts.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ainit.attest.directory import save
from ainit.attest.enrol import enrol
from ainit.attest.golden import parse_manifest
from ainit.attest.verdict import Facts, Finding, Scope, Verdict
from ainit.attest.verify import Trust, verify
from ainit.errors import AinosError
from lib import report as reports
from lib.host import BUILD, HostError, published
from lib.machine import Machine
from lib.progress import step
from lib.scenario import judge
from lib.tamper import TAMPERS

Data = dict[str, Any]

FAULTS = tuple(TAMPERS)
IMAGE = BUILD / "image"
RUN = BUILD / "run"
BOOT_DEADLINE_S = 300.0
REST_DEADLINE_S = 300.0
CALL_DEADLINE_S = 60.0
DOWN_DEADLINE_S = 90.0  # a healthy machine answers well before
POLL_S = 0.5
DOWN = ("root", "uki")
RESTING = ("ready", "exited", "failed", "refused", "inactive", "backoff")


def manifest() -> Data:
    """The build's own account of the image."""
    loaded: Data = json.loads((IMAGE / "manifest.json").read_text())
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
    golden = parse_manifest((IMAGE / "manifest.json").read_bytes())
    try:
        with machine.client(CALL_DEADLINE_S) as client:
            enrolment = enrol(client)
    except AinosError as error:
        finding = Finding(Scope.EVIDENCE, "no-evidence", "the machine", str(error))
        return Verdict((finding,), Facts())
    if directory is not None:
        save(directory, enrolment)
    trust = Trust(
        golden=golden,
        manufacturers=machine.tpm_root.read_bytes(),
        now=datetime.datetime.now(datetime.UTC),
        nonce=enrolment.nonce,
        activation=enrolment.activation,
    )
    return verify(enrolment.evidence, trust)


def examine(machine: Machine, directory: Path | None = None) -> Data:
    """The whole report on a machine that is up."""
    return {
        **_header(machine),
        **reports.gather(machine.call),
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
    golden = manifest()
    return {
        "schema": 1,
        "version": golden["version"],
        "root_hash": golden["root"]["hash"],
        "accelerator": machine.accelerator,
    }


def run(*, tamper: str, gpu: str, keep: bool) -> int:
    """Boot one scenario and report; returns the exit status."""
    console = Console(highlight=False)
    shutil.rmtree(RUN / "evidence", ignore_errors=True)
    with Machine(IMAGE, RUN, fault=TAMPERS[tamper] if tamper else None, gpu=gpu) as machine:
        report = observe(machine, tamper, RUN / "evidence")
        wrong = judge(tamper, report)
        report["scenario"] = {"name": tamper or "healthy", "not_held": wrong}
        with published(RUN / "report.json") as file:
            file.write_text(json.dumps(report, indent=2) + "\n")
        reports.show(report, console)
        say_verdict(console, report["scenario"])
        if machine.is_running and keep:
            console.print("The machine runs: `make shell` opens a console in it, Ctrl-C ends it.")
            machine.wait_end()
        elif machine.is_running:
            with step("power off"):
                machine.power_off()
    return 1 if wrong else 0


def observe(machine: Machine, tamper: str, evidence: Path | None) -> Data:
    """Boot and examine; of a fault that must keep the machine down, see that it does."""
    report = _observe(machine, tamper, evidence)
    forbidden = TAMPERS[tamper].must_not_print if tamper else ""
    console = machine.console
    seen = bool(forbidden and console and console.first(re.escape(forbidden)) is not None)
    return {**report, "foreign_seen": seen}


def _observe(machine: Machine, tamper: str, evidence: Path | None) -> Data:
    with step("boot") as progress:
        machine.start()
        progress.note(f"QEMU, {machine.accelerator}")
        if not machine.wait_control(BOOT_DEADLINE_S if tamper not in DOWN else DOWN_DEADLINE_S):
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
