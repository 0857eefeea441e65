"""PID 1 of an endurance run: ``guest.py``, with the longest garbage collection kept in a file.

Run like ``guest.py``. ``DIRECTORY/gc`` gets one line of JSON whenever a collection took longer than
every one before it: ``cpu_ms`` of this thread, ``wall_ms``, generation, and how many there were.
"""

import gc
import json
import os
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
longest = begun_cpu = begun_wall = collections = 0


def record(phase: str, found: dict[str, int]) -> None:
    global longest, begun_cpu, begun_wall, collections
    if phase == "start":
        begun_cpu, begun_wall = time.thread_time_ns(), time.monotonic_ns()
        return
    cpu = time.thread_time_ns() - begun_cpu
    collections += 1
    if cpu > longest:
        longest = cpu
        line = {
            "cpu_ms": cpu / 1e6,
            "wall_ms": (time.monotonic_ns() - begun_wall) / 1e6,
            "generation": found["generation"],
            "collections": collections,
        }
        with open(f"{sys.argv[1]}/gc", "w", encoding="ascii") as file:
            file.write(json.dumps(line))


gc.callbacks.append(record)
__file__ = f"{here}/guest.py"
with open(__file__, encoding="utf-8") as source:
    exec(compile(source.read(), __file__, "exec"))
