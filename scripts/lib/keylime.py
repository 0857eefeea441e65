"""The environment with unmodified Keylime in which the tests attest a machine.

python = keylime.environment()
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from lib.host import BUILD, REPOSITORY, published, run
from lib.progress import step
from lib.setup import PYTHON

ENVIRONMENT = BUILD / "keylime-venv"
REQUIREMENTS = REPOSITORY / "scripts/requirements-keylime.txt"
# Keylime imports GPGME's bindings at once, and uses them for policies signed with GnuPG only. PyPI
# has them as source for GPGME's headers; an empty module is enough here.
STANDIN = '"""Stands in for GPGME: no policy here is signed with GnuPG."""\n'


def environment() -> Path:
    """The Python of the environment, which is made anew when what it is made from has changed."""
    inputs = hashlib.sha256(REQUIREMENTS.read_bytes() + STANDIN.encode()).hexdigest()
    stamp = ENVIRONMENT / "inputs.sha256"
    if not (stamp.exists() and stamp.read_text() == inputs):
        with step("keylime-venv"):
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            run([str(PYTHON), "-m", "venv", str(ENVIRONMENT)])
            pip = [str(ENVIRONMENT / "bin/pip"), "install", "--quiet", "--require-hashes"]
            run([*pip, "--requirement", str(REQUIREMENTS)])
            (packages,) = ENVIRONMENT.glob("lib/python3.*/site-packages")
            (packages / "gpg.py").write_text(STANDIN)
            with published(stamp) as file:
                file.write_text(inputs)
    return ENVIRONMENT / "bin/python"
