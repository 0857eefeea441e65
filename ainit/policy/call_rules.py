"""Which system calls an agent may make, with which arguments: classes, as rules over numbers.

The base class is what a program needs that computes, keeps files, and speaks over the sockets that
it was given. Whatever no class of an agent allows fails with EPERM, an error that programs expect;
a call that this table does not know fails with ENOSYS, so that a C library tries an older one.
``KILLED`` are calls that need a privilege nobody in a sandbox has and that no library makes to see
whether it can: whoever makes one is taking over the agent, and gets no second try. docs/sandbox.md
says why each class is as it is. Leaves out the program of it (``seccomp``).

>>> rules((), "x86_64")[numbers("x86_64")["ptrace"]] == DENY
True
"""

from __future__ import annotations

from . import sandbox
from .system_calls import X86_64, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Actions: what seccomp returns, linux/seccomp.h. The low half of an error is its errno.
ALLOW = 0x7FFF0000
KILL = 0x80000000  # the whole process
_ERRNO = 0x00050000
DENY = _ERRNO | 1  # EPERM
NO_SUCH_CALL = _ERRNO | 38  # ENOSYS
NO_DEVICE = _ERRNO | 25  # ENOTTY
NO_FAMILY = _ERRNO | 97  # EAFNOSUPPORT

WORD = 0xFFFFFFFF
X32 = 0x40000000  # __X32_SYSCALL_BIT: the same calls by other numbers, and nobody's from here on

