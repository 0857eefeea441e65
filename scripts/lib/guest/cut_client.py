"""Run in a machine as its first process: an operation of the update client on each of some disks.

A copy of the package `ainit` comes with the jobs (`lib.cut_guest` puts both before this text), and
each job runs in a process of its own, a mutant on a copy of the package with some text replaced.
When the client says that it is done, a sector between table and partitions says so, too, past every
cache and without a flush: a state of the disk that has that sector is one after the client was
done.
"""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
import os
import shutil
import sys
import traceback
import zlib
from collections.abc import Iterator
from typing import Any

Job = dict[str, Any]

WORK = "/dev/cut"  # devtmpfs can be written
DONE_SECTOR = 1000
DONE = b"AINOS: the update client is done"
PAYLOAD = ""  # set before this text


def unpack(payload: str) -> list[Job]:
    """Write the files, and return the jobs."""
    content = json.loads(zlib.decompress(base64.b64decode(payload)))
    for path, data in content["files"].items():
        target = f"{WORK}/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(base64.b64decode(data))
    sys.path.insert(0, f"{WORK}/package")
    jobs: list[Job] = content["jobs"]
    return jobs


def say_done(device: str) -> None:
    """Write the sector that says so: O_DIRECT, of a page's alignment, and no flush."""
    page = mmap.mmap(-1, 4096)
    page[: len(DONE)] = DONE
    descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT)
    try:
        os.pwrite(descriptor, memoryview(page)[:512], DONE_SECTOR * 512)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def mounted(device: str, kind: str, directory: str, data: str = "") -> Iterator[str]:
    """A file system for as long as the context lasts."""
    from ainit.linux import libc

    os.makedirs(directory, exist_ok=True)
    libc.mount(device, directory, kind, 0, data)
    try:
        yield directory
    finally:
        libc.unmount(directory)


def patch(job: Job) -> None:
    """Give a mutant a copy of the package of its own, with some text replaced."""
    if not job["mutant"]:
        return
    package = f"{WORK}/{job['name']}"
    shutil.copytree(f"{WORK}/package", package)
    for path, old, new in job["mutant"]:
        with open(f"{package}/{path}") as file:
            text = file.read()
        with open(f"{package}/{path}", "w") as file:
            file.write(text.replace(old, new))
    sys.path.insert(0, package)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ainit"]:
        del sys.modules[name]


def run(job: Job) -> None:
    """One job: the status of its process."""
    patch(job)
    scope = {"job": job, "mounted": mounted, "WORK": WORK}
    exec(job["script"], scope)
    say_done(job["disk"])


def main() -> None:
    """Every job, then the end of the machine."""
    os.makedirs(WORK, exist_ok=True)
    jobs = unpack(PAYLOAD)
    from ainit.linux import libc

    for kind, target in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ):
        libc.mount(kind, target, kind)
    for job in jobs:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                run(job)
                status = 0
            except BaseException:  # noqa: BLE001 - the machine goes on with the next one
                print(json.dumps({"job": job["name"], "error": traceback.format_exc()}))
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"job": job["name"], "status": status}), flush=True)
        descriptor = os.open(job["disk"], os.O_RDWR)
        os.fsync(descriptor)  # QEMU's log ends with a flush
        os.close(descriptor)
    os.sync()
    print(json.dumps({"ended": len(jobs)}), flush=True)
    libc.reboot(libc.RB_POWER_OFF)


main()
