"""Has `inside` run in the peers' root, as a unit of a systemd that is PID 1 of its own namespaces.

found = ask("probes", deadline_s=600)
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from lib.host import REPOSITORY, HostError
from lib.sandboxes import peers
from lib.supervisors import systemd, tree
from lib.supervisors.ground import Ground
from lib.supervisors.peer import Peer, write
from tests.support.probed import USER

CODE = "usr/lib/bench"
SOURCES = ("scripts/lib/__init__.py", "scripts/lib/sandboxes", "tests/support")
RUN = """\
import sys
sys.path[:0] = ["/usr/lib/ainit", "/usr/lib/bench/scripts", "/usr/lib/bench"]
from lib.sandboxes import inside
inside.main(*sys.argv[1:])
"""
RESULT = "result.json"  # in /bench, which is seen outside
UNIT = """\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=PATH=/usr/bin:/usr/sbin
ExecStart=/usr/bin/python3 -I /usr/lib/bench/run.py {what} /bench/result.json {argument}
StandardOutput=append:/bench/output
StandardError=append:/bench/output
TimeoutStartSec=infinity
"""
TARGET = "[Unit]\nDefaultDependencies=no\nWants=bench.service\n"
PAUSE_S = 0.2


def _configured(root: Path, what: str, argument: str) -> None:
    for name in SOURCES:
        source, target = REPOSITORY / name, root / CODE / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored)
        else:
            write(target, source.read_text())
    write(root / CODE / "run.py", RUN)
    folder = root / "etc/systemd/system"
    write(folder / "bench.service", UNIT.format(what=what, argument=argument))
    write(folder / "bench.target", TARGET)
    account = f"{peers.ACCOUNT}:x:{USER}:"
    write(root / "etc/passwd", f"{tree.PASSWD}{account}{USER}::/:/usr/sbin/nologin\n")
    write(root / "etc/group", f"{tree.GROUPS}{account}\n")


def ask(what: str, argument: str = "", deadline_s: float = 900.0) -> Any:
    """What a part of `inside` found. Raises HostError."""
    layers, service = tree.layers(), tree.service()
    peer = Peer(
        "sandboxes",
        lambda root, _: _configured(root, what, argument),
        systemd.PEER.program,
        environment=systemd.PEER.environment,
    )
    end = time.monotonic() + deadline_s
    with Ground(peer, 0, layers, service) as ground:
        result, output = (ground.scratch / "bench" / name for name in (RESULT, "output"))
        while not result.exists():
            ground.find()
            if time.monotonic() > end:
                said = output.read_text(errors="replace") if output.exists() else ground.console()
                raise HostError(f"{what}: no end after {deadline_s:.0f} s: {said[-2000:]}")
            time.sleep(PAUSE_S)
        found = json.loads(result.read_text())
        if isinstance(found, str):
            raise HostError(f"{what}: {found}")
        return found
