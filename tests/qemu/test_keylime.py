"""Keylime's unmodified registrar, verifier and tenant attest a machine that booted as a whole.

EMULATED: the TPM is swtpm, the processor TCG's. The machine's own configuration has the unit of
docs/keylime.md, but for the addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lib import drive, state_partition
from lib import keylime as peer
from lib.host import REPOSITORY
from lib.machine import Machine
from lib.qemu import Hardware

from ainit.attest.golden import parse_manifest
from ainit.keylime.policy import tpm_policy
from ainit.linux import fsverity
from ainit.policy import phases
from tests.qemu import story
from tests.support.keylime import FAILED, GET_QUOTE, HOST, INVALID_QUOTE, Keylime, free_ports

REGISTRAR = ("10.0.2.100", 8890)  # as the machine reaches it
DOCUMENT = REPOSITORY / "docs/keylime.md"
DEFAULT = REPOSITORY / "rootfs-overlay/usr/lib/ainos/machine.toml"


@dataclass
class Stand:
    """The machine with its agent, and Keylime."""

    machine: Machine
    keylime: Keylime
    name: str
    policy: dict[str, list[str]]


def unit(port: int) -> str:
    """The unit that the documentation gives, with the addresses of the test."""
    text: str
    (text,) = re.findall(r"^```toml\n((?:(?!```).*\n)*)```", DOCUMENT.read_text(), re.MULTILINE)
    own = {"KEYLIME_ADDRESS": "0.0.0.0", "KEYLIME_REGISTRAR": REGISTRAR[0]}
    for key, value in own.items():
        text, count = re.subn(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1, key
    contact = f'KEYLIME_CONTACT = "{HOST}"\nKEYLIME_CONTACT_PORT = "{port}"\n'
    return text.replace("[service.environment]\n", f"[service.environment]\n{contact}")


def predicted(image: Path, text: str) -> dict[str, list[str]]:
    """What the build predicts, with the machine's own configuration in PCR 12."""
    data = phases.configuration(DEFAULT.read_bytes(), {"keylime": text.encode()})
    rest = [data]

    def read(count: int) -> bytes:
        part, rest[0] = rest[0][:count], rest[0][count:]
        return part

    digest = fsverity.text(fsverity.digest_stream(read, len(data)))
    events = [phases.measured(phases.MACHINE_CONFIG, "machine", digest), phases.cap(12)]
    policy = tpm_policy(parse_manifest((image / "manifest.json").read_bytes()))
    return policy | {"12": [phases.predict(events)[12].hex()]}


@pytest.fixture(scope="module")
def stand(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    python = peer.environment()
    place = tmp_path_factory.mktemp("keylime")
    [port] = free_ports(1)
    text = unit(port)
    (place / "keylime.toml").write_text(text)
    with Keylime(python, place, b"") as keylime:
        hardware = Hardware(forwards=((port, 9002),), reached=((*REGISTRAR, keylime.port),))
        with Machine(image, tmp_path_factory.mktemp("machine"), hardware) as machine:
            roots = machine.tpm_root.read_text().split("-----END CERTIFICATE-----\n")
            for number, root in enumerate(filter(str.strip, roots)):
                path = place / f"manufacturers/tpm{number}.pem"
                path.write_text(root + "-----END CERTIFICATE-----\n")
            (place / "manufacturers/tpm.pem").unlink()

            def install(disk: Path) -> None:
                for request in (
                    "mkdir /secrets",
                    f"write {place / 'ca.crt'} /secrets/keylime-ca.pem",
                    "mkdir /config/units",
                    f"write {place / 'keylime.toml'} /config/units/keylime.toml",
                ):
                    state_partition.debugfs(disk, request)

            machine.alter(install)
            story.boot(machine)
            drive.wait_at_rest(machine)
            story.until(machine, "keylime", lambda found: found["state"] == "ready")
            lines = machine.call("org.ainos.Control.Logs", {"unit": "keylime", "lines": 50})
            said = "\n".join(line["text"] for line in lines["lines"])
            name = said.partition("registered as ")[2][:64]
            yield Stand(machine, keylime, name, predicted(image, text))
            machine.power_off()


def test_the_machine_is_accepted_and_then_refused_for_what_changed(stand: Stand) -> None:
    keylime = stand.keylime
    known = keylime.registered(stand.name)
    assert known is not None, keylime.said()
    done = keylime.tenant("add", stand.name, "--tpm_policy", json.dumps(stand.policy))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{keylime.said()}"
    status = keylime.judgement(stand.name, quotes=3)
    assert status["operational_state"] == GET_QUOTE, keylime.said()
    assert status["attestation_status"] == "PASS"
    files = {"machine.toml": DEFAULT.read_text() + '\n[units]\ndisabled = ["crasher"]\n'}
    stand.machine.call("org.ainos.Control.Configure", {"files": files, "revert_after_s": 600})
    status = keylime.judgement(stand.name, quotes=1 << 30)
    assert status["operational_state"] in (FAILED, INVALID_QUOTE), keylime.said()
    assert "invalid_pcr_12" in str(status["last_event_id"])
