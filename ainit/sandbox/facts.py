"""What a sandbox is made for: the agent as it is about to start. Looks at the file system.

Leaves out what the agent may do, which is its profile.

>>> facts = Facts("notes", 61184, free=3, root="/run/ainit/root")
"""

from __future__ import annotations

import os
import stat

from ..policy.sandbox import CERTIFICATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Device:
    """A device node: its path, its permissions and type as in stat(2), its number."""

    __slots__ = ("mode", "number", "path")

    def __init__(self, path: str, mode: int, number: int) -> None:
        self.path = path
        self.mode = mode
        self.number = number


class Facts:
    """``user`` and ``group`` are what it will run as. ``bundle`` is the directory that its code is
    mounted in, ``extensions`` where those that it names are, ``directories`` what else it is given
    to read. ``files`` are its descriptors of single files. ``channels`` are PID 1's sockets to the
    services that something is handed over to, by their names: see ``handover``. In the child they
    follow the agent's own descriptors, the last of which is the one before the given ``free``; the
    ``free`` of the facts is the first one after all of these. ``program`` is what it executes,
    ``sockets`` the paths of those it may connect to, such as NOTIFY_SOCKET's, ``devices`` its
    nodes, ``identity`` the directory of its certificate. ``root`` is an empty directory.
    """

    __slots__ = (
        "bundle", "channels", "devices", "directories", "extensions", "files", "free", "group",
        "identity", "name", "program", "root", "sockets", "user",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - each is one thing that a sandbox has to know
        self,
        name: str,
        user: int,
        *,
        free: int,
        root: str,
        group: int | None = None,
        bundle: str = "",
        extensions: Sequence[str] = (),
        directories: Sequence[str] = (),
        files: Sequence[int] = (),
        program: str = "",
        sockets: Sequence[str] = (),
        devices: Sequence[Device] = (),
        identity: str = "",
        channels: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.user = user
        self.group = user if group is None else group
        self.channels = channels or {}
        self.free = free + len(self.channels)
        self.root = root
        self.bundle = bundle
        self.extensions = extensions
        self.directories = directories
        self.files = files
        self.program = program
        self.sockets = sockets
        self.devices = devices
        self.identity = identity

    def channel(self, service: str) -> int:
        """The number, in the child, of the channel to a service."""
        return self.free - len(self.channels) + [*self.channels].index(service)

    def is_directory(self, path: str) -> bool:
        """Whether it is one. Raises OSError when it is not there."""
        given = path in (self.bundle, *self.extensions, *self.directories, CERTIFICATE)
        return given or stat.S_ISDIR(os.stat(path).st_mode)
