"""One target under atheris: ``python -m tests.fuzz.drive TARGET FOLDER [LIBFUZZER_OPTION...]``.

The seeds of ``corpus`` are put into the folder first. Everything of ours is instrumented, so that
the fuzzer sees which inputs reach new code.
"""

import hashlib
import sys
from pathlib import Path

import atheris  # in an environment of its own: scripts/fuzz

with atheris.instrument_imports(include=["ainit"]):
    from tests.fuzz.corpus import seeds
    from tests.fuzz.targets import TARGETS

name, folder = sys.argv[1], Path(sys.argv[2])
for seed in seeds()[name]:
    (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
atheris.Fuzz()
