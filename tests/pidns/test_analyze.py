"""The critical chain of a boot, from the records of a real PID 1."""

from __future__ import annotations

from ainit.cli.reply import records
from ainit.policy import timeline
from tests.pidns.machine import Machine


def test_the_chain_is_what_was_waited_for(machine: Machine) -> None:
    journal = str(machine.directory / "journal")
    keys = {"first": {}, "second": {"after": ["first"]}, "third": {"requires": ["second"]}}
    for name, more in keys.items():
        machine.unit(name, "ordered", journal, name, type="notify", **more)
    machine.unit("apart", "ordered", journal, "apart", type="notify", essential=False)
    machine.boot()
    machine.wait_state("third", "ready")
    status = machine.call("Status")
    boot = timeline.read(records(status, "units"), records(status, "phases"))
    chain = timeline.critical_chain(boot)
    assert [link.row.name for link in chain][:3] == ["third", "second", "first"]
    assert [link.blocker for link in chain][:2] == ["second", "first"]
    for link in chain[:3]:
        assert link.row.waited is not None
        assert link.row.starting is not None
    assert [row.name for row in timeline.blame(boot) if row.name != "apart"]
