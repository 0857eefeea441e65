"""A real PID 1 takes a GPU instance away from an agent, and tells what units say of themselves."""

from __future__ import annotations

from pathlib import Path

from tests.pidns.cases.kit import puppet, reexec, replaced, tell
from tests.pidns.machine import Machine
from tests.pidns.test_measure import PRINTS_ITS_ENVIRONMENT, facts
from tests.support.wait import wait_for


def asked(journal: Path) -> list[str]:
    return journal.read_text(encoding="ascii").split()


def test_an_agent_whose_instance_is_revoked_asks_for_another(machine: Machine) -> None:
    journal = machine.directory / "journal"
    machine.tpm()
    machine.unit("gpu", "provide", "org.ainos.Gpu", str(journal), provides=["org.ainos.Gpu"])
    machine.agent("worker", PRINTS_ITS_ENVIRONMENT, gpu="1g.10gb")
    machine.boot()
    first = machine.wait_state("worker", "ready")["pid"]
    assert isinstance(first, int)
    machine.call("Revoke", name="worker", uuid="MIG-7", reason="GPU 7 is lost")
    assert machine.describe("worker")["pid"] == first  # that is not what it holds
    machine.call("Revoke", name="worker", uuid="MIG-0", reason="GPU 0 is lost")
    second = replaced(machine, "worker", first)
    assert asked(journal) == ["+worker", "+worker"]
    reexec(machine)
    machine.call("Stop", name="worker")
    machine.wait_state("worker", "inactive")
    wait_for(lambda: asked(journal) == ["+worker", "+worker", "-worker"], "its release")
    assert second != first


def test_what_a_unit_says_of_itself_is_a_finding_while_it_is_up(machine: Machine) -> None:
    puppet(machine, "gpu", ready=True)
    machine.boot()
    machine.wait_state("gpu", "ready")

    def found(words: list[str]) -> bool:
        findings = facts(machine)["findings"]
        assert isinstance(findings, list)
        return [text for text in findings if text.startswith("gpu: ")] == words

    assert found([])
    tell(machine, "gpu", "notify(b'X_AINOS_FINDINGS=GPU 1 is lost')")
    wait_for(lambda: found(["gpu: GPU 1 is lost"]), "the finding")
    reexec(machine)
    assert found(["gpu: GPU 1 is lost"])
    tell(machine, "gpu", "notify(b'X_AINOS_FINDINGS=')")
    wait_for(lambda: found([]), "its end")
    tell(machine, "gpu", "notify(b'X_AINOS_FINDINGS=GPU 1 is lost')")
    wait_for(lambda: found(["gpu: GPU 1 is lost"]), "the finding")
    machine.call("Restart", name="gpu")
    wait_for(lambda: found([]), "a unit that has said nothing yet")
