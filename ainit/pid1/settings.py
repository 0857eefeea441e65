"""The kernel's settings of the machine, as a table, set before anything else runs.

Most take something away that nothing here needs: from users, from processes that were taken over,
from whoever is on the network. docs/security.md says what is left as the kernel has it, and why.
"""

from __future__ import annotations

from ..linux import kmsg

# setting (below /proc/sys), value, whether a kernel may lack it
TABLE = (
    # A queue of datagrams holds ten by default: one unit's flood would keep the others unheard.
    ("net/unix/max_dgram_qlen", "1024", False),
    # Nobody stops or reads another process by ptrace(2), not even root: PID 1 is a process, too.
    ("kernel/yama/ptrace_scope", "3", True),
    ("kernel/dmesg_restrict", "1", False),
    ("kernel/kptr_restrict", "2", False),
    ("kernel/perf_event_paranoid", "3", True),
    ("kernel/unprivileged_bpf_disabled", "1", True),
    ("kernel/oops_limit", "100", True),
    ("kernel/warn_limit", "100", True),
    ("net/core/bpf_jit_harden", "2", True),
    ("vm/mmap_min_addr", "65536", True),
    ("vm/unprivileged_userfaultfd", "0", True),
    ("dev/tty/ldisc_autoload", "0", True),
    ("dev/tty/legacy_tiocsti", "0", True),
    # What is lying in a folder that anybody may write to is not followed or opened for others.
    ("fs/protected_symlinks", "1", False),
    ("fs/protected_hardlinks", "1", False),
    ("fs/protected_fifos", "2", False),
    ("fs/protected_regular", "2", False),
    ("fs/suid_dumpable", "0", False),
    # Routes come from the configuration and from DHCP, not from whoever sends a packet.
    *(
        (f"net/ipv4/conf/{which}/{name}", value, True)
        for which in ("all", "default")
        for name, value in (
            ("accept_redirects", "0"),
            ("secure_redirects", "0"),
            ("send_redirects", "0"),
            ("accept_source_route", "0"),
        )
    ),
    *(
        (f"net/ipv6/conf/{which}/{name}", "0", True)
        for which in ("all", "default")
        for name in ("accept_redirects", "accept_source_route")
    ),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1", True),
    ("net/ipv4/icmp_ignore_bogus_error_responses", "1", True),
    ("net/ipv4/tcp_syncookies", "1", True),
)

IMA_POLICY = "/sys/kernel/security/ima/policy"
IMA_RULE = (
    "measure func=FILE_CHECK mask=MAY_READ fsname=ext4 digest_type=verity template=ima-ngv2\n"
)


def apply(root: str = "/proc/sys") -> None:
    """Set the table; what cannot be set is told the operator, and the machine goes on."""
    for name, value, may_lack in TABLE:
        try:
            with open(f"{root}/{name}", "w", encoding="ascii") as file:
                file.write(value)
        except FileNotFoundError:
            if not may_lack:
                kmsg.log(f"{name}: this kernel has no such setting", kmsg.WARNING)
        except OSError as error:
            kmsg.log(f"{name} cannot be set to {value}: {error.strerror}", kmsg.WARNING)


def measure_files(path: str = IMA_POLICY) -> None:
    """Have IMA log the fs-verity digest of each file of the state partition that is read, once: a
    second record of the models in use, which the kernel writes and nobody tells it.
    """
    try:
        with open(path, encoding="ascii") as file:
            if "digest_type=verity" in file.read():
                return  # after a soft reboot
        with open(path, "w", encoding="ascii") as file:
            file.write(IMA_RULE)
    except OSError as error:
        kmsg.log(f"IMA does not log what is read: {error.strerror}", kmsg.WARNING)
