"""A state partition that is not to be mounted as it is: a child opens it, with the TPM.

PID 1 looks at the first bytes only. A LUKS2 header, or nothing at all, is the child's business;
what holds anything else is mounted as it is.
"""

from __future__ import annotations

from .. import constants
from ..linux import kmsg
from . import errand

_MAGIC = b"LUKS\xba\xbe"
_PROBE_BYTES = 4096
_SECONDS = 300.0  # of which a first boot takes some; to open takes one or two
_ENVIRONMENT = {
    "PATH": "/usr/bin",
    "CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1",
    "DM_DISABLE_UDEV": "1",  # there is no udevd to wait for
}


def concerns(device: str) -> bool:
    """Whether the partition is a volume, or blank."""
    try:
        with open(device, "rb") as file:
            head = file.read(_PROBE_BYTES)
    except OSError:
        return False  # mounting it will say why
    return head.startswith(_MAGIC) or head == bytes(_PROBE_BYTES)


def unlock(device: str) -> str:
    """Open it as ``constants.MAPPED``; returns why not, or nothing."""
    argv = ["/usr/bin/python3", "-I", "-m", "ainit.seal", "unlock", device]
    status, said = errand.run(argv, _ENVIRONMENT, _SECONDS)
    if status == -1:
        return f"{device} was not opened in {_SECONDS:g} s"
    if status:
        reason = said.replace("\n", "; ") or "what was to open it died"
        return f"{device} stays closed: {reason}; `ainitctl seal` says more"
    for line in said.splitlines():
        kmsg.log(f"{constants.MAPPED}: {line}")
    return ""
