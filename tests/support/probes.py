"""Small attempts to get out of a sandbox, or to reach what is outside it. Each is one function.

Run as ``python3 probes.py NAME`` inside any sandbox, with what there is outside it as JSON in the
variable PROBED (see ``tests.support.probed``). The exit status says how it went: THROUGH, BLOCKED,
or anything else for a probe that is broken; a sandbox that kills the process has blocked it. A
probe returns whether it got through; an OSError is a block. All are harmless where they succeed.

Stands alone, so that it runs where the tests' packages are not. Probes go for a bystander: a
process of the agent's own user, outside; its files, sockets and memory; the machine's devices and
kernel.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable

THROUGH, BLOCKED = 42, 43

PROBED = json.loads(os.environ.get("PROBED", "{}"))
PROBES: dict[str, Callable[[], bool]] = {}

_LIBC = ctypes.CDLL(None, use_errno=True)
_HERE = PROBED.get("scratch", "/tmp")
_IS_X86 = platform.machine() == "x86_64"
_NEW_MOUNT, _NEW_USER, _NEW_NET, _NEW_PID = 0x20000, 0x10000000, 0x40000000, 0x20000000
# What a kernel says to somebody who may do it, but asked for nonsense. Privileges come first.
_NONSENSE = (errno.EINVAL, errno.ENOENT, errno.EFAULT, errno.ENOEXEC, errno.EBADF, errno.EBUSY)


def probe(function: Callable[[], bool]) -> Callable[[], bool]:
    """Register it under its name."""
    PROBES[function.__name__] = function
    return function


def _call(x86: int, arm: int, *arguments: object) -> int:
    """A system call by its number. Raises OSError."""
    taken = [
        ctypes.c_long(each) if isinstance(each, int) else each  # pointers as they are
        for each in arguments
    ]
    result = int(_LIBC.syscall(ctypes.c_long(x86 if _IS_X86 else arm), *taken))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _recent(number: int, *arguments: object) -> int:
    return _call(number, number, *arguments)


def _may(x86: int, arm: int, *nonsense: object) -> bool:
    """Whether a call that wants a privilege gets as far as to see that it is nonsense."""
    try:
        _call(x86, arm, *nonsense)
    except OSError as error:
        return error.errno in _NONSENSE
    return True


def _opens(path: str, flags: int = os.O_RDONLY) -> bool:
    os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
    return True


def _makes(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    os.unlink(path)
    return True


def _reads(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(1) != b""


def _connects(family: int, address: object, kind: int = socket.SOCK_STREAM) -> bool:
    with socket.socket(family, kind) as channel:
        channel.settimeout(5)
        channel.connect(address)  # type: ignore[arg-type]
    return True


def _socket(family: int, kind: int, protocol: int = 0) -> bool:
    socket.socket(family, kind, protocol).close()
    return True


# Files.

PROBES.update(
    read_file_of_another=lambda: _reads(PROBED["secret"]),
    see_file_of_another=lambda: os.path.exists(PROBED["secret"]),
    read_program_not_declared=lambda: _reads("/usr/bin/env"),
    read_passwords=lambda: _reads("/etc/shadow"),
    list_home_of_root=lambda: os.listdir("/root") is not None,
    list_state=lambda: bool(os.listdir("/var/lib")),
    list_runtime=lambda: bool(set(os.listdir("/run")) - {"ainit"}),
    write_to_root=lambda: _makes("/etc/probe"),
    write_to_own_code=lambda: _opens(__file__, os.O_WRONLY),
    write_to_devices=lambda: _makes("/dev/probe"),
    root_of_first_process=lambda: os.path.exists("/proc/1/root" + PROBED["secret"]),
    watch_everything=lambda: _may(300, 262, 0x10, 0),  # fanotify_init(2)
)


@probe
def list_directory_of_another() -> bool:
    directory, name = os.path.split(PROBED["secret"])
    return name in os.listdir(directory)


@probe
def execute_program_not_declared() -> bool:
    os.execv("/bin/sh", ["sh", "-c", f"exit {THROUGH}"])


@probe
def execute_from_memory() -> bool:
    """A program that nobody measured, in a file without a name."""
    file = os.memfd_create("program")
    with open("/usr/bin/python3", "rb") as program:
        os.write(file, program.read())
    os.execv(
        f"/proc/self/fd/{file}", ["python3", "-I", "-S", "-c", f"import os; os._exit({THROUGH})"]
    )


@probe
def execute_what_was_written() -> bool:
    path = f"{_HERE}/program"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexit {THROUGH}\n")
    os.chmod(path, 0o755)
    os.execv(path, ["program"])


@probe
def map_what_was_written_as_code() -> bool:
    with open(f"{_HERE}/code", "w+b") as file:
        file.write(b"\xc3" * 4096)
        file.flush()
        mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    return True


@probe
def memory_both_written_and_executed() -> bool:
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, 4096, prot=prot).close()
    return True


@probe
def symbolic_link_out() -> bool:
    os.symlink(PROBED["secret"], f"{_HERE}/link")
    return _reads(f"{_HERE}/link")


@probe
def hard_link_out() -> bool:
    os.link("/usr/bin/env", f"{_HERE}/linked")
    return True


@probe
def above_the_root() -> bool:
    top = os.open("/", os.O_PATH)
    for _ in range(8):
        top = os.open("..", os.O_PATH, dir_fd=top)
    os.stat(PROBED["secret"].lstrip("/"), dir_fd=top)
    return True


@probe
def race_of_a_link() -> bool:
    """A name that is now this, now that: is a file ever opened that was not judged?"""
    with open(f"{_HERE}/good", "w", encoding="ascii") as file:
        file.write("good")
    names = [f"{_HERE}/good", "/usr/bin/env"]
    os.symlink(names[0], f"{_HERE}/race")
    sys.setswitchinterval(1e-5)
    done = threading.Event()

    def swap() -> None:
        for turn in range(2000):
            os.symlink(names[turn % 2], f"{_HERE}/race.new")
            os.rename(f"{_HERE}/race.new", f"{_HERE}/race")
        done.set()

    thread = threading.Thread(target=swap)
    thread.start()
    won = False
    while not done.is_set():
        won = _races() or won
    thread.join()
    return won


def _races() -> bool:
    try:
        with open(f"{_HERE}/race", "rb") as file:
            return file.read(4) != b"good"
    except OSError:
        return False


@probe
def file_by_handle() -> bool:
    """A file by its number in the file system goes past every name."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 8, 1) + struct.pack("=II", 2, 0))
    root = os.open("/", os.O_RDONLY)
    return _may(304, 265, root, handle, os.O_RDONLY)


