"""Where a root tree keeps what the build must find, whoever made the tree: Debian or Buildroot.

home = Anatomy.of(tree); program(tree, home.python)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lib.architecture import ARCHITECTURES, Architecture
from lib.host import HostError


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Places in a tree, relative to it. ``libraries`` is where the C library and its loader lie."""

    architecture: Architecture
    libraries: str
    # The interpreter's program, its standard library, and where packages are installed for it.
    python: str
    standard_library: str
    packages: str

    @property
    def interpreter(self) -> str:
        """The interpreter's own name, with its version: ``python3.13``."""
        return Path(self.python).name

    @classmethod
    def of(cls, tree: Path) -> Anatomy:
        """Look a tree up. Raises HostError when it has no C library or not one Python."""
        architecture, libraries = c_library(tree)
        programs = tree / "usr/bin"
        found = [path.name for path in programs.glob("python3.*") if _PYTHON.fullmatch(path.name)]
        if len(found) != 1:
            raise HostError(f"{programs} holds {', '.join(sorted(found)) or 'no Python'}, not one")
        standard = f"usr/lib/{found[0]}"
        debian = "usr/lib/python3/dist-packages"
        packages = debian if (tree / debian).is_dir() else f"{standard}/site-packages"
        return cls(architecture, libraries, f"usr/bin/{found[0]}", standard, packages)


_PYTHON = re.compile(r"python3\.\d+")


def c_library(tree: Path) -> tuple[Architecture, str]:
    """Return a tree's architecture and the directory of its loader. Raises HostError."""
    for architecture in ARCHITECTURES.values():
        for folder in (architecture.libraries, "usr/lib"):
            if (tree / folder / Path(architecture.loader).name).exists():
                return architecture, folder
    raise HostError(f"{tree} has no C library of an architecture that we know")
