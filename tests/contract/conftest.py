"""The root tree of a release, built once for all tests that look into it or run what it holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lib import rootfs
from lib.host import REPOSITORY
from lib.variant import Target


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It is only to be read."""
    subprocess.run([str(REPOSITORY / "secureboot/keys")], check=True, timeout=60)
    return rootfs.build(Target(release=True), out=tmp_path_factory.mktemp("release") / "root")
