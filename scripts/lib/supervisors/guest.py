#!/usr/bin/python3 -IS
"""PID 1 of a benchmark: as ``rootfs-overlay/usr/sbin/init``, on mounts that are there already.

What a machine's own kernel would be needed for is left out: early mounts, the disk, power.
"""

import os
import sys

sys.path.insert(0, "/usr/lib/ainit")
sys.dont_write_bytecode = True

from ainit import constants  # noqa: E402 - the path comes first
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
