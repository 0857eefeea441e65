from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.attest.enrol import Enrolment

from .machine import Machine
from .swtpm import Swtpm


@pytest.fixture(scope="session")
def tpm() -> Iterator[Swtpm]:
    """One software TPM for all tests; each test that changes it boots its machine first."""
    with Swtpm() as tpm:
        yield tpm


@pytest.fixture
def machine(tpm: Swtpm, tmp_path: Path) -> Machine:
    """A machine that has booted as it was built."""
    machine = Machine(tpm, tmp_path)
    machine.boot()
    return machine


@pytest.fixture(scope="session")
def honest(tpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Enrolment]:
    """A machine as built and what one conversation with it brought. Only to be read."""
    machine = Machine(tpm, tmp_path_factory.mktemp("honest"))
    machine.boot()
    return machine, machine.enrol()
