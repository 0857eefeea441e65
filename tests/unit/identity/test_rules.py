"""What hinders that certificates are issued. The TPM's side is in ``tests/contract``."""

from __future__ import annotations

import pytest

from ainit.identity import rules
from ainit.identity.rules import Verdict
from ainit.policy import phases
from tests.unit.attest import firmware_log
from tests.unit.attest.machine import boot_set, write_log

EVENTS = [phases.booted(3, 0), *boot_set()]
LOG = write_log(EVENTS)
FIRMWARE = firmware_log.write(firmware_log.boot())
VALUES = {
    **dict.fromkeys((*range(10), *range(11, 16)), phases.ZERO),
    **firmware_log.fold(firmware_log.boot()),
    **phases.predict(EVENTS),
}


def hindrances(verdict: Verdict | None, now: float, required: bool = False) -> list[str]:
    return rules.hindrances([], verdict, now, interval=100, verdict_required=required)


def test_a_machine_as_its_logs_say() -> None:
    assert rules.deviations(VALUES, LOG, FIRMWARE) == []


@pytest.mark.parametrize("pcr", sorted(VALUES))
def test_every_pcr_counts(pcr: int) -> None:
    (found,) = rules.deviations({**VALUES, pcr: b"\1" * 32}, LOG, FIRMWARE)
    assert found.endswith(f"does not lead to PCR {pcr}")


def test_without_a_firmware_log_only_what_ainit_measured_is_judged() -> None:
    assert rules.deviations({**VALUES, 7: b"\1" * 32}, LOG, b"") == []
    assert rules.deviations({**VALUES, 14: b"\1" * 32}, LOG, b"") != []


@pytest.mark.parametrize("log", [b"", LOG[:-1], LOG.replace(b"magika", b"magikb")])
def test_a_log_that_is_not_what_was_measured(log: bytes) -> None:
    assert rules.deviations(VALUES, log, FIRMWARE) != []


def test_a_firmware_log_that_is_none() -> None:
    assert rules.deviations(VALUES, LOG, b"x")[-1].startswith("the firmware's log: ")


def test_nobody_has_been_asked() -> None:
    assert hindrances(None, 0) == []
    assert hindrances(None, 0, required=True) != []


@pytest.mark.parametrize("required", [False, True])
def test_a_verdict_is_heeded_for_an_interval(required: bool) -> None:
    accepted, refused = Verdict(True, "", 1000), Verdict(False, "PCR 7", 1000)
    assert hindrances(accepted, 1099, required) == []
    assert hindrances(accepted, 1100, required) == [
        "no verifier has accepted this machine in the last 100 s"
    ]
    assert hindrances(refused, 1001, required) == ["a verifier refused this machine: PCR 7"]


def test_everything_that_hinders_is_said() -> None:
    found = rules.hindrances(["x"], Verdict(False, "y", 0), 0, interval=1, verdict_required=False)
    assert found == ["x", "a verifier refused this machine: y"]
