"""The first boot: a blank partition becomes a sealed one, with what the image delivered in it.

What is delivered lies on the boot partition as a file system of the right size, compressed. The
header says that it is unfinished until everything is in place: only then does anybody use it, so a
first boot that was interrupted simply begins anew. A partition that holds anything else is left
alone, whatever it is.
"""

from __future__ import annotations

import gzip
import os

from ..constants import MAPPED, MAPPING, RUNTIME
from ..errors import RefusedError
from ..linux import files, libc
from ..linux.luks import Volume
from . import recovery
from .approval import Approval
from .chip import Chip
from .vault import LABEL, UNFINISHED, Vault

SEED = "ainos/state.seed.gz"
_HEADER_BYTES = 16 << 20
_TAIL_BYTES = 1 << 20
_CHUNK = 1 << 20
_MOUNTPOINT = f"{RUNTIME}/state.new"
_KEY_FILE = "seal/recovery-key"


def is_blank(device: str) -> bool:
    """Whether nothing was ever written where a file system, a volume or an array says its name."""
    with open(device, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _HEADER_BYTES + _TAIL_BYTES:
            return False
        for start, length in ((0, _HEADER_BYTES), (size - _TAIL_BYTES, _TAIL_BYTES)):
            file.seek(start)
            for _ in range(length // _CHUNK):
                if file.read(_CHUNK) != bytes(_CHUNK):
                    return False
    return True


def make(volume: Volume, chip: Chip, approval: Approval, boot: str) -> None:
    """Format, seal, fill, and name it finished. It stays mapped. Raises RefusedError or OSError."""
    seed = f"{boot}/{SEED}"
    if not os.path.exists(seed):
        raise RefusedError(f"the state partition is blank, and {SEED} is not on the boot partition")
    volume.format(UNFINISHED)
    key = recovery.text(os.urandom(recovery.BYTES))
    secret = Vault(volume, chip).begin(key.encode("ascii"), approval)
    volume.activate(MAPPING, secret)
    try:
        fill(seed, MAPPED)
        _leave_key(key)
    except BaseException:
        volume.deactivate(MAPPING)
        raise
    volume.name(LABEL)


def fill(seed: str, device: str) -> None:
    """Unpack a file system onto a device of the same size. Raises RefusedError for another one."""
    with open(device, "r+b", buffering=0) as target, gzip.open(seed) as source:
        size = target.seek(0, os.SEEK_END)
        target.seek(0)
        written = 0
        while chunk := source.read(_CHUNK):
            if written + len(chunk) > size:
                raise RefusedError(f"{SEED} is larger than the {size} bytes that it is for")
            target.write(chunk)
            written += len(chunk)
        os.fsync(target.fileno())


def _leave_key(key: str) -> None:
    """Put the recovery key into the state itself, where its owner fetches it once."""
    os.makedirs(_MOUNTPOINT, exist_ok=True)
    libc.mount(MAPPED, _MOUNTPOINT, "ext4", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    try:
        path = f"{_MOUNTPOINT}/{_KEY_FILE}"
        os.makedirs(os.path.dirname(path), mode=0o700)
        files.replace(path, key.encode("ascii") + b"\n", 0o600)
    finally:
        libc.unmount(_MOUNTPOINT)
        os.rmdir(_MOUNTPOINT)
