"""What a run must show: the healthy machine, and each fault that ``make run TAMPER=`` demonstrates.

A scenario is a pure function from the report to the list of its expectations that did not hold. The
faults themselves are made in ``lib.tamper``; the names are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Check = Callable[[Data], list[str]]

MODEL_OF = {"filetype": "magika", "speech": "silero-vad"}
OFF = ("remote",)  # there for tables that the image's own configuration has not
HELD = "crasher"  # fails on purpose, to show backoff


def _units(report: Data) -> dict[str, Data]:
    return {unit["name"]: unit for unit in report["units"]}


def _all_ready(report: Data, but: tuple[str, ...] = ()) -> list[str]:
    """Every essential unit is up, except those named and those that are off."""
    return [
        f"{name} is {unit['state']}: {unit['reason']}"
        for name, unit in _units(report).items()
        if unit["essential"]
        and name not in (*but, *OFF)
        and unit["state"] not in ("ready", "exited")
    ]


def _answers(report: Data, agents: tuple[str, ...]) -> list[str]:
    """Each agent answered its question, and rightly."""
    wrong = []
    for name in agents:
        answer = report["inferences"].get(name, {"error": "not asked", "detail": ""})
        if "error" in answer:
            wrong.append(f"{name} did not answer: {answer['error']} {answer['detail']}")
        elif name == "filetype" and answer["label"] != "shell":
            wrong.append(f"filetype took a shell script for {answer['label']}")
        elif name == "speech" and len(answer["segments"]) != 2:
            wrong.append(f"speech heard {answer['segments']}; somebody speaks twice")
    return wrong


def _refused(report: Data, agent: str, *words: str) -> list[str]:
    unit = _units(report).get(agent, {"state": "absent", "reason": ""})
    if unit["state"] == "refused" and any(word in unit["reason"] for word in words):
        return []
    return [f"{agent} should be refused ({' or '.join(words)}): {unit['state']}: {unit['reason']}"]


def _evidence_holds(report: Data) -> list[str]:
    """The evidence proves what it says, whatever it says of the machine."""
    return [
        f"evidence: {finding['subject']}: {finding['message']}"
        for finding in report["attestation"]["findings"]
        if finding["scope"] == "evidence"
    ]


def _machine_findings(report: Data, *subjects: str) -> list[str]:
    """The verifier finds exactly these subjects wrong with the machine."""
    found = {
        finding["subject"]
        for finding in report["attestation"]["findings"]
        if finding["scope"] == "machine"
    }
    wrong = [f"the verifier did not name {subject}" for subject in subjects if subject not in found]
    wrong += [f"the verifier also named {name}" for name in sorted(found - set(subjects))]
    return wrong


def _came_up(report: Data) -> list[str]:
    return [] if report["units"] else ["the machine did not come up"]


def healthy(report: Data) -> list[str]:
    """The untouched image: everything holds."""
    machine = report["machine"]
    wrong = [] if machine.get("health") == "healthy" else [f"health is {machine.get('health')}"]
    wrong += machine.get("findings", [])
    phases = [phase["name"] for phase in report["phases"]]
    if phases != ["firmware", "loader", "kernel", "ainit", "agents"]:
        wrong.append(f"only these phases of the boot were timed: {phases}")
    if machine.get("secure_boot") != "on":
        wrong.append("Secure Boot is not on")
    wrong += [
        f"{finding['subject']}: {finding['message']}"
        for finding in report["attestation"]["findings"]
    ]
    if _units(report).get(HELD, {}).get("restarts", 0) < 1:
        wrong.append(f"{HELD} was never restarted")
    if report["gpu"].get("policy", {}).get("state") != "active":
        wrong.append(f"the GPU policy is {report['gpu'].get('policy')}")
    wrong += _repartitioned(report.get("repartition"))
    return [*wrong, *_all_ready(report), *_answers(report, ("filetype", "speech"))]


def _repartitioned(seen: Data | None) -> list[str]:
    """Where GPUs were partitioned anew: all went through, and nobody else noticed."""
    if seen is None:
        return []
    wrong = [] if seen["end"] == "committed" else [f"the partition was not made: {seen['end']}"]
    if seen["answered"] != seen["asked"]:
        wrong.append(f"meanwhile {seen['answered']} of {seen['asked']} questions were answered")
    return wrong


def _model_refused(*words: str) -> Check:
    def check(report: Data) -> list[str]:
        return [
            *_came_up(report),
            *_refused(report, "filetype", *words),
            *_all_ready(report, but=("filetype", "confirm")),
            *_answers(report, ("speech",)),
            *_evidence_holds(report),
            *_machine_findings(report, "PCR 13", "model magika"),
        ]

    return check


def _heuristic(reason: str, *subjects: str) -> Check:
    """Agents get their instances although the policy is of no use, and it is on record why."""

    def check(report: Data) -> list[str]:
        wrong = [
            *_came_up(report),
            *_all_ready(report),
            *_answers(report, ("filetype", "speech")),
            *_evidence_holds(report),
            *_machine_findings(report, "PCR 13", *subjects),
        ]
        decisions = report["gpu"].get("decisions", [])
        if not decisions or any(decision["decided_by"] != "heuristic" for decision in decisions):
            wrong.append(f"the heuristic did not decide: {decisions}")
        elif not any(reason in decision["fallback"] for decision in decisions):
            wrong.append(f"no decision says {reason!r}: {decisions}")
        return wrong

    return check


def _every_alteration_named(report: Data) -> list[str]:
    """Each file, altered alone, is refused, and it is the one that is named."""
    wrong = healthy(report)
    altered = report.get("altered_evidence", {})
    if not altered:
        wrong.append("no evidence was altered")
    for name, subjects in altered.items():
        if name not in subjects:
            wrong.append(f"{name} was altered, and the verifier named {subjects or 'nothing'}")
    return wrong


def _no_tpm(report: Data) -> list[str]:
    wrong = _came_up(report)
    if report["machine"].get("tpm") == "present":
        wrong.append("the machine claims a TPM")
    for agent in MODEL_OF:
        wrong += _refused(report, agent, "must be measured")
    units = _units(report)
    if units.get(HELD, {}).get("restarts", 0) < 1:
        wrong.append(f"{HELD}, which needs no measurement, was not started")
    return [*wrong, *_all_ready(report, but=(*MODEL_OF, "attest", "confirm"))]


def _two_disks(report: Data) -> list[str]:
    machine = report["machine"]
    wrong = _came_up(report)
    if machine.get("health") != "refused":
        wrong.append(f"health is {machine.get('health')}, not refused")
    if not any("carry the same system image" in text for text in machine.get("findings", [])):
        wrong.append(f"the reason is not named: {machine.get('findings')}")
    for agent in MODEL_OF:
        if _units(report).get(agent, {}).get("pid"):
            wrong.append(f"{agent} runs on a disk that was chosen by luck")
    return wrong


def _never_came_up(report: Data) -> list[str]:
    return ["the machine came up"] if report["units"] else []


def _foreign_input(report: Data) -> list[str]:
    """Either the foreign input changed nothing at all, or PCR 12 shows it and attestation fails."""
    shown = any(
        finding["scope"] == "machine" and finding["subject"] == "PCR 12"
        for finding in report["attestation"]["findings"]
    )
    if not shown:
        return healthy(report)
    return [*_came_up(report), *_evidence_holds(report)]


def _nothing_foreign_ran(report: Data) -> list[str]:
    """The machine is what it would have been without the foreign entry, or did not start at all."""
    return _foreign_input(report) if report["units"] else []


SCENARIOS: dict[str, Check] = {
    "": healthy,
    "model": _model_refused("altered"),
    "unsigned-model": _model_refused("unsigned", "signature", "altered"),
    "root": _never_came_up,
    "uki": _never_came_up,
    "cmdline-loader": _foreign_input,
    "cmdline-smbios": _foreign_input,
    "initrd": _nothing_foreign_ran,
    "two-disks": _two_disks,
    "policy-missing": _heuristic("missing", "policy placement"),
    "policy-nan": _heuristic("NaN", "policy placement"),
    "policy-overlap": _heuristic("overlap", "policy placement"),
    "evidence": _every_alteration_named,
    "no-tpm": _no_tpm,
}


def judge(name: str, report: Data) -> list[str]:
    """What of the scenario's expectations does not hold, in words; empty when all do."""
    wrong = SCENARIOS[name](report)
    if report.get("foreign_seen"):
        wrong.append("the console shows that the foreign input ran")
    if report.get("refusal_seen") is False:
        wrong.append("the console does not show who refused")
    return wrong
