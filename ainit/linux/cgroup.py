"""cgroup v2: one group per unit, with its limits, and what it uses.

Leaves out memory pressure, see ``pressure``, and the words of the files, see ``policy.resources``.

    tree = Tree("/sys/fs/cgroup/ainos")
    group = tree.prepare_unit(unit)      # for clone3(CLONE_INTO_CGROUP); the caller closes it
"""

from __future__ import annotations

import errno
import os
import stat

from ..policy import resources
from . import accounts
from .alarm import Alarm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.plan import Unit
    from .accounts import Account

_CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset")
_OOM_GROUP = "memory.oom.group"
_OOM_TOLD = "trusted.ainit.oom_told"  # an extended attribute of the group
_GROUP_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE_FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK  # memory limits do not wait (Linux 6.16)
_APPLY_SECONDS = 0.05  # how long a lower memory limit may reclaim before the kernel goes on alone
_REMOVED_A_CALL = 256  # groups that a unit made below its own
_GONE = (errno.ENOENT, errno.ENODEV)
_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # it is PID 1 that lacks these


class LimitError(OSError):
    """A limit that was asked for cannot be set; the text names unit, key and the kernel's word."""

    def __str__(self) -> str:
        return self.strerror or ""


def _write(path: str, text: str, directory: int | None = None) -> None:
    descriptor = os.open(path, _WRITE_FLAGS, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class Tree:
    """The groups below ``root``, each named after its unit."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._applied: dict[str, int] = {}  # the limits last written, as a hash
        self._absent: set[str] = set()  # files that the kernel's groups do not have
        self._sound: set[str] = set()  # groups made here, and not killed since

    def prepare(self) -> list[str]:
        """Make the root group and pass the controllers on. Returns those that the kernel lacks."""
        os.makedirs(self._root, exist_ok=True)
        missing = []
        for directory in (os.path.dirname(self._root), self._root):
            missing = [name for name in _CONTROLLERS if not self._delegate(directory, name)]
        return missing

    def _delegate(self, directory: str, controller: str) -> bool:
        try:
            _write(f"{directory}/cgroup.subtree_control", f"+{controller}")
        except OSError:
            return False
        return True

    def path(self, name: str) -> str:
        """The directory of a group."""
        return f"{self._root}/{name}"

    def prepare_unit(self, unit: Unit) -> int:
        """Make the group with every limit of ``unit``; returns its descriptor, for the caller.

        A group that is there already loses the limits that the unit no longer asks for, and one
        that was ever killed is made anew: since Linux 6.14, a process that is born into such a
        group by clone3(2) is killed at once (CLONE_INTO_CGROUP compares the wrong kill_seq).
        Raises LimitError when a limit that it asks for cannot be set, OSError when there can be no
        group.
        """
        directory = self.path(unit.name)
        is_new = _make(directory)
        if not is_new and unit.name not in self._sound:
            self.remove(unit.name)
            is_new = _make(directory)
        self._sound |= {unit.name} if is_new else set()
        group = os.open(directory, _GROUP_FLAGS)
        try:
            self._limit(group, unit, is_new)
        except BaseException:
            os.close(group)
            raise
        return group

    def apply(self, unit: Unit) -> None:
        """Give a group that runs the limits of ``unit``, and take the others away.

        A memory limit below what is in use holds at once; what is over it is reclaimed for a
        moment here, and by whatever allocates in the group from then on. Raises as
        ``prepare_unit`` does.
        """
        self._applied.pop(unit.name, None)
        with Alarm(_APPLY_SECONDS):
            os.close(self.prepare_unit(unit))

    def _limit(self, group: int, unit: Unit, is_new: bool) -> None:
        wanted = resources.limits(unit)
        lines = [("io_max", resources.IO_MAX, _io_line(unit, name)) for name in unit.io_max]
        state = hash((*wanted, *lines))
        if is_new or self._applied.get(unit.name) != state:
            self._kill_together(group, unit)
            if not is_new:
                self._reset(group, {key for key, _, _ in wanted}, {text for _, _, text in lines})
        for key, file, text in (*wanted, *lines):
            try:
                _write(file, text, group)
            except OSError as error:
                raise _limit_error(error, unit, key, file, text) from error
        self._applied[unit.name] = state

    def _kill_together(self, group: int, unit: Unit) -> None:
        """Have the kernel, out of memory, kill the whole group: half a service helps nobody."""
        if _OOM_GROUP in self._absent:
            return
        try:
            _write(_OOM_GROUP, "1", group)
        except OSError as error:
            if unit.memory_max:
                raise _limit_error(error, unit, "memory_max", _OOM_GROUP, "1") from error
            if error.errno == errno.ENOENT:
                self._absent.add(_OOM_GROUP)

    def _reset(self, group: int, keys: set[str], io_lines: set[str]) -> None:
        """Take away what nobody asks for any more."""
        lines = [each for key, each in resources.FILES.items() if key not in keys]
        kept = {line.partition(" ")[0] for line in io_lines}
        for line in (accounts.text(resources.IO_MAX, group) or "").splitlines():
            device = line.partition(" ")[0]
            if device not in kept:
                lines.append((resources.IO_MAX, resources.io_limit(device, {})))
        for file, text in lines:
            try:
                _write(file, text, group)
            except OSError:
                pass  # without its controller or its device there was no such limit

    def kill(self, name: str) -> bool:
        """SIGKILL for every process in the group (cgroup.kill); False when it could not be said."""
        self._sound.discard(name)
        return self._order(name, "cgroup.kill", "1")

    def freeze(self, name: str) -> bool:
        """Stop every process in the group from running; False when there is no such group."""
        return self._order(name, "cgroup.freeze", "1")

    def thaw(self, name: str) -> bool:
        """Let a frozen group run; False when there is no such group."""
        return self._order(name, "cgroup.freeze", "0")

    def _order(self, name: str, file: str, text: str) -> bool:
        try:
            _write(f"{self.path(name)}/{file}", text)
        except OSError as error:
            if error.errno in _OUR_OWN:
                raise
            return False  # the group was never made, or it is gone
        return True

    def populated(self, name: str) -> bool:
        """Whether a process is left in the group or below it. Raises OSError when nobody knows."""
        return "populated 1" in accounts.unless_gone(self.events_path(name))

    def pids(self, name: str) -> list[int]:
        """The processes in the group itself; empty when there is none. Raises as ``populated``."""
        try:
            with open(f"{self.path(name)}/cgroup.procs", encoding="ascii") as file:
                return [int(line) for line in file.read().split()]
        except OSError as error:
            if error.errno in _GONE:
                return []
            raise

    def events_path(self, name: str) -> str:
        """The file that says whether the group is populated; inotify(7) announces its changes."""
        return f"{self.path(name)}/cgroup.events"

    def pressure_path(self, name: str) -> str:
        """The file that says how long tasks of the group waited for memory."""
        return f"{self.path(name)}/memory.pressure"

    def remove(self, name: str) -> bool:
        """Remove the group of a unit that is down, and what the unit made below it. False when
        there is something left: processes, or more groups than one call removes.
        """
        self._applied.pop(name, None)
        top = self.path(name)
        pending = [top]
        for _ in range(_REMOVED_A_CALL):
            try:
                os.rmdir(pending[-1])
            except FileNotFoundError:
                pass
            except OSError:
                below = _groups_below(pending[-1])
                if not below or self.populated(name):
                    return False
                pending += below
                continue
            pending.pop()
            if not pending:
                return True
        return False

    def memory(self, name: str) -> int | None:
        """Bytes in use by the group; None when the kernel does not account for it."""
        return accounts.number(accounts.text(f"{self.path(name)}/memory.current"))

    def oom_kills(self, name: str) -> int | None:
        """How many processes the kernel killed for want of memory; None when it does not count."""
        found = accounts.text(f"{self.path(name)}/memory.events")
        return None if found is None else resources.flat(found).get("oom_kill", 0)

    def new_oom_kills(self, name: str) -> int:
        """How many of those came since this was last asked: what a death may be due to.

        How far it was told is kept with the group itself, and so outlives this process.
        """
        kills = self.oom_kills(name)
        if not kills:
            return 0
        path = self.path(name)
        try:
            told = int(os.getxattr(path, _OOM_TOLD))
        except (OSError, ValueError):
            told = 0
        if kills > told:
            try:
                os.setxattr(path, _OOM_TOLD, str(kills).encode())
            except OSError:
                return 0  # better silent than said again of every later death
        return max(kills - told, 0)

    def accounting(self, name: str) -> Account:
        """What the group has used and uses; see ``accounts.read``. Some ten files are read."""
        try:
            group = os.open(self.path(name), _GROUP_FLAGS)
        except OSError:
            return dict(accounts.NOTHING)
        try:
            return accounts.read(group, self._absent)
        finally:
            os.close(group)


def _make(directory: str) -> bool:
    """Whether a group was made; False when it was there."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        return False
    return True


def _groups_below(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _io_line(unit: Unit, device: str) -> str:
    """A line of ``io.max``. Raises LimitError for what is no disk."""
    number = device
    if device.startswith("/"):
        try:
            found = os.stat(device)
        except OSError as error:
            raise _limit_error(error, unit, "io_max", device, "its limits") from error
        if not stat.S_ISBLK(found.st_mode):
            refusal = OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
            raise _limit_error(refusal, unit, "io_max", device, "its limits")
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return resources.io_limit(number, unit.io_max[device])


def _limit_error(error: OSError, unit: Unit, key: str, file: str, text: str) -> LimitError:
    why = error.strerror or str(error)
    if error.errno == errno.ENOENT and not file.startswith("/"):
        why = f"the {file.partition('.')[0]} controller is missing ({why})"
    elif error.errno == errno.ENODEV and key == "io_max":
        why = f"{why}; the limit of a partition is that of its disk"
    number = errno.EIO if error.errno is None else error.errno
    return LimitError(number, f"{unit.name}: {key} cannot be set ({text} in {file}): {why}")
