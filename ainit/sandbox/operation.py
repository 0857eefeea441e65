"""One step of a sandbox: what it is for, in words, and the system calls that do it, as data.

The calls go into the list that ``linux.native`` works off in the child. So a sandbox costs its
system calls and nothing else, and a step that fails ends the child with the step's words in the
agent's log: there is none that may fail.

>>> step = Operation("uts", "the host is called agent", ((native.SETHOSTNAME, b"agent", 5),))
>>> step.describe()
'the host is called agent'
"""

from __future__ import annotations

from ..linux import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What a call is given: a number; text or bytes, by address; several of these, as the address
    # of an array of eight bytes each; None for what the call before it returned, at first place.
    Argument = int | str | bytes | tuple["Argument", ...] | None
    Call = tuple[Argument, ...]  # its number first

# The mechanisms, by which tests take steps out.
NAMESPACES = ("pid", "ipc", "uts", "cgroup", "net", "user")
NET = "net"
VIEW = "mount"
MASKS = "masks"
SEALED = "read-only"
LANDLOCK = "landlock"
SECCOMP = "seccomp"
NO_NEW_PRIVILEGES = "no_new_privs"
CORE = "core"
MEMORY = "memory"
SPECULATION = "speculation"


class Operation:
    """A step of the mechanism ``mechanism``."""

    __slots__ = ("_calls", "_words", "mechanism")

    def __init__(self, mechanism: str, words: str, calls: tuple[Call, ...]) -> None:
        self.mechanism = mechanism
        self._words = words
        self._calls = calls

    def describe(self) -> str:
        """What it does, in words."""
        return self._words

    def add(self, job: native.Job) -> None:
        """Put its calls into a child's list."""
        for number, *arguments in self._calls:
            flags = native.FIRST_IS_RESULT if arguments and arguments[0] is None else 0
            places = [_place(job, each) for each in arguments]
            job.add(_number(number), *places, what=self._words, flags=flags)


def _number(value: Argument) -> int:
    if not isinstance(value, int):
        raise TypeError("a call begins with its number")
    return value


def _place(job: native.Job, value: Argument) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return job.text(value)
    if isinstance(value, bytes):
        return job.data(value)
    return job.longs([_place(job, each) for each in value])
