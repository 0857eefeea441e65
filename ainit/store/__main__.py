"""The ``store`` service: admit, write ``admitted.json``, be ready, answer ``org.ainos.Store``."""

from __future__ import annotations

import sys
from pathlib import Path

from ..child.notify import notify
from ..child.server import Service
from ..constants import ADMITTED, MODELS, PUBLISHER_KEYS
from ..errors import AinosError
from ..linux import files
from ..wire import interface_text
from ..wire.codec import dumps
from .admission import Store
from .cover import KernelCover
from .keys import load_keys


def main() -> int:
    """Run the service."""
    notify("STATUS=verifying models")
    try:
        keys = load_keys(Path(PUBLISHER_KEYS))
        verdicts = Store(MODELS, KernelCover(), keys).run()
    except (AinosError, OSError) as error:
        print(f"the model store cannot be used: {error}", file=sys.stderr)
        return 1
    for verdict in verdicts:
        by = f" (signed by {verdict.signer})" if verdict.signer else ""
        why = f": {verdict.reason}" if verdict.reason else ""
        print(f"{verdict.kind} {verdict.name}: {verdict.state}{by}{why}", flush=True)
    reply = {"models": [verdict.to_record() for verdict in verdicts]}
    files.replace(ADMITTED, dumps(reply).encode("ascii"))
    Service(interface_text("org.ainos.Store"), {"Models": lambda _: reply}).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
