"""A machine as the verifier sees it: a TPM (EMULATED) whose PCRs hold a boot, and its two logs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ainit.attest.acceptance import Policy
from ainit.attest.enrol import Enrolment, enrol
from ainit.attest.evidence import FILES, Evidence
from ainit.attest.golden import Golden, parse_manifest
from ainit.attest.quote import AttestationTpm
from ainit.attest.service import Attestation, Sources
from ainit.attest.verdict import Verdict
from ainit.attest.verify import Trust, verify
from ainit.policy import phases
from ainit.policy.phases import Event
from ainit.wire import codec

from . import firmware_log
from .firmware_log import Entry
from .swtpm import Swtpm

NAMES = {name: field for field, name in FILES.items()}


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


MODELS = [
    phases.measured("model", "magika", digest("a")),
    phases.measured("policy", "placement", digest("b")),
    phases.measured("model", "silero", digest("c")),
]
AGENTS = [
    phases.measured("agent", "file-type", digest("d")),
    phases.measured("agent", "speech", digest("e")),
]
CONFIG = phases.measured("machine-config", "machine", digest("f"))


def boot_set(
    models: Iterable[Event] = MODELS, agents: Iterable[Event] = AGENTS, config: Event = CONFIG
) -> list[Event]:
    return phases.boot_set(config, models, agents)


def write_log(events: Iterable[Event]) -> bytes:
    lines = (codec.dumps(event.record(number)) for number, event in enumerate(events))
    return "".join(line + "\n" for line in lines).encode()


def manifest() -> dict[str, object]:
    """What the build predicts for ``firmware_log.boot()`` and ``boot_set()``."""
    values = firmware_log.fold(firmware_log.boot()) | phases.predict(boot_set())
    artefacts = [
        {
            "name": event.content["name"],
            "kind": event.content["type"],
            "digest": event.content["digest"],
        }
        for event in MODELS
    ]
    return {
        "schema": 1,
        "version": "0.1",
        "pcrs": {str(pcr): values[pcr].hex() for pcr in (4, 7, 9, 11, 12, 13, 14)},
        "models": artefacts,
        "agents": [{"name": e.content["name"], "digest": e.content["digest"]} for e in AGENTS],
        "machine_config": {"digest": CONFIG.content["digest"]},
    }


def golden() -> Golden:
    return parse_manifest(json.dumps(manifest()))


class Direct:
    """The varlink client and the service in one process."""

    def __init__(self, attestation: Attestation) -> None:
        self.methods: dict[str, Callable[[dict[str, object]], Mapping[str, object]]] = {
            "org.ainos.Attest.Evidence": attestation.evidence,
            "org.ainos.Attest.Activate": attestation.activate,
            "org.ainos.Attest.Channel": attestation.channel,
            "org.ainos.Attest.Authority": attestation.authority,
        }

    def call(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        return self.methods[method](dict(parameters or {}))


class Machine:
    """Boots on a TPM and answers verifiers; logs and TPM may be made to disagree."""

    def __init__(self, tpm: Swtpm, directory: Path) -> None:
        self.tpm = tpm
        self.log = directory / "measurements.cel"
        self.firmware_log = directory / "binary_bios_measurements"
        self.sources = Sources(
            tpm.tcti,
            None,
            str(self.log),
            str(self.firmware_log),
            str(directory / "remote/channel.pem"),
            str(directory / "identity/authority.pem"),
        )

    def boot(
        self,
        entries: list[Entry] | None = None,
        events: list[Event] | None = None,
        counters: tuple[int, int] | None = None,
    ) -> None:
        """Start the TPM afresh, extend everything and write both logs; ainit's begins with which
        boot it is, the TPM's counters unless others are told.
        """
        entries = firmware_log.boot() if entries is None else entries
        events = boot_set() if events is None else events
        self.tpm.power_off()
        self.tpm.power_on()
        device = self.tpm.tpm()
        events = [phases.booted(*(counters or device.counters())), *events]
        for entry in entries:
            if entry.type != firmware_log.NO_ACTION:
                device.extend(entry.pcr, entry.extended)
        for event in events:
            device.extend(event.pcr, event.digest)
        self.firmware_log.write_bytes(firmware_log.write(entries))
        self.log.write_bytes(write_log(events))

    def attestation_tpm(self) -> AttestationTpm:
        """The TPM as the attestation service drives it."""
        return AttestationTpm(self.tpm.tcti)

    def client(self) -> Direct:
        return Direct(Attestation(self.sources))

    def enrol(self, nonce: bytes | None = None) -> Enrolment:
        return enrol(self.client(), nonce)

    def trust(self, enrolment: Enrolment) -> Trust:
        return Trust(
            policy=Policy((golden(),)),
            manufacturers=self.tpm.manufacturers,
            now=datetime.datetime.now(datetime.UTC),
            nonce=enrolment.nonce,
            activation=enrolment.activation,
        )

    def judge(self, enrolment: Enrolment) -> Verdict:
        return verify(enrolment.evidence, self.trust(enrolment))


def with_file(evidence: Evidence, name: str, data: bytes) -> Evidence:
    """The evidence with one file replaced."""
    return replace(evidence, **{NAMES[name]: data})


def accused_files(verdict: Verdict) -> set[str]:
    """The evidence files that findings name."""
    return {finding.subject for finding in verdict.findings} & set(NAMES)


def codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}