_BASE = """
brk mmap munmap mremap madvise msync mincore mprotect pkey_mprotect pkey_alloc pkey_free mlock
mlock2 mlockall munlock munlockall membarrier memfd_create mseal map_shadow_stack
open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev
preadv2 pwritev2 lseek stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
readlink readlinkat getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat
rmdir unlink unlinkat link linkat symlink symlinkat mknod mknodat chmod fchmod fchmodat fchmodat2
umask utime utimes futimesat utimensat truncate ftruncate fallocate fsync fdatasync sync_file_range
syncfs flock fcntl dup dup2 dup3 pipe pipe2 sendfile splice tee vmsplice copy_file_range readahead
fadvise64 getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr ioctl
inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getitimer setitimer
alarm pause timer_create timer_settime timer_gettime timer_getoverrun timer_delete
futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq
set_tid_address gettid getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups
getpgid getpgrp getsid getpriority getcpu getrusage getrlimit setrlimit prlimit64 getrandom capget
uname sysinfo sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler
sched_getattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval ioprio_get
clone execve exit exit_group arch_prctl prctl personality unshare restart_syscall uretprobe
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend
rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack kill tkill tgkill
socket socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt
setsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
"""
_NUMA = "mbind get_mempolicy set_mempolicy set_mempolicy_home_node"
_CLASSES = {
    sandbox.ATTRIBUTES: """
        chown fchown lchown fchownat setxattr lsetxattr fsetxattr removexattr lremovexattr
        fremovexattr""",
    sandbox.IDENTITY: """
        setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset""",
    sandbox.IPC: """
        shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open
        mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    sandbox.JIT: "",
    sandbox.PROCESSES: """
        fork vfork wait4 waitid setpgid setsid pidfd_open pidfd_send_signal""",
    sandbox.SANDBOXING: """
        seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self""",
    sandbox.SCHEDULING: f"""
        sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set {_NUMA}""",
    sandbox.INTERNET: "",
    sandbox.DEVICES: _NUMA,
}  # fmt: skip

_KILLED = """
mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick
mount_setattr setns open_by_handle_at init_module finit_module delete_module kexec_load
kexec_file_load reboot swapon swapoff acct iopl ioperm
"""

# What no class has, named so that a test holds that none ever gets it. They fail, and do not kill:
# libraries make these to see whether they can (io_uring by event loops, perf by profilers, ptrace
# by sanitizers, userfaultfd by collectors, keys by file systems' tools).
_NEVER = """
ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd
add_key request_key keyctl execveat name_to_handle_at fanotify_init fanotify_mark
syslog quotactl quotactl_fd settimeofday clock_settime adjtimex clock_adjtime sethostname
setdomainname vhangup nfsservctl lookup_dcookie uselib modify_ldt migrate_pages move_pages
remap_file_pages io_setup io_submit lsm_set_self_attr statmount listmount clone3
"""
KILLED = frozenset(_KILLED.split())
NEVER = KILLED | frozenset(_NEVER.split())

# clone(2), unshare(2): linux/sched.h.
_NAMESPACES = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_THREAD = 0x00010000
_HARMLESS_UNSHARE = 0x00040600  # CLONE_FS, CLONE_FILES, CLONE_SYSVSEM
# mmap(2), shmat(2), memfd_create(2).
_WRITE, _EXECUTE, _SHM_EXEC, _MFD_EXEC = 0x2, 0x4, 0x8000, 0x10
# socket(2).
_UNIX, _INET, _INET6 = 1, 2, 10
_TYPE, _STREAM, _DATAGRAM = 0xF, 1, 2
_TCP, _UDP = 6, 17
_SOL_SOCKET = 1
_ATTACH = (26, 50, 51, 52)  # SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF
# ioctl(2), asm-generic/ioctls.h: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC
# and TCGETS2; and what types into a terminal or takes over its line: TIOCSTI, TIOCLINUX, TIOCCONS,
# TIOCSETD.
_ORDINARY_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 0x802C542A)
_TERMINAL_IOCTLS = (0x5412, 0x541C, 0x541D, 0x5423)
# mknod(2): neither character nor block device.
_FILE_TYPE, _NO_DEVICES = 0o170000, (0, 0o100000, 0o010000, 0o140000)
# prctl(2), linux/prctl.h. What may be asked: parent-death signal, dumpable, keeping capabilities,
# name, seccomp, bounding set, secure bits, timer slack, subreaper, no_new_privs, tid address, huge
# pages, vector lengths, speculation, tags, write-execute. What may be set: the signal, the name,
# slack, no_new_privs, huge pages, pointer keys, tags, names of mappings; dumpable only to 0.
_ASK = (2, 3, 7, 16, 21, 23, 27, 30, 37, 39, 40, 42, 51, 52, 56, 64, 66)
_SET = (1, 15, 29, 38, 41, 54, 55, 0x53564D41)
_SET_DUMPABLE, _SET_SECCOMP, _SET_SUBREAPER = 4, 22, 36
_SET_CAPABILITIES = (8, 24, 28, 47)  # PR_SET_KEEPCAPS, CAPBSET_DROP, SET_SECUREBITS, CAP_AMBIENT
_SAME_PERSONALITY = (0, WORD)  # PER_LINUX, and asking


class Question:
    """One question about an argument: is its low word, masked, among ``values``?

    ``action`` follows when the answer is ``inside``. Only the low word counts: the kernel takes it
    alone for what is an int, and a filter that compared 64 bits was passed by with the high ones
    (CVE-2019-10063).
    """

    __slots__ = ("action", "argument", "inside", "mask", "values")

    def __init__(
        self, argument: int, values: Sequence[int], action: int, *, mask: int = WORD, inside: bool
    ) -> None:
        self.argument = argument
        self.values = tuple(values)
        self.action = action
        self.mask = mask
        self.inside = inside


class Rule:
    """Questions in order; the first one that applies decides, or else ``otherwise``."""

    __slots__ = ("otherwise", "questions")

    def __init__(self, *questions: Question, otherwise: int) -> None:
        self.questions = questions
        self.otherwise = otherwise

    def action(self, arguments: Sequence[int]) -> int:
        """What is done about a call with these six arguments."""
        for question in self.questions:
            if (
                arguments[question.argument] & question.mask & WORD in question.values
            ) == question.inside:
                return question.action
        return self.otherwise


def rules(calls: Collection[str], machine: str) -> dict[int, int | Rule]:
    """Number → action or rule, of every call that the machine has.

    ``calls`` are classes besides the base one, see ``sandbox.Profile.calls``. Raises ValueError for
    a class or a machine that is unknown.
    """
    if unknown := set(calls) - _CLASSES.keys():
        raise ValueError(f"there is no class of system calls {', '.join(sorted(unknown))}")
    try:
        known = numbers(machine)
    except KeyError:
        raise ValueError(f"there is no table of the system calls of {machine}") from None
    allowed = set(_BASE.split()).union(*(_CLASSES[name].split() for name in calls))
    found: dict[int, int | Rule] = {}
    checks = _checks(calls)
    for name, number in known.items():
        if name in allowed:
            found[number] = checks.get(name, ALLOW)
        else:
            found[number] = KILL if name in KILLED else DENY
    found[known["clone3"]] = NO_SUCH_CALL  # its flags lie in memory, where no filter sees them
    return found


def action(
    found: dict[int, int | Rule], machine: str, number: int, arguments: Sequence[int]
) -> int:
    """What is done about a call of the machine's own architecture, by the rules themselves."""
    if machine == X86_64 and number >= X32:
        return KILL
    decision = found.get(number, NO_SUCH_CALL)
    return decision.action(arguments) if isinstance(decision, Rule) else decision


def _checks(calls: Collection[str]) -> dict[str, Rule]:
    """Name → rule, of the calls whose arguments matter."""
    checks = {
        "clone": _only(0, (_THREAD,), mask=_NAMESPACES | _THREAD),
        "unshare": _only(0, (0,), mask=WORD & ~_HARMLESS_UNSHARE),
        "personality": _only(0, _SAME_PERSONALITY),
        "prlimit64": _only(0, (0,)),  # its own limits
        "mknod": _only(1, _NO_DEVICES, mask=_FILE_TYPE),
        "mknodat": _only(2, _NO_DEVICES, mask=_FILE_TYPE),
        "ioctl": _only(1, _ORDINARY_IOCTLS, otherwise=NO_DEVICE),
        "socket": _only(0, (_UNIX,), otherwise=NO_FAMILY),
        "socketpair": _only(0, (_UNIX,), otherwise=NO_FAMILY),
        "setsockopt": Rule(
            Question(1, (_SOL_SOCKET,), ALLOW, inside=False),
            Question(2, _ATTACH, DENY, inside=True),
            otherwise=ALLOW,
        ),
    }
    options = [*_ASK, *_SET]
    if sandbox.PROCESSES in calls:
        checks["clone"] = _only(0, (0,), mask=_NAMESPACES)
        options.append(_SET_SUBREAPER)
    if sandbox.SANDBOXING in calls:
        options.append(_SET_SECCOMP)
    if sandbox.IDENTITY in calls:
        options += _SET_CAPABILITIES
    checks["prctl"] = Rule(
        Question(0, sorted(options), ALLOW, inside=True),
        Question(0, (_SET_DUMPABLE,), DENY, inside=False),
        Question(1, (0,), ALLOW, inside=True),
        otherwise=DENY,
    )
    if sandbox.JIT not in calls:
        both = _WRITE | _EXECUTE
        checks["mmap"] = Rule(Question(2, (both,), DENY, mask=both, inside=True), otherwise=ALLOW)
        checks["mprotect"] = checks["pkey_mprotect"] = _only(2, (0,), mask=_EXECUTE)
        checks["shmat"] = _only(2, (0,), mask=_SHM_EXEC)
        checks["memfd_create"] = _only(1, (0,), mask=_MFD_EXEC)
    if sandbox.INTERNET in calls:
        checks["socket"] = Rule(
            Question(0, (_UNIX,), ALLOW, inside=True),
            Question(0, (_INET, _INET6), NO_FAMILY, inside=False),
            Question(1, (_STREAM, _DATAGRAM), DENY, mask=_TYPE, inside=False),
            Question(2, (0, _TCP, _UDP), DENY, inside=False),
            otherwise=ALLOW,
        )
    if sandbox.DEVICES in calls:
        checks["ioctl"] = Rule(Question(1, _TERMINAL_IOCTLS, DENY, inside=True), otherwise=ALLOW)
    return checks


def _only(argument: int, values: Sequence[int], *, mask: int = WORD, otherwise: int = DENY) -> Rule:
    """Allowed when the masked argument is one of ``values``."""
    return Rule(Question(argument, values, ALLOW, mask=mask, inside=True), otherwise=otherwise)
