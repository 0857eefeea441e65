"""Services that attack PID 1 and their neighbours, the neighbours, and the files of their units.

Each attacker has a user of its own, few descriptors, little memory and few processes, as whoever
runs a service that he does not trust would set it up. It goes on with its attack until it is ended.
What an attacker ought to be refused and was not, it prints as ``TAKEN``. Leaves out who runs them,
see ``lib.soak_hostile``.

>>> "memory_max" in units()["fork-bomb"]
True
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]

EVIDENCE = "evidence:"
TAKEN = "TAKEN"
ZOMBIES = 10_000
FLOOD_BYTES = 1 << 20  # which a log has to lose before a flood is one
FLOOD_DATAGRAMS = 100
FIRST_USER = 60001
INTERFACE = "org.ainos.Neighbour"
PROVIDER_SOCKET = "/run/neighbour/socket"
NOTIFY, CONTROL = "/run/ainit/notify", "/run/ainit/control"

FORK_BOMB = """\
import os
told = False
while True:
    try:
        os.fork()
    except BlockingIOError:
        if not told:
            os.write(1, b"evidence: no more processes\\n")
        told = True
"""
# Descriptors of its own, connections to PID 1, and descriptors that PID 1 is to store.
DESCRIPTOR_HOG = f"""\
import os, socket
told = False
while True:
    held = []
    try:
        while len(held) < 100:
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].setblocking(False)
            held[-1].connect({CONTROL!r})
    except BlockingIOError:
        pass
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.connect({NOTIFY!r})
    try:
        for _ in range(3):
            socket.send_fds(channel, [b"FDSTORE=1"], [0] * 253)
    except OSError:
        pass  # the kernel counts what is on its way
    held.append(channel)
    try:
        while True:
            held.append(socket.socket(socket.AF_UNIX))
    except OSError as error:
        if not told:
            os.write(1, b"evidence: %d sockets, %s\\n" % (len(held), error.strerror.encode()))
        told = True
    for one in held:
        one.close()
"""
MEMORY_HOG = """\
taken = []
while True:
    taken.append(b"x" * (1 << 20))
"""
LOG_FLOOD = """\
import os
lines = (b"x" * 200 + b"\\n") * 100
while True:
    os.write(1, lines)
"""
NOTIFY_FLOOD = """\
import os, socket
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.connect(os.environ["NOTIFY_SOCKET"])
channel.send(b"READY=1")
count = 0
while True:
    count += 1
    channel.send(b"STATUS=flood %d\\nREADY=1\\nWATCHDOG=1\\nMAINPID=1" % count)
    channel.send(b"x" * 4000)
    channel.send(b"EXTEND_TIMEOUT_USEC=1000000\\nRELOADING=\\nFDNAME=\\xff\\n\\n=")
"""
# Out of its session, away from its parent, deaf to SIGTERM, and never the same process for long.
ESCAPE = """\
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    time.sleep(36000)
os.setsid()
if os.fork():
    os._exit(0)
