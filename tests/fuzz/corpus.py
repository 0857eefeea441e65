"""Inputs to begin with, for each target: what it is meant for, and what once broke a promise."""

from __future__ import annotations

import os

from ainit.pid1.journal import Forgetful
from ainit.pid1.ring import Ring
from ainit.wire.codec import dumps
from tests.fuzz.sockets import CALLS
from tests.support.notebook import real_journal

UNIT = b"""[service]
description = "a # b"
exec = ["/usr/bin/a", "-x"]
type = "notify"
after = ["b"]
environment = { A = "1" }
limits = { nofile = 1024 }
[backoff]
first_s = 0.5
limit = 3
[probe]
connect = "tcp:[::1]:80"
[timer]
calendar = ["daily", "Mon..Fri 03:00"]
[[socket]]
listen = "unix:/run/a"
mode = "0660"
[resources]
memory_max = "64M"
cpu_max = "150%"
io_max = { "/dev/vda" = { read_bps = "1M" } }
[logs]
ring = "64K"
"""
OTHER = b'[service]\nexec = ["/b"]\nbefore = ["a"]\nconflicts = ["c"]\nstage = "early"\n'
MACHINE = b"[machine]\nhostname = 'm'\n[network]\ndns = ['192.0.2.1']\n[[link]]\nname = 'eth0'\n"
AGENT = b'[agent]\nexec = ["/a"]\nmodels = ["m"]\n[gpu]\nprofile = "1g.10gb"\n'
SANDBOX = (
    b'[sandbox]\nread = ["/srv"]\nwrite = ["/opt/a"]\nexecute = ["/opt"]\nexecute_written = true\n'
    b'network = ["192.0.2.7:443", "[2001:db8::1]:53", "agent:speech"]\n'
    b'system_calls = ["processes", "jit"]\n'
)


def _journal() -> bytes:
    with real_journal() as journal:
        journal.put("facts", {"started": 1.5})
        journal.unit({"name": "a", "state": "ready", "pid": 7, "todo": []})
        journal.intend({"name": "b", "state": "starting", "todo": ["spawn"]})
        journal.keep(os.memfd_create("ring"), ("ring", "a"))
        pipe = os.memfd_create("pipe")
        journal.keep(pipe, ("pipe", "a"))
        journal.drop(pipe)
        os.close(pipe)
        size = os.fstat(journal._descriptor).st_size
        return os.pread(journal._descriptor, size, 0)


def _ring() -> bytes:
    one = Ring.make("u", Forgetful())
    try:
        for number in range(6):
            one.write(number & 3, number & 1, b"<3>line %d\nrest" % number, 1000 + number)
        return os.pread(one.descriptor, one.size, 0)
    finally:
        os.close(one.descriptor)


def _program(*steps: tuple[int, bytes]) -> bytes:
    return b"".join(bytes((operation, len(content))) + content for operation, content in steps)


def seeds() -> dict[str, list[bytes]]:
    """Target → inputs."""
    stream = b"".join(CALLS)
    deep = dumps({"method": "a.b", "parameters": {"x": [[[[1.5, None, True]]]]}}).encode() + b"\0"
    ring, journal = _ring(), _journal()
    return {
        "address": [b"unix:/run/a", b"tcp:[::1]:80", b"udp:127.0.0.1:53", b"unix-seqpacket:/a"],
        "configuration": [b"\n---\n".join((MACHINE, UNIT, OTHER)), b"\n---\n".join((b"", OTHER))],
        "control": [
            _program((2, bytes(range(8))), (3, b""), (0, b"{"), (3, b""), (6, b""), (0, b"[]\0")),
            _program((4, b""), (2, b"\0\0\0\0"), (3, b""), (7, b""), (3, b""), (5, b""), (3, b"")),
        ],
        "document": [UNIT, MACHINE, b'a = """\n[x]\n"""\n[[b]]\nc = {d = [1,\n2]}\n'],
        "expression": [b"Mon..Fri 03:00", b"*-*-* 00/6:15:00", b"*-02~01", b"Sat *-*-1..7 18:00"],
        "inbox": [b"\x03" + stream, b"\x1e" + deep, b"\x01{}\0[]\0"],
        "journal": [journal, journal[:40], b"AINITJ01" + bytes(12)],
        "json": [b'{"a": [1, 2.5e3, "\\u00e4", null, true]}', b"[[]]", b"-0", b'"\\ud800"'],
        "message": [
            b"READY=1\nSTATUS=up\nMAINPID=77\nWATCHDOG_USEC=1000",
            b"FDSTORE=1\nFDNAME=a:b",
        ],
        "notify": [
            _program((1, b"READY=1\nSTATUS=x"), (0x31, b"FDSTORE=1\nFDNAME=a"), (1, b"WATCHDOG=1")),
            _program((0x10, b"FDSTOREREMOVE=1\nFDNAME=a"), (0x21, b"MAINPID=1\nRELOADING=1")),
        ],
        "ring": [ring, ring[:16], ring[:50]],
        "unit_file": [UNIT, OTHER, AGENT, AGENT + SANDBOX],
    }
