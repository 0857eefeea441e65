"""How other sandboxes are asked for the tightest that they have: command lines and configuration.

Each gives a program the files that an agent has, read-only: ``FILES``, the interpreter, and the
directory of its code. User and group are those of the bystander whom the probes go for. Standard
library only, for it runs in the peers' root.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

FILES = ("/usr/lib", "/usr/lib64", "/usr/share", "/etc")
# /bin, /lib and the others are links in the root, and must be in a root that is made.
LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
PYTHON = "/usr/bin/python3"
HOST = "probe"
ACCOUNT = "probe"
UNIT = "probe.service"


def programs(*names: str) -> list[str]:
    """The files of these programs: each name, and what it leads to."""
    return sorted({*names, *(os.path.realpath(name) for name in names)})


def bubblewrap(user: int, readable: Sequence[str], seccomp: int | None = None) -> list[str]:
    """The command line before the program's own. ``seccomp`` is a descriptor with a filter: it
    brings none itself.
    """
    command = ["/usr/bin/bwrap", "--unshare-all", "--unshare-user", "--as-pid-1", "--new-session"]
    command += ["--die-with-parent", "--uid", str(user), "--gid", str(user), "--cap-drop", "ALL"]
    command += ["--disable-userns", "--hostname", HOST]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in readable:
        command += ["--ro-bind", path, path]
    for path, target in LINKS.items():
        command += ["--symlink", target, path]
    command += ["--remount-ro", "/", "--remount-ro", "/dev"]
    if seccomp is not None:
        command += ["--seccomp", str(seccomp)]
    return [*command, "--"]


def systemd(root: str, readable: Sequence[str], terminal: str, environment: str) -> str:
    """The unit: every option of systemd.exec(5) of version 257 that takes something away. ``root``
    has nothing but `LINKS`.
    """
    return f"""\
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
Type=oneshot
EnvironmentFile={environment}
ExecStart={PYTHON} -I -S ${{SCRIPT}} ${{NAME}}
OpenFile={terminal}:terminal
StandardInput=null
StandardOutput=null
StandardError=null
TimeoutStartSec=60
User={ACCOUNT}
DynamicUser=yes
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
RootDirectory={root}
BindReadOnlyPaths={" ".join(readable)}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=disconnected
PrivateDevices=yes
DevicePolicy=closed
PrivateNetwork=yes
IPAddressDeny=any
PrivateIPC=yes
PrivateUsers=yes
PrivatePIDs=yes
ProtectProc=invisible
ProcSubset=pid
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=strict
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
LimitCORE=0
NoExecPaths=/ /tmp
ExecPaths={PYTHON} {os.path.realpath(PYTHON)} /usr/lib /usr/lib64
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @keyring @aio
"""


def gvisor(user: int, argv: Sequence[str], environment: Sequence[str], root: str,
           readable: Sequence[str]) -> dict[str, object]:  # fmt: skip
    """The ``config.json`` of an OCI bundle."""
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    binds = [
        {"destination": path, "source": path, "type": "bind", "options": ["bind", "ro"]}
        for path in readable
    ]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": user, "gid": user},
            "args": list(argv),
            "env": list(environment),
            "cwd": "/",
            "capabilities": {name: [] for name in sets},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
        },
        "root": {"path": root, "readonly": True},
        "hostname": HOST,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            *binds,
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
        },
    }


def runsc(bundle: str, terminal: int, name: str) -> list[str]:
    """The command line that runs an OCI bundle to its end, without a network and control groups."""
    return [
        *("/usr/bin/runsc", "--root=/run/runsc", "--network=none", "--platform=systrap"),
        *("--ignore-cgroups", "--host-uds=none", "--host-fifo=none", "run"),
        *(f"--bundle={bundle}", f"--pass-fd={terminal}:3", name),
    ]
