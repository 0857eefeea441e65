"""What `scripts/test` makes of failures, in a tree of its own, with tests told how to end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import wait_for

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 120.0
SETTINGS = '[tool.pytest.ini_options]\ncache_dir = "build/cache/pytest"\naddopts = ["-ra"]\n'
ONCE = """\
from pathlib import Path
def test_it():
    mark = Path(__file__).with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        raise AssertionError("the first time")
"""
ALWAYS = "def test_it():\n    assert False\n"
NEVER = "def test_it():\n    pass\n"
# A compiler that says that it runs, and goes on until it is ended.
KERNEL = "#!/bin/sh\necho $$ >pid.new && mv pid.new pid && exec tail -f /dev/null\n"
MEANWHILE = """\
from pathlib import Path
from tests.support.wait import wait_for
def test_it():
    wait_for(Path("pid").exists, "the kernel's build")
    raise AssertionError("enough")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the script, without tests."""
    for folder in ("scripts", "tests/unit", "tests/contract", "build/venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy2(REPOSITORY / "scripts/test", tmp_path / "scripts/test")
    script(tmp_path / "scripts/setup", "#!/bin/sh\n")
    (tmp_path / "build/venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    return tmp_path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def is_running(pid: str) -> bool:
    """Whether there is such a process that did not end."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def run(tree: Path, stage: str, *more: str, **tests: str) -> tuple[int, list[str]]:
    """The exit status and the lines from the summary on, after ``stage`` with these tests, and
    those named beside it.
    """
    for name, text in tests.items():
        (tree / f"tests/{stage}/test_{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [tree / "scripts/test", stage, *more],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout.partition("── summary\n")[2].splitlines()


@pytest.mark.parametrize("stage", ["unit", "contract"])
def test_what_holds_the_second_time_is_unsteady(tree: Path, stage: str) -> None:
    status, lines = run(tree, stage, once=ONCE, fine=NEVER)
    assert status == 0
    assert [line.split()[:2] for line in lines[1:3]] == [
        [stage, "FAILED"],
        [f"{stage}-again", "ok"],
    ]
    assert lines[-1].startswith("total: 1 passed, 0 failed, 1 unsteady in ")


def test_what_fails_twice_has_failed(tree: Path) -> None:
    status, lines = run(tree, "contract", once=ONCE, always=ALWAYS, fine=NEVER)
    assert status == 1
    assert lines[-1].startswith("total: 1 passed, 2 failed, 0 unsteady in ")


def test_many_failures_are_not_tried_again(tree: Path) -> None:
    status, lines = run(tree, "contract", a=ONCE, b=ONCE, c=ONCE)
    assert status == 1
    assert [line.split()[0] for line in lines] == ["setup", "contract", "total:"]


def test_the_kernel_is_compiled_meanwhile_and_not_when_something_failed(tree: Path) -> None:
    script(tree / "secureboot/keys", "#!/bin/sh\n")
    script(tree / "scripts/kernel", KERNEL)
    status, lines = run(tree, "contract", "qemu", meanwhile=MEANWHILE, always=ALWAYS, a=ALWAYS)
    assert status == 1
    assert "qemu      not run: something cheaper failed" in lines
    compiler = (tree / "pid").read_text().strip()
    wait_for(lambda: not is_running(compiler), "its end")
