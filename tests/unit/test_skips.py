"""A skip that nobody argued for fails the run, whether a test or a whole module skipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
PASSES = "def test_a(): pass\n"
SKIPS = "import pytest\ndef test_b(): pytest.skip('no such device')\n"
MODULE_SKIPS = "import pytest\npytest.skip('no such library', allow_module_level=True)\n"
FAILS_EXPECTEDLY = "import pytest\n@pytest.mark.xfail\ndef test_c(): assert False\n"


@pytest.mark.parametrize(
    ("text", "argued", "code"),
    [
        (PASSES, "", 0),
        (SKIPS, "", 1),
        (PASSES + MODULE_SKIPS, "", 1),
        (FAILS_EXPECTEDLY, "", 1),
        (PASSES + SKIPS, "tests/test_it.py::test_b", 0),
        (PASSES + SKIPS, "tests/test_it.py::test_other", 1),
    ],
    ids=["pass", "skip", "module", "xfail", "argued", "argued-for-another"],
)
def test_skips(tmp_path: Path, text: str, argued: str, code: int) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(CONFTEST, tests)
    (tests / "test_it.py").write_text(text)
    if argued:
        with (tests / "conftest.py").open("a") as file:
            file.write(f"ARGUED_SKIPS[{argued!r}] = 'an argument'\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode != 0) is (code == 1), done.stdout
    assert ("SKIPPED WITHOUT AN ARGUMENT" in done.stdout) is (code == 1)