@probe
def make_block_device() -> bool:
    os.mknod(f"{_HERE}/disk", 0o60600, os.makedev(254, 0))
    return True


@probe
def change_owner() -> bool:
    with open(f"{_HERE}/owned", "wb"):
        pass
    os.chown(f"{_HERE}/owned", os.getuid(), os.getgid())
    return True


# /proc and /sys.

PROBES.update(
    write_own_memory_past_its_protection=lambda: _opens("/proc/self/mem", os.O_RDWR),
    see_other_processes=lambda: os.path.exists(f"/proc/{PROBED['bystander']}"),
    read_environment_of_another=lambda: _reads(f"/proc/{PROBED['bystander']}/environ"),
    read_memory_of_another=lambda: _opens(f"/proc/{PROBED['bystander']}/mem"),
    namespace_of_another=lambda: _opens(f"/proc/{PROBED['bystander']}/ns/mnt"),
    core_pattern=lambda: _opens("/proc/sys/kernel/core_pattern", os.O_WRONLY),
    kernel_settings=lambda: _opens("/proc/sys/vm/overcommit_memory", os.O_WRONLY),
    magic_system_request=lambda: _opens("/proc/sysrq-trigger", os.O_WRONLY),
    kernel_symbols=lambda: _reads("/proc/kallsyms"),
    keys_of_all_users=lambda: _reads("/proc/key-users"),
    kernel_messages=lambda: _opens("/proc/kmsg") or _opens("/dev/kmsg"),
    firmware_and_kernel_in_sys=lambda: bool(os.listdir("/sys/kernel")),
    network_devices_in_sys=lambda: bool(os.listdir("/sys/class/net")),
    name_of_the_machine=lambda: str(PROBED["hostname"]) == os.uname().nodename,
)


@probe
def sockets_of_the_machine() -> bool:
    with open("/proc/net/tcp", encoding="ascii") as file:
        return f":{PROBED['port']:04X} " in file.read()


@probe
def segments_of_the_machine() -> bool:
    with open("/proc/sysvipc/shm", encoding="ascii") as file:
        return any(line.split()[0] == str(PROBED["segment"]) for line in file)


@probe
def name_of_control_group() -> bool:
    with open("/proc/self/cgroup", encoding="ascii") as file:
        return PROBED["group"] in file.read()


@probe
def leave_control_group() -> bool:
    places = ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs")
    return any(os.path.exists(path) and _opens(path, os.O_WRONLY) for path in places)


# Processes.

