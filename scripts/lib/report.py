"""What a running machine says of itself, as data and as tables for people.

``gather`` asks the machine over its control socket; ``show`` prints the result. The report is plain
data, so that ``build/run/report.json`` holds exactly what was shown.
"""

from __future__ import annotations

import base64
import wave
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ainit.child.client import VarlinkError
from ainit.errors import AinosError
from lib.host import REPOSITORY

Data = dict[str, Any]
Call = Callable[[str, Mapping[str, object]], Data]

MIB = 1 << 20
RECORDING = REPOSITORY / "tests/data/speech.wav"
NONE = "-"


def speech_sample() -> bytes:
    """The samples of a recording in which somebody speaks twice (16 kHz, 16 bit, mono)."""
    with wave.open(str(RECORDING), "rb") as recording:
        return recording.readframes(recording.getnframes())


# Agent interface, method, parameters: one real inference for each agent that is up.
QUESTIONS: tuple[tuple[str, str, Data], ...] = (
    (
        "org.ainos.agent.FileType",
        "Identify",
        {
            "content": base64.b64encode(
                b"#!/bin/sh\nset -eu\nfor f in *; do echo $f; done\n"
            ).decode()
        },
    ),
    (
        "org.ainos.agent.Speech",
        "Detect",
        {"audio": base64.b64encode(speech_sample()).decode()},
    ),
)


def ask(call: Call, method: str, parameters: Mapping[str, object] | None = None) -> Data:
    """One call; an error reply or a dead service becomes data, too."""
    try:
        return call(method, parameters or {})
    except VarlinkError as error:
        return {"error": error.name, "detail": dict(error.parameters)}
    except AinosError as error:
        return {"error": type(error).__name__, "detail": str(error)}


NOTHING: Data = {
    "machine": {},
    "phases": [],
    "units": [],
    "measurements": {},
    "models": [],
    "gpu": {"error": "absent", "detail": "the machine did not come up"},
    "inferences": {},
}


def gather(call: Call) -> Data:
    """Everything the machine says. Parts that cannot answer are there as errors."""
    status = ask(call, "org.ainos.Control.Status")
    provided = {
        interface: unit["name"]
        for unit in status.get("units", [])
        for interface in unit["provides"]
        if unit["state"] == "ready"
    }
    inferences = {
        provided[interface]: ask(call, f"{interface}.{member}", parameters)
        for interface, member, parameters in QUESTIONS
        if interface in provided
    }
    return {
        "machine": status.get("machine", status),
        "phases": status.get("phases", []),
        "units": status.get("units", []),
        "measurements": ask(call, "org.ainos.Control.Measurements"),
        "models": ask(call, "org.ainos.Store.Models").get("models", []),
        "gpu": ask(call, "org.ainos.Gpu.Status"),
        "inferences": inferences,
    }


def event_number(records: Sequence[Data], name: str, digest: str) -> int | None:
    """The position in the event log of the measurement of one artefact."""
    for record in records:
        content = record["content"]
        if content.get("name") == name and content.get("digest") == digest:
            return int(record["recnum"])
    return None


