"""Keylime's unmodified registrar, verifier and tenant attest a machine. EMULATED: its TPM is swtpm.

The machine of the tests boots on a software TPM as the build predicts, or otherwise.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lib import keylime as peer

from ainit.attest.quote import AttestationTpm
from ainit.keylime.__main__ import Settings, start
from ainit.keylime.agent import Agent
from ainit.keylime.policy import tpm_policy
from ainit.keylime.protocol import PublicKey
from ainit.keylime.server import Server
from ainit.policy import phases
from tests.support.keylime import FAILED, GET_QUOTE, HOST, INVALID_QUOTE, Keylime
from tests.unit.attest import firmware_log
from tests.unit.attest.firmware_log import Entry
from tests.unit.attest.machine import AGENTS, MODELS, Machine, boot_set, digest, golden
from tests.unit.attest.swtpm import Swtpm

Running = Callable[[], Server]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Swtpm() as tpm:
        yield Machine(tpm, tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def keylime(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keylime]:
    python = peer.environment()
    place = tmp_path_factory.mktemp("keylime")
    with Keylime(python, place, machine.tpm.manufacturers) as running:
        yield running


@pytest.fixture
def agent(machine: Machine, keylime: Keylime, tmp_path: Path) -> Iterator[Running]:
    """Starts the agent on the machine as it has booted; it ends with the test."""
    with ExitStack() as stack:

        def run() -> Server:
            listener = stack.enter_context(socket.create_server((HOST, 0)))
            given = Settings(
                HOST,
                0,
                HOST,
                0,
                HOST,
                keylime.port,
                str(keylime.place / "ca.crt"),
                str(tmp_path / "state"),
                machine.tpm.tcti,
                str(machine.firmware_log),
            )
            server = start(given, listener)
            name = server.agent.name
            stack.callback(lambda: keylime.tenant("delete", name))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join, 60)
            stack.callback(server.shutdown)
            return server

        yield run


def boot(
    machine: Machine,
    entries: list[Entry] | None = None,
    events: list[phases.Event] | None = None,
) -> None:
    """End the boot before in order, as the kernel does, so that the TPM vouches for its clock."""
    machine.tpm.tool("tpm2_shutdown", "--clear")
    machine.boot(entries, events)


def add(keylime: Keylime, server: Server, *options: str) -> None:
    """Have the tenant add the machine with the policy of the build."""
    policy = json.dumps(tpm_policy(golden()))
    done = keylime.tenant("add", server.agent.name, "--tpm_policy", policy, *options)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{keylime.said()}"


def test_the_healthy_machine_is_accepted_again_and_again(
    keylime: Keylime, machine: Machine, agent: Running
) -> None:
    boot(machine)
    server = agent()
    known = keylime.registered(server.agent.name)
    assert known is not None
    assert known["ekcert"]
    add(keylime, server)
    status = keylime.judgement(server.agent.name, quotes=3)
    assert status["operational_state"] == GET_QUOTE, keylime.said()
    assert status["attestation_status"] == "PASS"


def with_another_kernel() -> list[Entry]:
    entries = firmware_log.boot()
    at = next(n for n, e in enumerate(entries) if e.data == b"path of the kernel image")
    entries[at] = Entry(4, entries[at].type, entries[at].data, b"\x55" * 32)
    return entries


def with_another_model() -> list[phases.Event]:
    return boot_set(models=[phases.measured("model", "magika", digest("9")), *MODELS[1:]])


def with_another_agent() -> list[phases.Event]:
    return boot_set(agents=[*AGENTS, phases.measured("agent", "stranger", digest("9"))])


TAMPERED: dict[str, tuple[list[Entry] | None, list[phases.Event] | None, int]] = {
    "kernel": (with_another_kernel(), None, 4),
    "secure-boot": (firmware_log.boot(secure=False), None, 7),
    "command-line": ([*firmware_log.boot(), firmware_log.command_line("init=/x")], None, 12),
    "model": (None, with_another_model(), 13),
    "agent": (None, with_another_agent(), 14),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_machine_is_refused_for_its_pcr(
    keylime: Keylime, machine: Machine, agent: Running, name: str
) -> None:
    entries, events, pcr = TAMPERED[name]
    boot(machine, entries, events)
    server = agent()
    add(keylime, server)
    status = keylime.judgement(server.agent.name)
    assert status["operational_state"] in (FAILED, INVALID_QUOTE), keylime.said()
    assert f"invalid_pcr_{pcr}" in str(status["last_event_id"])
    assert status["attestation_count"] == 0


class Replaying(AttestationTpm):
    """A TPM before which somebody keeps the first quote and shows it for ever."""

    kept: tuple[bytes, bytes] | None = None

    def quote(self, nonce: bytes, pcrs: object) -> tuple[bytes, bytes]:
        Replaying.kept = Replaying.kept or super().quote(nonce, pcrs)  # type: ignore[arg-type]
        return Replaying.kept


def test_a_replayed_quote_is_refused(keylime: Keylime, machine: Machine, agent: Running) -> None:
    boot(machine)
    server = agent()
    add(keylime, server)
    assert keylime.judgement(server.agent.name)["operational_state"] == GET_QUOTE
    Replaying.kept = None
    subvert(server, lambda: Replaying(machine.tpm.tcti), machine)
    status = keylime.judgement(server.agent.name, quotes=1 << 30)
    assert status["operational_state"] == INVALID_QUOTE, keylime.said()
    assert "quote_validation" in str(status["last_event_id"])


def test_a_quote_of_another_tpm_is_refused(
    keylime: Keylime, machine: Machine, agent: Running, tmp_path: Path
) -> None:
    boot(machine)
    server = agent()
    add(keylime, server)
    assert keylime.judgement(server.agent.name)["operational_state"] == GET_QUOTE
    with Swtpm() as other:
        impostor = Machine(other, tmp_path)
        boot(impostor)  # with the very values that the policy accepts
        subvert(server, lambda: AttestationTpm(other.tcti), impostor)
        status = keylime.judgement(server.agent.name, quotes=1 << 30)
    assert status["operational_state"] == INVALID_QUOTE, keylime.said()
    assert "quote_validation" in str(status["last_event_id"])


def subvert(server: Server, open_tpm: Callable[[], AttestationTpm], machine: Machine) -> None:
    """Have the running agent answer from another source; name and key stay."""
    old = server.agent
    public_key = str(old.answer(PublicKey())["pubkey"])
    server.agent = Agent(old.name, public_key, open_tpm, str(machine.firmware_log))