for group in ("", "/ainos", "/ainos/plain", "/ainos/watched"):
    try:
        with open(f"/sys/fs/cgroup{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        os.write(1, b"TAKEN: the group %s\\n" % group.encode())
    except OSError:
        pass
os.write(1, b"evidence: a session of its own\\n")
while True:
    try:
        if os.fork():
            os._exit(0)
    except BlockingIOError:
        pass
"""
PTRACE = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
attempts = {
    "seize": lambda: call(libc.ptrace, 0x4206, 1, None, None),
    "attach": lambda: call(libc.ptrace, 16, 1, None, None),
    "descriptor": lambda: call(libc.syscall, 438, os.pidfd_open(1), 0, 0),
    "memory": lambda: os.open("/proc/1/mem", os.O_RDWR),
    "descriptors": lambda: os.listdir("/proc/1/fd"),
    "kill": lambda: os.kill(1, 9),
    "fault": lambda: os.kill(1, 11),
    "watched": lambda: os.kill(int(open("/sys/fs/cgroup/ainos/watched/cgroup.procs").read()), 9),
}
told = False
while True:
    refused = []
    for name, attempt in attempts.items():
        try:
            attempt()
            os.write(1, b"TAKEN: %s\\n" % name.encode())
        except OSError as error:
            refused.append(f"{name} errno {error.errno}")
    if not told:
        os.write(1, f"evidence: refused {', '.join(refused)}\\n".encode())
    told = True
    os.closerange(3, 1000)
"""
# They share all that they can with their parent, even one stack, for they do no more than end, and
# nobody waits for them. Two processes make half of them each.
ZOMBIE_MAKER = f"""\
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~15)
end = ctypes.cast(libc._exit, ctypes.c_void_p)
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, SIGCHLD = 0x100, 0x200, 0x400, 0x800, 17
flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD
reader, writer = os.pipe()
child = os.fork()
for count in range({ZOMBIES} // 2):
    if libc.clone(end, top, flags, None) < 0:
        raise OSError(ctypes.get_errno(), f"after {{count}}")
if child:
    os.read(reader, 1)
    os.write(1, b"evidence: %d zombies\\n" % (2 * (count + 1)))
else:
    os.write(writer, b"+")
time.sleep(36000)
"""
SQUATTER = f"""\
import json, os, socket
paths = {(CONTROL, NOTIFY, "/run/ainit/sockets/provider", PROVIDER_SOCKET)!r}
def bind(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
def connect(path):
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
def order(member):
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect({CONTROL!r})
        channel.settimeout(60)
        call = {{"method": f"org.ainos.Control.{{member}}", "parameters": {{"name": "plain"}}}}
        channel.sendall(json.dumps(call).encode() + b"\\0")
        if b"PermissionDenied" in (answer := channel.recv(4096)) or not answer:
            raise PermissionError(member)
attempts = [(act, path) for path in paths for act in (bind, os.unlink)]
attempts += [(lambda path: os.rename(path, path + "-"), path) for path in paths]
attempts += [(lambda path: os.chmod(path, 0o777), path) for path in paths]
attempts += [(bind, path + "-") for path in paths]
attempts += [(connect, path) for path in paths[2:]]
attempts += [(order, "Stop"), (order, "Reboot")]
told = False
while True:
    refused = 0
    for act, path in attempts:
        try:
            act(path)
            os.write(1, f"TAKEN: {{act.__name__}} {{path}}\\n".encode())
        except OSError:
            refused += 1
    if not told:
        os.write(1, b"evidence: refused %d times\\n" % refused)
    told = True
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attacker. ``shown(before, now, lines)``: whether what it does is under way, from what
    PID 1 says of the unit before and now, and from the lines that it has written since."""

    code: str
    shown: Callable[[Data, Data, Sequence[str]], bool]
    service: str = 'type = "simple"\nrestart = "never"'
    resources: str = 'memory_max = "64M"\nmemory_swap_max = "0"\npids_max = 64'
    limits: str = "nofile = 256"
    more: str = ""


def _said(before: Data, now: Data, lines: Sequence[str]) -> bool:
    return any(line.startswith(EVIDENCE) for line in lines)


def _killed(before: Data, now: Data, lines: Sequence[str]) -> bool:
    return (now["oom_kills"] or 0) > (before["oom_kills"] or 0)


def _dropped(before: Data, now: Data, lines: Sequence[str]) -> bool:
    return bool(now["log_dropped"] > (before["log_dropped"] or 0) + FLOOD_BYTES)


def _flooded(before: Data, now: Data, lines: Sequence[str]) -> bool:
    word, _, count = (now["status_text"] or "").partition(" ")
    return word == "flood" and int(count) >= FLOOD_DATAGRAMS


ATTACKS = {
    "fork-bomb": Attack(FORK_BOMB, _said, resources='memory_max = "128M"\npids_max = 64'),
    "descriptor-hog": Attack(DESCRIPTOR_HOG, _said),
    "memory-hog": Attack(
        MEMORY_HOG,
        _killed,
        service='type = "simple"\nrestart = "always"',
        resources='memory_max = "32M"\nmemory_swap_max = "0"\npids_max = 8',
        more="[backoff]\nfirst_s = 0.2\nfactor = 1\nlimit = 0\n",
    ),
    "log-flood": Attack(LOG_FLOOD, _dropped),
    "notify-flood": Attack(NOTIFY_FLOOD, _flooded, service='type = "notify"\nrestart = "never"'),
    "escape": Attack(
        ESCAPE, _said, service='type = "simple"\nrestart = "never"\nstop_timeout_s = 1'
    ),
    "ptrace": Attack(PTRACE, _said),
    "zombies": Attack(
        ZOMBIE_MAKER,
        _said,
        resources=f'memory_max = "256M"\npids_max = {ZOMBIES + 16}',
        limits=f"nproc = {2 * ZOMBIES}",
    ),
    "squatter": Attack(SQUATTER, _said),
}

PLAIN = """\
import os, time
count = 0
while True:
    count += 1
    os.write(1, b"beat %d\\n" % count)
    time.sleep(0.5)
"""
WATCHED = """\
import os, socket, time
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.connect(os.environ["NOTIFY_SOCKET"])
channel.send(b"READY=1")
count = 0
while True:
    channel.send(b"WATCHDOG=1")
    count += 1
    os.write(1, b"beat %d\\n" % count)
    time.sleep(0.5)
"""
# It answers each call with how many there were, at the socket of the relay and at its own.
PROVIDER = """\
import json, os, select, socket
listeners = [socket.socket(fileno=3 + i) for i in range(int(os.environ["LISTEN_FDS"]))]
count = 0
while True:
    for ready in select.select(listeners, [], [])[0]:
        channel, _ = ready.accept()
        with channel:
            channel.settimeout(60)
            while channel.recv(4096)[-1:] not in (b"", b"\\0"):
                pass
            count += 1
            channel.sendall(json.dumps({"parameters": {"count": count}}).encode() + b"\\0")
            os.write(1, b"beat %d\\n" % count)
"""
NEIGHBOURS = {
    "plain": (PLAIN, 'type = "simple"', ""),
    "watched": (WATCHED, 'type = "notify"\nwatchdog_s = 20', ""),
    "provider": (
        PROVIDER,
        f'type = "simple"\nprovides = ["{INTERFACE}"]',
        f'[activation]\non_demand = true\n[[socket]]\nlisten = "unix:{PROVIDER_SOCKET}"\n',
    ),
}


def command(code: str) -> str:
    """The line of a unit's file that runs Python code."""
    return "exec = " + json.dumps(["/usr/bin/python3", "-I", "-S", "-c", code])


def attacker(attack: Attack, user: str) -> str:
    """The file of an attacker's unit; ``user`` is the line that says whose it is."""
    return (
        f"[service]\n{command(attack.code)}\n{attack.service}\n{user}\n"
        f"autostart = false\nessential = false\nlimits = {{ {attack.limits} }}\n"
        f"\n[resources]\n{attack.resources}\n\n{attack.more}"
    )


def units() -> dict[str, str]:
    """Name → file of every unit."""
    found = {
        name: attacker(attack, f"user = {FIRST_USER + number}")
        for number, (name, attack) in enumerate(ATTACKS.items())
    }
    for name, (code, service, more) in NEIGHBOURS.items():
        found[name] = f"[service]\n{command(code)}\n{service}\nessential = false\n\n{more}"
    return found
