#!/usr/bin/python3 -IS
"""PID 1 of a benchmark: what ``/usr/sbin/init`` does, on mounts that are there already.

What a machine's own kernel would be needed for is left out: early mounts, the disk, power.
"""

import os
import sys

with open("/usr/sbin/init", encoding="utf-8") as file:
    exec(file.read().removesuffix("run()\n"))
sys.meta_path.insert(0, Bundle(f"{HOME}/pid1.bundle"))  # type: ignore[name-defined]  # noqa: F821

from ainit import constants  # noqa: E402 - the bundle comes first
from ainit.pid1.facts import Facts  # noqa: E402
from ainit.pid1.main import main  # noqa: E402
from ainit.pid1.platform import Platform  # noqa: E402

if os.environ.get("BENCH_JOURNAL") == "none":  # what saving the state costs shows without it
    from ainit.pid1.journal import Journal

    Journal._append = lambda self, record: None  # type: ignore[method-assign]


class Ground(Platform):
    """The root of ``enter.sh``."""

    def prepare(self) -> None:
        for path in (constants.SOCKETS, constants.BUNDLES, constants.EXTENSIONS):
            os.makedirs(path, exist_ok=True)

    def find_disk(self, facts: Facts) -> None:
        facts.root = facts.state = "namespaces"

    def name(self, hostname: str) -> None:
        pass

    def leave(self, how: str) -> None:
        os._exit(0)


main(Ground())
