"""Files that one service alone can read: copied for each start, gone when it is down.

Each unit has a file system in memory of its own (ramfs, which is never swapped out), below
``/run/ainit/credentials``: the directory and its files belong to the unit's user, nobody else may
look into it, and nobody may write, as it is mounted read-only. ``CREDENTIALS_DIRECTORY`` says where
it is, as systemd does. It outlives PID 1's re-execution by itself. Leaves out encryption.

>>> credentials = Credentials(owner=lambda unit: (unit.user, unit.user))        # doctest: +SKIP
>>> credentials.prepare(unit, environment)     # before its process is started
>>> credentials.remove(unit.name)              # once it is down
"""

from __future__ import annotations

import errno
import os
import stat

from .. import constants
from ..errors import RefusedError
from ..linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.plan import Unit

BYTES_MAX = 1 << 20  # of one credential
_NAME_BYTES = 255
_FLAGS = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block us
_WRITE = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL
# What PID 1 lacks, or a disk that errs: trying again may change that.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


class Credentials:
    """``owner(unit)`` gives its user and group; the mount calls are those of ``linux.libc``."""

    def __init__(
        self,
        *,
        owner: Callable[[Unit], tuple[int, int]],
        directory: str = constants.CREDENTIALS,
        mount: Callable[..., None] = libc.mount,
        unmount: Callable[[str, int], None] = libc.unmount,
    ) -> None:
        self._owner = owner
        self._directory = directory
        self._mount = mount
        self._unmount = unmount

    def prepare(self, unit: Unit, environment: dict[str, str]) -> None:
        """Copy the unit's credentials and say in its environment where they are.

        Raises RefusedError that names the unit and the credential, when one cannot be used, and
        OSError when there is no room to lay them out; then nothing is left.
        """
        if not unit.credentials:
            return
        uid, gid = self._owner(unit)
        self.remove(unit.name)
        path = f"{self._directory}/{unit.name}"
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        os.mkdir(path, 0o700)
        try:
            self._mount("ramfs", path, "ramfs", _FLAGS, "mode=0700")
            for name, source in unit.credentials.items():
                _copy(source, path, name, unit.name, (uid, gid))
            os.chown(path, uid, gid)
            os.chmod(path, 0o500)
            self._mount("ramfs", path, "ramfs", _FLAGS | libc.MS_REMOUNT | libc.MS_RDONLY)
        except BaseException:
            self.remove(unit.name)
            raise
        environment["CREDENTIALS_DIRECTORY"] = path

    def remove(self, name: str) -> None:
        """Take a unit's credentials away; none are no error."""
        path = f"{self._directory}/{name}"
        try:
            self._unmount(path, libc.MNT_DETACH)
        except OSError:
            pass  # nothing is mounted there
        try:
            os.rmdir(path)
        except OSError:
            pass  # there is none


def _copy(source: str, directory: str, name: str, unit: str, owner: tuple[int, int]) -> None:
    if name in ("", ".", "..") or "/" in name or len(os.fsencode(name)) > _NAME_BYTES:
        raise RefusedError(f"credential {name!r} of {unit}: that is no file name")
    data = _read(source, f"credential {name} of {unit}: {source}")
    descriptor = os.open(f"{directory}/{name}", _WRITE, 0o400)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, 0o400)
        os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def _read(source: str, what: str) -> bytes:
    try:
        descriptor = os.open(source, _READ)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise RefusedError(f"{what} cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedError(f"{what} is no regular file")
        data = b""
        while chunk := os.read(descriptor, BYTES_MAX + 1 - len(data)):
            data += chunk
            if len(data) > BYTES_MAX:
                raise RefusedError(f"{what} is larger than {BYTES_MAX} bytes")
        return data
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise RefusedError(f"{what} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
