"""The fs-verity digest of a file, as the machine's kernel will state it.

digest(Path("cuda.erofs"))          # sha256:8f43…
"""

from __future__ import annotations

import sys
from pathlib import Path

from lib.host import REPOSITORY


def digest(path: Path) -> str:
    """Return a file's digest, ``sha256:<hex>``."""
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    from ainit.linux import fsverity

    return fsverity.text(fsverity.digest_file(str(path)))
