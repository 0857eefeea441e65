"""TUF's conformance suite against the machine's client, unmodified and without a list of failures
that are expected.

The suite is a checkout of theupdateframework/tuf-conformance that somebody has, run by this
repository's own pytest; it needs the program `faketime`. What it runs is
`lib.bench_update_tuf_client`.

    conformance(Path("peers/tuf-conformance"))
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lib.host import HostError

CLIENT = Path(__file__).with_name("bench_update_tuf_client.py")
DEADLINE_S = 1800
LEAST = 50  # tests; a suite with fewer is not the one that is meant


@dataclass(frozen=True, slots=True)
class Result:
    """How many tests passed and failed, and the names of those that did not pass."""

    passed: int
    failed: int
    names: tuple[str, ...]


def conformance(checkout: Path) -> Result:
    """Run the suite. Skipped tests, and those that are expected to fail, count as failed. Raises
    HostError when it cannot be run.
    """
    if not (checkout / "tuf_conformance/conftest.py").is_file():
        raise HostError(f"{checkout} is no checkout of theupdateframework/tuf-conformance")
    if shutil.which("faketime") is None:
        raise HostError("there is no `faketime`; `apt-get install faketime` brings it")
    with tempfile.TemporaryDirectory(prefix="tuf-conformance-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "tuf_conformance", "--quiet"]
        command += ["-p", "no:randomly", "-p", "no:cacheprovider", f"--rootdir={checkout}"]
        command += [f"--entrypoint={sys.executable} {CLIENT}", f"--junitxml={report}"]
        done = subprocess.run(
            command,
            cwd=checkout,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "no_proxy": "*"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if not report.exists():
            raise HostError(f"the suite did not run:\n{done.stdout[-2000:]}")
        result = read(report)
    if result.passed + result.failed < LEAST:
        raise HostError(f"the suite ran {result.passed + result.failed} tests, not {LEAST}")
    return result


def read(report: Path) -> Result:
    """What a JUnit report says."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    wrong = [
        str(case.get("name"))
        for case in cases
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
    ]
    return Result(len(cases) - len(wrong), len(wrong), tuple(wrong))