PROBES.update(
    trace_another=lambda: _call(101, 117, 0x4206, PROBED["bystander"], 0, 0) == 0,  # PTRACE_SEIZE
    be_traced=lambda: _call(101, 117, 0, 0, 0, 0) == 0,  # PTRACE_TRACEME
    descriptor_of_another=lambda: _recent(438, os.pidfd_open(PROBED["bystander"]), 0, 0) >= 0,
    compare_kernel_objects=lambda: _call(312, 272, os.getpid(), os.getpid(), 1, 0, 0) >= 0,
    bounding_set_is_left=lambda: any(_LIBC.prctl(23, number, 0, 0, 0) > 0 for number in range(41)),
    root_is_a_user=lambda: os.stat("/").st_uid == 0,
    gain_by_execution=lambda: bool(_LIBC.prctl(39, 0, 0, 0, 0) == 0),  # PR_GET_NO_NEW_PRIVS
    switch_off_randomisation=lambda: int(_LIBC.personality(0x0040000)) >= 0,
)


@probe
def signal_another() -> bool:
    os.kill(PROBED["bystander"], 0)
    return True


@probe
def signal_everybody() -> bool:
    os.kill(-1, 0)
    return True


@probe
def signal_by_descriptor() -> bool:
    signal.pidfd_send_signal(os.pidfd_open(PROBED["bystander"]), 0)
    return True


@probe
def read_memory_by_call() -> bool:
    text = ctypes.create_string_buffer(b"text")
    own = (ctypes.c_size_t * 2)(ctypes.addressof(text), 4)
    return _call(310, 270, os.getpid(), own, 1, own, 1, 0) == 4


@probe
def move_another_to_a_processor() -> bool:
    os.sched_setaffinity(PROBED["bystander"], os.sched_getaffinity(0))
    return True


@probe
def limit_another() -> bool:
    resource.prlimit(PROBED["bystander"], resource.RLIMIT_NOFILE)
    return True


@probe
def prefer_another() -> bool:
    os.setpriority(os.PRIO_PROCESS, PROBED["bystander"], 19)
    return True


@probe
def become_root() -> bool:
    os.setresuid(0, 0, 0)
    return True


@probe
def choose_groups() -> bool:
    os.setgroups([os.getgid()])
    return True


@probe
def dump_core() -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
    except ValueError:
        return False
    return True


@probe
def begin_a_process() -> bool:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


@probe
def type_into_terminal() -> bool:
    fcntl.ioctl(PROBED["terminal"], termios.TIOCSCTTY, 0)
    fcntl.ioctl(PROBED["terminal"], termios.TIOCSTI, b"x")
    return True


# Sockets.

PROBES.update(
    connect_to_loopback=lambda: _connects(socket.AF_INET, ("127.0.0.1", PROBED["port"])),
    send_a_datagram=lambda: _connects(
        socket.AF_INET, ("127.0.0.1", PROBED["port"]), socket.SOCK_DGRAM
    ),
    sixth_version=lambda: _socket(socket.AF_INET6, socket.SOCK_DGRAM),
    multipath=lambda: _socket(socket.AF_INET, socket.SOCK_STREAM, 262),  # Landlock does not know it
    raw_socket=lambda: _socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    packet_socket=lambda: _socket(socket.AF_PACKET, socket.SOCK_RAW),
    routes_by_netlink=lambda: _socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    events_by_netlink=lambda: _socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15),
    cryptography_of_the_kernel=lambda: _socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
    socket_to_the_host_of_a_machine=lambda: _socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    abstract_socket=lambda: _connects(socket.AF_UNIX, "\0" + PROBED["abstract"]),
    socket_of_another=lambda: _connects(socket.AF_UNIX, PROBED["socket"]),
)


@probe
def listen_on_the_network() -> bool:
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
    return True


@probe
def metadata_of_the_cloud() -> bool:
    with socket.socket(socket.AF_INET) as channel:
        channel.setblocking(False)
        return channel.connect_ex(("169.254.169.254", 80)) in (0, errno.EINPROGRESS)


@probe
def receive_a_descriptor() -> bool:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(PROBED["socket"])
        return len(socket.recv_fds(channel, 16, 1)[1]) == 1


@probe
def filter_on_a_socket() -> bool:
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
    program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(instruction))
    left, right = socket.socketpair()
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
    return True


# The kernel.