def show(report: Data, console: Console) -> None:
    """Print the summary."""
    machine = report["machine"]
    _show_phases(report, console)
    console.print(
        f"Secure Boot [b]{machine.get('secure_boot')}[/b]   "
        f"TPM [b]{machine.get('tpm')}[/b] (emulated)"
        f"   root hash [b]{report['root_hash'][:16]}…[/b]   configuration "
        f"[b]{machine.get('configuration')}[/b]"
    )
    _show_pcrs(report, console)
    _show_attestation(report, console)
    _show_models(report, console)
    _show_gpus(report, console)
    _show_repartition(report.get("repartition"), console)
    _show_units(report, console)
    for finding in machine.get("findings", []):
        console.print(f"[yellow]machine: {finding}[/yellow]", highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _show_phases(report: Data, console: Console) -> None:
    table = _table(f"Boot ({report['accelerator']})", "phase", "seconds")
    for phase in report["phases"]:
        table.add_row(phase["name"], f"{phase['seconds']:.2f}")
    console.print(table)


def _show_pcrs(report: Data, console: Console) -> None:
    table = _table("PCRs (SHA-256)", "PCR", "predicted", "reported", "match")
    for row in report["attestation"]["facts"]["pcrs"]:
        if row["predicted"]:
            verdict = "[green]yes[/green]" if row["match"] else "[red]no[/red]"
            predicted, reported = row["predicted"][:24], (row["at_cap"] or row["reported"])[:24]
            table.add_row(str(row["pcr"]), f"{predicted}…", f"{reported}…", verdict)
    console.print(table)


def _show_attestation(report: Data, console: Console) -> None:
    attestation = report["attestation"]
    accepted = attestation["accepted"]
    verdict = "[green]accepted[/green]" if accepted else "[red]refused[/red]"
    console.print(
        f"[b]Attestation[/b] by the host, AK bound to EK by credential activation: {verdict}"
    )
    for finding in attestation["findings"]:
        console.print(f"  {finding['subject']}: {finding['message']}", highlight=False)


def _show_models(report: Data, console: Console) -> None:
    records = report["measurements"].get("records", [])
    table = _table("Models and policies", "name", "kind", "digest", "signature", "PCR 13 event")
    for model in report["models"]:
        state = model["state"]
        signature = f"valid ({model['signer']})" if state == "admitted" else model["reason"]
        number = event_number(records, model["name"], model["digest"])
        table.add_row(
            model["name"],
            model["kind"],
            f"{model['digest'][:23]}…",
            signature,
            NONE if number is None else str(number),
        )
    console.print(table)


def _show_gpus(report: Data, console: Console) -> None:
    gpu = report["gpu"]
    if "devices" not in gpu:
        console.print(f"[red]GPUs: {gpu.get('error')} {gpu.get('detail')}[/red]", highlight=False)
        return
    mark = " (emulated)" if gpu["emulated"] else ""
    table = _table(
        f"GPUs{mark}, placed by {gpu['policy']['state']} policy",
        "GPU",
        "instance",
        "slices",
        "held by",
    )
    for device in gpu["devices"]:
        instances = device["instances"]
        if not instances:
            table.add_row(f"{device['index']} {device['name']}", NONE, "", "")
        for instance in instances:
            table.add_row(
                f"{device['index']} {device['name']}",
                f"{instance['profile']} {instance['uuid']}",
                f"{instance['start']}:{instance['size']}",
                instance.get("agent") or NONE,
            )
    console.print(table)


def _show_repartition(seen: Data | None, console: Console) -> None:
    if seen:
        console.print(
            f"[b]Partitioned anew[/b] under load (emulated), {seen['made']}: {seen['end']} in "
            f"{seen['seconds']} s; moved {', '.join(seen['disturbed'])} from {seen['from']} to "
            f"{seen['to']}; another answered {seen['answered']} of {seen['asked']} questions",
            highlight=False,
        )


def _show_units(report: Data, console: Console) -> None:
    table = _table("Units", "unit", "state", "pid", "restarts", "memory", "answer", "latency")
    for unit in report["units"]:
        answer = report["inferences"].get(unit["name"], {})
        memory = unit["memory_bytes"]
        latency = answer.get("latency_ms")
        table.add_row(
            unit["name"] + (" (agent)" if unit["kind"] == "agent" else ""),
            unit["state"] + (f": {unit['reason']}" if unit["reason"] else ""),
            str(unit["pid"] or NONE),
            str(unit["restarts"]),
            NONE if memory is None else f"{memory / MIB:.1f} MiB",
            describe(answer),
            NONE if latency is None else f"{latency:.1f} ms",
        )
    console.print(table)


def describe(answer: Mapping[str, Any]) -> str:
    """An agent's answer in a few words."""
    if "label" in answer:
        return f"{answer['label']} ({answer['score']:.2f})"
    if "segments" in answer:
        return f"{len(answer['segments'])} speech segments"
    return f"{answer['error']} {answer['detail']}" if "error" in answer else NONE
