"""Where agents find their certificates: a directory for each, which nobody but it may look into.

The superuser owns directory and files, so that the agent cannot exchange them, and the agent's
group, in which it is alone, may read. PID 1 binds the directory into the agent's view, so a file
that is replaced in it is replaced there.

    Directories("/run/ainit/identity").put("speech", 61185, {"agent.pem": pem, "ca.pem": ca})
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Those below ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def put(self, agent: str, user: int, contents: Mapping[str, bytes]) -> None:
        """Replace files, each as a whole. Raises OSError."""
        directory = f"{self._path}/{agent}"
        os.makedirs(self._path, mode=0o711, exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        for name, data in contents.items():
            _replace(f"{directory}/{name}", data, user)
        os.chown(directory, 0, user)
        os.chmod(directory, 0o750)

    def take(self, agent: str, names: Collection[str]) -> None:
        """Remove files; those that are not there are no error."""
        for name in names:
            try:
                os.unlink(f"{self._path}/{agent}/{name}")
            except FileNotFoundError:
                pass

    def keep(self, agents: Collection[str]) -> None:
        """Remove the directories of all others."""
        try:
            there = os.listdir(self._path)
        except FileNotFoundError:
            return
        for name in there:
            if name not in agents:
                shutil.rmtree(f"{self._path}/{name}")


def _replace(path: str, data: bytes, group: int) -> None:
    """In memory, so nothing has to reach a disk, and nobody sees it before it is complete."""
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    with open(os.open(temporary, _FLAGS, 0o400), "wb") as file:
        file.write(data)
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), 0o440)
    os.rename(temporary, path)