PROBES.update(
    submission_ring=lambda: _recent(425, 1, ctypes.create_string_buffer(256)) >= 0,
    faults_in_user_space=lambda: _call(323, 282, 1) >= 0,
    keyring=lambda: _call(250, 219, 0, -3, 1) != 0,  # the session's
    add_a_key=lambda: _call(248, 217, b"user", b"probe", b"x", 1, -2) != 0,
    user_namespace=lambda: int(_LIBC.unshare(_NEW_USER)) == 0,
    mount_namespace=lambda: int(_LIBC.unshare(_NEW_MOUNT)) == 0,
    network_namespace=lambda: int(_LIBC.unshare(_NEW_NET)) == 0,
    enter_a_namespace=lambda: int(_LIBC.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0)) == 0,
    uncover_proc=lambda: int(_LIBC.umount2(b"/proc/kallsyms", 0)) == 0,
    # MS_REMOUNT | MS_BIND
    make_root_writable=lambda: int(_LIBC.mount(b"", b"/", b"", 32 | 4096, None)) == 0,
    file_system_by_descriptor=lambda: _recent(430, b"tmpfs", 0) >= 0,
    tree_by_descriptor=lambda: _recent(428, -100, b"/", 1) >= 0,
    pivot_root=lambda: _may(155, 41, _HERE.encode(), _HERE.encode()),
    load_a_module=lambda: _may(175, 105, 0, 0, b""),
    load_a_kernel=lambda: _may(246, 104, 0, 0, 0, 0xFFFF),
    reboot=lambda: _may(169, 142, 0, 0, 0, 0),
    swap=lambda: _may(167, 224, b"/nonexistent", 0),
    account=lambda: _may(163, 89, b"/nonexistent"),
    read_kernel_log=lambda: int(_LIBC.klogctl(10, None, 0)) > 0,
    quotas=lambda: _may(179, 60, 0x800001 << 8, 0, 0, 0),
)


@probe
def programs_in_the_kernel() -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("=4I", 2, 4, 4, 1), 128)
    return _call(321, 280, 0, attributes, 128) >= 0  # BPF_MAP_CREATE, an array


@probe
def performance_counters() -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, 0x61), 112)
    return _call(298, 241, attributes, 0, -1, -1, 0) >= 0


@probe
def user_namespace_by_clone() -> bool:
    pid = _call(56, 220, _NEW_USER | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


@probe
def user_namespace_by_clone3() -> bool:
    arguments = ctypes.create_string_buffer(struct.pack("=8Q", _NEW_USER, 0, 0, 0, 17, 0, 0, 0))
    pid = _recent(435, arguments, 64)
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


@probe
def mount() -> bool:
    os.mkdir(f"{_HERE}/mounted")
    return int(_LIBC.mount(b"tmpfs", f"{_HERE}/mounted".encode(), b"tmpfs", 0, None)) == 0


@probe
def change_root() -> bool:
    os.chroot(_HERE)
    return True


@probe
def name_the_machine() -> bool:
    name = os.uname().nodename.encode()
    return int(_LIBC.sethostname(name, len(name))) == 0


@probe
def ports_of_the_processor() -> bool:
    if not _IS_X86:
        return _opens("/dev/port", os.O_RDWR)
    return _call(173, 0, 0x80, 1, 1) == 0  # ioperm(2)


@probe
def segments_of_the_processor() -> bool:
    if not _IS_X86:
        return _call(0, 133, 0x0040000) < 0
    return _call(154, 0, 0, ctypes.create_string_buffer(64), 64) >= 0  # modify_ldt(2)


@probe
def calls_by_other_numbers() -> bool:
    """The same calls with the bit of x32, which filters by number have missed."""
    return int(_LIBC.syscall(ctypes.c_long(0x40000000 | 39))) > 0


# Devices.

PROBES.update(
    memory_of_the_machine=lambda: _opens("/dev/mem"),
    disk=lambda: _opens(PROBED["disk"]),
    new_terminal=lambda: _opens("/dev/ptmx", os.O_RDWR),
    tunnel=lambda: _opens("/dev/net/tun", os.O_RDWR),
    file_systems_in_user_space=lambda: _opens("/dev/fuse", os.O_RDWR),
    virtual_machines=lambda: _opens("/dev/kvm", os.O_RDWR),
    security_chip=lambda: _opens("/dev/tpmrm0", os.O_RDWR),
    foreign_gpu=lambda: _opens("/dev/nvidia0", os.O_RDWR) or _opens("/dev/nvidiactl", os.O_RDWR),
)


def main(name: str) -> int:
    """Run one probe."""
    try:
        got_through = PROBES[name]()
    except OSError as error:
        print(f"{name}: {error}", flush=True)
        return BLOCKED
    return THROUGH if got_through else BLOCKED


if __name__ == "__main__":
    os._exit(main(sys.argv[1]))
