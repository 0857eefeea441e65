"""The build host: where things lie, how commands are run, how files are published.

Everything that is written lies under ``build/``, which git ignores. A command that fails is an
error that holds the command line ready to paste and the end of what it printed.

    run(["mkfs.erofs", str(out), str(tree)])
    with published(path) as temporary:
        temporary.write_bytes(data)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
CACHE = BUILD / "cache"
VENV = BUILD / "venv"
KEYS = BUILD / "keys"
TAIL_LINES = 30


class HostError(Exception):
    """The build cannot go on; the message says why and what to do."""


class CommandError(HostError):
    """A command failed, or did not end in time."""

    def __init__(self, command: Sequence[str], reason: str, output: str = "") -> None:
        tail = "\n".join(output.rstrip().splitlines()[-TAIL_LINES:])
        super().__init__(f"{reason}:\n  {shlex.join(command)}" + (f"\n{tail}" if tail else ""))
        self.command = tuple(command)
        self.output = output


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    input_text: str | None = None,
) -> str:
    """Run a command to its end and return what it wrote on standard output.

    ``env`` is added to the caller's environment; ``timeout`` is in seconds. Raises CommandError.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        hint = f"{error.filename} is not there; `scripts/setup run` installs what is missing"
        raise CommandError(command, hint) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, f"no end after {timeout:.0f} s") from error
    if done.returncode:
        raise CommandError(command, f"exit status {done.returncode}", done.stdout + done.stderr)
    return done.stdout


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(0o644)
        yield temporary
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def published_tree(path: Path) -> Iterator[Path]:
    """Give a temporary directory beside ``path`` that takes its name when the block ends well.

    A directory that is already there is replaced. An interrupted build leaves nothing under
    ``path``; what it left beside it goes with the next one, so callers hold `exclusive`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            path.rename(old / path.name)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock ``build/<name>.lock``: two scripts never build the same thing at once."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another {name} build in this checkout", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def script_main(main: Callable[[list[str]], int]) -> None:
    """Run a script's ``main`` and turn its errors into one message and exit status 1.

    A terminal that closes and a polite order to end unwind the script, so what it holds is undone.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(main(sys.argv[1:]))
    except HostError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
