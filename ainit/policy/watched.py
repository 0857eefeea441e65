"""Which system calls of an agent audit mode is told of, and what of the files they name.

A second filter beside the agent's own tells a listener (SECCOMP_RET_USER_NOTIF) of every call that
names a file or an address, and of every other one that only a class allows. It forbids nothing:
where the two differ, the kernel does what is stricter, and so nobody is told of a call that fails
by the agent's own filter. It is derived from the very rules that the own filter is compiled from.
Leaves out the listener: see ``ainit.audit``.

>>> len(program(False, "x86_64")) % 8
0
"""

from __future__ import annotations

from . import call_rules, sandbox, seccomp
from .call_rules import ALLOW, Question, Rule
from .system_calls import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

TOLD = 0x7FC00000  # SECCOMP_RET_USER_NOTIF

# What a call does with a file: looks at it or reads it; writes what is there; makes a new name;
# opens it as its flags say; executes it.
LOOKS, WRITES, MAKES, OPENS, EXECUTES = "looks", "writes", "makes", "opens", "executes"
HERE = -1  # its path is relative to the working directory

# Name → what it does, and for each path the arguments that hold the directory and the path.
FILES: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    **dict.fromkeys(("open", "creat"), (OPENS, ((HERE, 0),))),
    **dict.fromkeys(("openat", "openat2"), (OPENS, ((0, 1),))),
    "execve": (EXECUTES, ((HERE, 0),)),
    **dict.fromkeys(
        ("stat", "lstat", "access", "readlink", "chdir", "statfs", "getxattr", "lgetxattr",
         "listxattr", "llistxattr"),
        (LOOKS, ((HERE, 0),)),
    ),
    **dict.fromkeys(
        ("newfstatat", "statx", "faccessat", "faccessat2", "readlinkat"), (LOOKS, ((0, 1),))
    ),
    "inotify_add_watch": (LOOKS, ((HERE, 1),)),
    **dict.fromkeys(
        ("unlink", "rmdir", "truncate", "chmod", "chown", "lchown", "utime", "utimes", "setxattr",
         "lsetxattr", "removexattr", "lremovexattr"),
        (WRITES, ((HERE, 0),)),
    ),
    **dict.fromkeys(
        ("unlinkat", "fchmodat", "fchmodat2", "fchownat", "futimesat", "utimensat"),
        (WRITES, ((0, 1),)),
    ),
    **dict.fromkeys(("mkdir", "mknod"), (MAKES, ((HERE, 0),))),
    **dict.fromkeys(("mkdirat", "mknodat"), (MAKES, ((0, 1),))),
    "symlink": (MAKES, ((HERE, 1),)),
    "symlinkat": (MAKES, ((1, 2),)),
    "rename": (WRITES, ((HERE, 0), (HERE, 1))),
    **dict.fromkeys(("renameat", "renameat2"), (WRITES, ((0, 1), (2, 3)))),
    "link": (WRITES, ((HERE, 0), (HERE, 1))),
    "linkat": (WRITES, ((0, 1), (2, 3))),
}  # fmt: skip
# Those that change a file by a descriptor, which needs not be open for writing.
DESCRIPTORS = frozenset(("fchmod", "fchown", "fsetxattr", "fremovexattr"))
# Name → the arguments that hold an address and its length. Not sendmsg(2): its addresses lie behind
# two pointers, and the listener itself is handed over by it.
ADDRESSES = {"connect": (1, 2), "bind": (1, 2), "sendto": (4, 5)}
_AT_EMPTY_PATH = 0x1000
_NOT_OF_PATHS = {
    "newfstatat": Question(3, (_AT_EMPTY_PATH,), ALLOW, mask=_AT_EMPTY_PATH, inside=True),
    "statx": Question(2, (_AT_EMPTY_PATH,), ALLOW, mask=_AT_EMPTY_PATH, inside=True),
    "sendto": Question(4, (0,), ALLOW, inside=True),  # to whom it is connected
}


def rules(has_gpu: bool, machine: str) -> dict[int, int | Rule]:
    """Number → what the listener is told of; what it is not told of is allowed."""
    implied = (sandbox.DEVICES,) if has_gpu else ()
    found = {number: _told(each) for number, each in call_rules.rules(implied, machine).items()}
    known = numbers(machine)
    for name in (*FILES, *DESCRIPTORS, *ADDRESSES):
        if name in known:
            question = _NOT_OF_PATHS.get(name)
            found[known[name]] = Rule(question, otherwise=TOLD) if question else TOLD
    return found


def program(has_gpu: bool, machine: str) -> bytes:
    """The filter, as ``seccomp.program`` gives one."""
    return seccomp.compiled(rules(has_gpu, machine), machine, TOLD)


def asked(machine: str, calls: Collection[str]) -> dict[int, tuple[int, ...]]:
    """Number → which arguments decide about a call, with these classes or with fewer."""
    found: dict[int, set[int]] = {}
    for given in ((), tuple(calls), *((name,) for name in calls)):
        for number, rule in call_rules.rules(given, machine).items():
            if isinstance(rule, Rule):
                asks = found.setdefault(number, set())
                asks.update(question.argument for question in rule.questions)
    return {number: tuple(sorted(asks)) for number, asks in found.items()}


def _told(decision: int | Rule) -> int | Rule:
    if isinstance(decision, Rule):
        questions = (
            Question(
                each.argument, each.values, _action(each.action),
                mask=each.mask, inside=each.inside,
            )
            for each in decision.questions
        )  # fmt: skip
        return Rule(*questions, otherwise=_action(decision.otherwise))
    return _action(decision)


def _action(action: int) -> int:
    return ALLOW if action == ALLOW else TOLD
