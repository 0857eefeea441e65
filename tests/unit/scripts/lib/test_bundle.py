"""The bundle holds what PID 1 imports and no other bytecode; /usr/sbin/init imports from it."""

from __future__ import annotations

import marshal
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lib import bundle
from lib.host import REPOSITORY, HostError

INIT = REPOSITORY / "rootfs-overlay/usr/sbin/init"
PYTHON = "/usr/bin/python3"
COMPILE = ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with a small ainit, compiled, and its bundle."""
    package = tmp_path / bundle.HOME / "ainit"
    for path, text in {
        "__init__.py": "",
        "errors.py": "",
        "unused.py": "",
        "typed.py": "",
        "pid1/__init__.py": "",
        "pid1/main.py": (
            "from ..linux import call\nTYPE_CHECKING = False\n"
            "if TYPE_CHECKING:\n    from .. import typed\n"
            "def main() -> None:\n    from . import late\n"
            "    print(__file__, late.__spec__.loader)\n"
        ),
        "pid1/late.py": "",
        "linux/__init__.py": "",
        "linux/call.py": "import os\nfrom ..errors import *\n",
    }.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    subprocess.run([PYTHON, *COMPILE, str(package)], check=True, timeout=60)
    bundle.write(tmp_path)
    return tmp_path


def test_it_holds_what_pid_1_imports_at_once_or_later(tree: Path) -> None:
    names = {"", ".errors", ".linux", ".linux.call", ".pid1", ".pid1.late", ".pid1.main"}
    assert set(bundle.closure(tree / bundle.HOME)) == {f"ainit{name}" for name in names}
    assert bundle.stale(tree) == []


def test_the_sources_of_this_checkout_give_what_importing_them_gives() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import ainit.pid1.main; "
        "print(*(name for name in sys.modules if name.partition('.')[0] == 'ainit'))"
    )
    command = [PYTHON, "-I", "-S", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) <= set(bundle.closure(REPOSITORY))


@pytest.mark.parametrize("change", ["changed", "missing", "more", "garbage", "none"])
def test_a_bundle_that_differs_from_the_tree_is_found(tree: Path, change: str) -> None:
    path = tree / bundle.BUNDLE
    held: dict[str, Any] = marshal.loads(path.read_bytes())
    match change:
        case "changed":
            held["ainit.errors"] = (*held["ainit.errors"][:2], b"other")
        case "missing":
            del held["ainit.errors"]
        case "more":
            held["ainit.unused"] = held["ainit.errors"]
        case _:
            pass
    path.write_bytes(b"garbage" if change == "garbage" else marshal.dumps(held, 2))
    if change == "none":
        path.unlink()
    findings = bundle.stale(tree)
    assert len(findings) == 1
    assert "cannot be read" in findings[0] or "is stale: ainit." in findings[0]


def test_a_module_without_bytecode_is_refused(tree: Path) -> None:
    shutil.rmtree(tree / bundle.HOME / "ainit/pid1/__pycache__")
    with pytest.raises(HostError, match="has 0 files of bytecode, not one"):
        bundle.write(tree)


def test_init_imports_from_the_bundle_alone(tree: Path) -> None:
    text = INIT.read_text().replace('"/usr/lib/ainit"', repr(str(tree / bundle.HOME)))
    init = tree / "init"
    init.write_text(text)
    for name in ("ainit/pid1", "ainit/linux"):
        shutil.rmtree(tree / bundle.HOME / name)  # nothing is looked for there
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(init), "--fault=import 20"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert re.fullmatch(
        r"/usr/lib/ainit/ainit/pid1/main\.py <__main__\.Bundle object at .*>\n", done.stdout
    )


def test_without_a_bundle_init_fails(tree: Path) -> None:
    init = tree / "init"
    init.write_text(INIT.read_text().replace('"/usr/lib/ainit"', repr(str(tree / bundle.HOME))))
    (tree / bundle.BUNDLE).unlink()
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(init), "--fault=import 20"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pid1.bundle" in done.stderr
