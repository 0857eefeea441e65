"""Landlock: who may do what with the files that there are, with ports, and with others.

The ruleset is made and filled in the child, in the view that the agent will have: a rule is on the
very file that its path leads to there, and PID 1 has no descriptor more. Denies everything that
the running kernel's ABI can deny, but what a rule allows.
"""

from __future__ import annotations

import os

from ..linux import landlock, native
from ..linux.landlock import (
    EXECUTE,
    IOCTL_DEV,
    MAKE_DIR,
    MAKE_FIFO,
    MAKE_REG,
    MAKE_SOCK,
    MAKE_SYM,
    READ_DIR,
    READ_FILE,
    REFER,
    REMOVE_DIR,
    REMOVE_FILE,
    RESOLVE_UNIX,
    TRUNCATE,
    WRITE_FILE,
)
from ..linux.namespaces import AT_FDCWD
from ..policy import sandbox
from . import view
from .operation import LANDLOCK, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..policy.sandbox import Profile
    from .facts import Facts
    from .operation import Call

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = (
    READ
    | WRITE_FILE
    | TRUNCATE
    | REFER
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_FIFO
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_SYM
)
DEVICE = READ | WRITE_FILE | TRUNCATE

_OPEN = os.O_PATH | os.O_CLOEXEC


def rules(profile: Profile, facts: Facts) -> dict[str, int]:
    """What it may do, by path. Raises OSError when something that its manifest names is not there.

    Nothing of a path that leads through a symbolic link is allowed but what the link leads to.
    """
    found: dict[str, int] = {}

    def allow(paths: Iterable[str], rights: int) -> None:
        for path in paths:
            found[path] = found.get(path, 0) | rights

    allow(filter(os.path.exists, sandbox.ROOT_READ), READ)
    allow(filter(os.path.exists, sandbox.ROOT_EXECUTE), RUN)
    allow(facts.directories, READ)
    allow(filter(None, (facts.bundle, facts.program, *facts.extensions)), RUN)
    allow([sandbox.CERTIFICATE] if facts.identity else [], READ)
    allow(facts.sockets, RESOLVE_UNIX)
    allow(view.of_kernel(profile), READ)
    allow(["/proc"], READ | WRITE_FILE if profile.has_gpu else READ)
    allow(["/dev"], DEVICE | IOCTL_DEV if profile.has_gpu else DEVICE)
    written = WRITE | EXECUTE if profile.execute_written else WRITE
    allow([view.TMP], written)
    allow(profile.read, READ)
    allow(profile.execute, RUN)
    allow(profile.write, written)
    directories = {"/proc", "/dev", view.TMP}
    return {
        path: rights
        if path in directories or facts.is_directory(path)
        else rights & landlock.OF_FILES
        for path, rights in found.items()
    }


def ruleset(profile: Profile, facts: Facts, abi: int) -> Operation:
    """Make and fill it; it is the first free descriptor, and what it speaks of the second."""
    files, ports, scopes = landlock.handled(abi)
    if profile.network != sandbox.NONE:
        ports = 0  # nobody is there but whom its sockets lead to
    attributes = landlock.ruleset(files, ports, scopes)
    calls: list[Call] = [
        (native.LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0),
    ]
    for path, rights in rules(profile, facts).items():
        if rights & files:
            calls += (
                (native.OPENAT, AT_FDCWD, path, _OPEN, 0),
                _rule(facts, landlock.path_rule(rights & files, facts.free + 1)),
                (native.CLOSE, facts.free + 1),
            )
    calls += (_rule(facts, landlock.path_rule(READ_FILE, number)) for number in facts.files)
    words = f"Landlock of ABI {abi}: {len(calls)} calls prepare its rules"
    return Operation(LANDLOCK, words, tuple(calls))


def _rule(facts: Facts, rule: bytes) -> Call:
    return (native.LANDLOCK_ADD_RULE, facts.free, landlock.PATH_BENEATH, rule, 0)


def restrict(facts: Facts) -> Operation:
    """Put it in force, and close it: what is handed on must not hold it."""
    return Operation(
        LANDLOCK,
        "Landlock is in force for files, ports, signals and abstract sockets",
        ((native.LANDLOCK_RESTRICT_SELF, facts.free, 0), (native.CLOSE, facts.free)),
    )
