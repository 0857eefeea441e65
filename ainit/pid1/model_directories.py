"""The models of several files, as directories that one unit finds them in.

Engines open shards by name, and their workers do so long after the start; a descriptor for each
would not reach them. So each unit has a file system in memory below ``/run/ainit/models``, with a
directory for each of its models, and over each name in it the very file that was measured is
mounted. Renaming or replacing what lies in the store changes nothing there, and as it is mounted
read-only nothing can be added. The kernel lets an agent open these files as what they are, by their
digests. Each unit has its own, made anew for each start and gone when it is down: a successor in
the store does not change what a running unit sees, and a model that nobody uses any more is not
kept from being deleted. It outlives PID 1's re-execution by itself.

>>> directories.lay("speech", {"llama": {"a.gguf": 7, "b.gguf": 8}})             # doctest: +SKIP
{'llama': '/run/ainit/models/speech/llama'}
>>> directories.remove("speech")               # once it is down                # doctest: +SKIP
"""

from __future__ import annotations

import os

from .. import constants
from ..linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FLAGS = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
_OPTIONS = "mode=0755,size=64k"  # holds names only


class ModelDirectories:
    """The mount calls are those of ``linux.libc``."""

    def __init__(
        self,
        *,
        directory: str = constants.MODEL_DIRECTORIES,
        mount: Callable[..., None] = libc.mount,
        unmount: Callable[[str, int], None] = libc.unmount,
    ) -> None:
        self._directory = directory
        self._mount = mount
        self._unmount = unmount

    def lay(self, unit: str, models: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
        """Lay out models (open files by name) for a unit; returns their directories.

        Raises OSError when the system cannot; then nothing is left.
        """
        self.remove(unit)
        path = f"{self._directory}/{unit}"
        os.makedirs(path, mode=0o755, exist_ok=True)
        try:
            self._mount("tmpfs", path, "tmpfs", _FLAGS, _OPTIONS)
            for model, files in models.items():
                os.mkdir(f"{path}/{model}", 0o755)
                for file, descriptor in files.items():
                    self._lay(descriptor, f"{path}/{model}/{file}")
            self._mount("tmpfs", path, "tmpfs", _FLAGS | libc.MS_REMOUNT | libc.MS_RDONLY)
        except BaseException:
            self.remove(unit)
            raise
        return {model: f"{path}/{model}" for model in models}

    def _lay(self, descriptor: int, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(path, flags, 0o444))
        self._mount(f"/proc/self/fd/{descriptor}", path, "", libc.MS_BIND)

    def remove(self, unit: str) -> None:
        """Take a unit's models away; none are no error. What is open stays so."""
        path = f"{self._directory}/{unit}"
        try:
            self._unmount(path, libc.MNT_DETACH)  # with all that is mounted in it
        except OSError:
            pass  # nothing is mounted there
        try:
            os.rmdir(path)
        except OSError:
            pass  # there is none
