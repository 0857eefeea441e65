"""Build ``libainit.so``, the part of PID 1 that is C: for this host beside its source, for images.

Each architecture's lies in ``build/native``; this host's is also put beside ``native.py``, which
loads it from there. It is compiled only when its source or the way it is compiled has changed.

    library = native.build(architecture.AARCH64)      # build/native/aarch64/libainit.so
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from lib.architecture import X86_64, Architecture
from lib.host import BUILD, REPOSITORY, exclusive, published, run

SOURCE = REPOSITORY / "ainit" / "linux" / "native.c"
NAME = "libainit.so"
BESIDE = SOURCE.with_name(NAME)
OUTPUT = BUILD / "native"
FLAGS = [
    *("-std=gnu17", "-O2", "-g0", "-fPIC", "-fno-plt", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wvla"),
    *("-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"),
]
LINK = ["-shared", f"-Wl,-soname,{NAME}", "-Wl,--build-id=none", "-Wl,-z,relro,-z,now"]


def build(architecture: Architecture = X86_64) -> Path:
    """Return the library for an architecture, made from the source as it is now.

    Raises HostError when the compiler refuses.
    """
    library = place(architecture)
    stamp = library.with_name("inputs.sha256")
    digest = hashlib.sha256(" ".join([*FLAGS, *LINK]).encode() + SOURCE.read_bytes())
    inputs = digest.hexdigest()
    with exclusive("native"):
        if not (library.exists() and stamp.exists() and stamp.read_text() == inputs):
            compile_library(library, f"{architecture.compiler}gcc")
            with published(stamp) as temporary:
                temporary.write_text(inputs)
        if architecture.runs_here and not _same(library, BESIDE):
            with published(BESIDE) as temporary:
                shutil.copyfile(library, temporary)
                temporary.chmod(0o755)
    return library


def compile_library(library: Path, compiler: str) -> None:
    """Compile the library with a compiler of the caller's. Raises HostError as `build` does."""
    with published(library) as temporary:
        source = os.path.relpath(SOURCE, REPOSITORY)
        run([compiler, *FLAGS, *LINK, "-o", str(temporary), source], cwd=REPOSITORY, timeout=300)
        temporary.chmod(0o755)


def place(architecture: Architecture) -> Path:
    """Return where the library for an architecture is made."""
    return OUTPUT / architecture.name / NAME


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()
