"""The ``store`` service: admit, write ``admitted.json``, be ready, answer ``org.ainos.Store``."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path

from ..child.notify import notify
from ..child.server import Service
from ..constants import ADMITTED, MACHINE_JSON, MODELS, PUBLISHER_KEYS
from ..errors import AinosError
from ..linux import files
from ..policy.publishers import Publisher, from_records
from ..wire import interface_text
from ..wire.codec import dumps, loads
from .admission import Store
from .cover import KernelCover
from .keys import load_keys
from .seal import open_seal
from .service import INTERFACE, Library
from .signature import Certified, NobodyCertified


def read_publishers(path: str) -> tuple[dict[str, Publisher], dict[str, str]]:
    """The publishers' rights in the machine configuration that PID 1 checked, and the trusted roots
    that they name.

    Raises OSError, or AinosError when the file is not PID 1's.
    """
    with open(path, "rb") as file:
        machine = loads(file.read())
    if not isinstance(machine, dict):
        raise AinosError(f"{path} holds no machine configuration")
    return from_records(machine.get("publishers", [])), machine.get("trusted_roots", {})


def certified(
    publishers: Mapping[str, Publisher], roots: Mapping[str, str], today: datetime.date
) -> Certified:
    """Those who sign by certificate. What reads one is loaded for a machine that has such only."""
    if not any(publisher.certificates or publisher.identity for publisher in publishers.values()):
        return NobodyCertified()
    from .certified import load_certified

    return load_certified(publishers, roots, today)


def main() -> int:
    """Run the service."""
    notify("STATUS=verifying models")
    try:
        publishers, roots = read_publishers(MACHINE_JSON)
        keys = load_keys(Path(PUBLISHER_KEYS), publishers.values())
        today = datetime.datetime.now(datetime.UTC).date()
        others = certified(publishers, roots, today)
        store = Store(MODELS, KernelCover(), keys, open_seal(), publishers, today, certified=others)
        verdicts = store.run()
    except (AinosError, OSError, ValueError, TypeError) as error:
        print(f"the model store cannot be used: {error}", file=sys.stderr)
        return 1
    for verdict in verdicts:
        by = f" (signed by {verdict.signer})" if verdict.signer else ""
        why = f": {verdict.reason}" if verdict.reason else ""
        print(f"{verdict.kind} {verdict.name}: {verdict.state}{by}{why}", flush=True)
    library = Library(store, verdicts, publish)
    publish(library.models())
    library.put_back()
    Service(interface_text(INTERFACE), library.methods()).serve()
    return 0


def publish(models: Mapping[str, object]) -> None:
    """Tell PID 1, which reads this whenever it starts something that uses a model."""
    files.replace(ADMITTED, dumps(models).encode("ascii"))


if __name__ == "__main__":
    sys.exit(main())
