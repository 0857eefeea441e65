"""What holds for every test: no skips but the argued ones, and one Hypothesis profile.

Order is shuffled by pytest-randomly, which prints the seed. Shared fakes and fixtures live in
``tests/support`` and beside the tests that use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

CACHE = Path(__file__).resolve().parents[1] / "build" / "cache"

# The tests that may skip, by the start of their node ID, each with the argument why it cannot run
# everywhere and what covers the behaviour where it does not.
ARGUED_SKIPS: dict[str, str] = {
    "tests/contract/test_esp_device.py": "containers may have no loop devices, kernels no vfat; "
    "names are changed on images of mtools, and a second boot of the whole machine does it on vfat",
    "tests/contract/test_gpt_device.py": "containers may have no loop devices; tables are written "
    "on files, and a machine's first boot grows its state partition",
    "tests/contract/test_flash_devices.py": "containers may have no loop devices; "
    "writing is tested on files, and what is refused on machines laid out in a directory",
}

# Machines are slow and shared, so no test has a deadline of Hypothesis's own.
settings.register_profile(
    "ainos",
    deadline=None,
    max_examples=60,
    database=DirectoryBasedExampleDatabase(CACHE / "hypothesis"),
)
settings.load_profile("ainos")


class SkipPolice:
    """Fails the run when a test or module was skipped that is not on the list."""

    def __init__(self) -> None:
        self.offenders: list[str] = []

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not any(report.nodeid.startswith(name) for name in ARGUED_SKIPS):
            self.offenders.append(f"{report.nodeid}: {report.longreprtext.strip()}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._judge(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self.offenders and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for offender in self.offenders:
            terminalreporter.line(f"SKIPPED WITHOUT AN ARGUMENT {offender}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipPolice(), "skip-police")
