"""Side by side: one piece of work for each of several names, as many at once as pay.

>>> side_by_side(str.upper, ["a", "b"])
['A', 'B']
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

AT_ONCE = 4  # at most: disks are not faster than so many processors hash

Result = TypeVar("Result")


def side_by_side(work: Callable[[str], Result], names: list[str]) -> list[Result]:
    """The results for all names, of so many at once as there are processors. (The standard
    library's pool brings logging along, which takes as long to load as a small model to hash.)
    """
    found: dict[str, Result] = {}
    faults: list[BaseException] = []
    waiting = iter(names)

    def run() -> None:
        try:
            for name in waiting:
                found[name] = work(name)
        except BaseException as error:  # noqa: BLE001 (raised below)
            faults.append(error)

    count = min(len(names), os.cpu_count() or 1, AT_ONCE)
    threads = [threading.Thread(target=run) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    run()
    for thread in threads:
        thread.join()
    for fault in faults:
        raise fault
    return [found[name] for name in names]
