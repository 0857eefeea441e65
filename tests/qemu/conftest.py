"""Fixtures by life-cycle stage: image → booted → attested, and one machine per fault.

`make test` has made the image before these run. A machine boots once per module where tests only
look, and once per test where they break something; every machine has its own overlay, variables and
TPM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import drive
from lib.host import HostError
from lib.machine import Machine
from lib.tamper import TAMPERS
from lib.variant import BASE

from tests.qemu import story

Data = dict[str, Any]
Observe = Callable[[str], Data]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose mark ``variant`` does not name the image's; one without fits all."""
    path = drive.IMAGE / "manifest.json"
    variant = json.loads(path.read_text())["variant"] if path.exists() else BASE.name
    other = [
        item
        for item in items
        if (mark := item.get_closest_marker("variant")) and variant not in mark.args
    ]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in other]


@pytest.fixture(scope="session")
def image() -> Path:
    """The image that `scripts/image` made."""
    if not (drive.IMAGE / "manifest.json").exists():
        raise HostError("there is no image: `make image` builds it")
    return drive.IMAGE


@pytest.fixture(scope="module")
def booted(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A healthy machine under full Secure Boot, for tests that leave it as it is."""
    with Machine(image, tmp_path_factory.mktemp("machine")) as machine:
        story.boot(machine)
        drive.wait_at_rest(machine)
        yield machine
        machine.power_off()


@pytest.fixture(scope="module")
def attested(booted: Machine) -> tuple[Data, Path]:
    """The whole report on the healthy machine, and the directory with its evidence."""
    evidence = booted.directory / "evidence"
    return drive.examine(booted, evidence), evidence


@pytest.fixture
def observe(image: Path, tmp_path: Path) -> Observe:
    """Boot a machine with one fault and report on it."""

    def boot(fault: str) -> Data:
        with Machine(image, tmp_path, fault=TAMPERS[fault]) as machine:
            report = drive.observe(machine, fault, tmp_path / "evidence")
            if machine.is_running and report["units"]:
                machine.power_off()
            return report

    return boot
