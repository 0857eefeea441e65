"""What a peer says of itself: how it is configured, how it is started, what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

SERVICE = "/bench/service"
# What starts it, with the same arguments: a shell script, or the very program (`Ground`).
START = "/bench/start"
RECORDS = "/bench/records"


@dataclass(frozen=True, slots=True)
class Peer:
    """One supervisor.

    ``configure(root, count)`` writes its configuration for so many services into a directory that
    is laid over the common root; ``program`` becomes PID 1. ``done``: it starts a last unit once it
    knows that all others are ready. ``control(pid)`` gives a small call of its control socket, for
    PID 1 with that pid on the host, and ``reexec(pid)`` lets it execute itself anew and returns
    once it answers again; ``fault(pid)`` does so after a fatal signal.
    """

    name: str
    configure: Callable[[Path, int], None]
    program: tuple[str, ...]
    package: str = ""
    note: str = ""
    done: bool = False
    restarts: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    control: Callable[[int], AbstractContextManager[Callable[[], None]]] | None = None
    reexec: Callable[[int], None] | None = None
    fault: Callable[[int], None] | None = None


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of a configuration, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
