"""EFI variables: those that firmware and systemd-boot leave for us, and one to append to."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

_EFIVARS = "/sys/firmware/efi/efivars"
_LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
# Non-volatile, for boot and runtime services, authenticated by time, appended to.
_APPENDED = 0x67
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10  # linux/fs.h


def _variable(name: str, vendor: str) -> bytes:
    """The value without its four bytes of attributes; empty when there is none."""
    try:
        with open(f"{_EFIVARS}/{name}-{vendor}", "rb") as file:
            return file.read()[4:]
    except OSError:
        return b""


def loader_text(name: str) -> str:
    """A string variable of the Boot Loader Interface, such as ``LoaderDevicePartUUID``."""
    return _variable(name, _LOADER).decode("utf-16-le", "replace").rstrip("\0")


def loader_seconds(name: str) -> float | None:
    """A time variable of the Boot Loader Interface (``LoaderTimeInitUSec``) in seconds."""
    try:
        return int(loader_text(name)) / 1e6
    except ValueError:
        return None


def secure_boot() -> str:
    """``on``, ``off``, or ``unknown`` when the machine was not started by UEFI."""
    value = _variable("SecureBoot", _GLOBAL)
    return "unknown" if not value else "on" if value[0] == 1 else "off"


def append_revocations(data: bytes) -> None:
    """Append a signed list to what the firmware starts no more (``dbx``). The firmware checks who
    signed it. Raises OSError when it takes it not.
    """
    path = f"{_EFIVARS}/dbx-{_SECURITY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    _unlock(path)
    descriptor = os.open(path, flags, 0o644)
    try:
        os.write(descriptor, _APPENDED.to_bytes(4, "little") + data)  # all of it in one call
    finally:
        os.close(descriptor)


def _unlock(path: str) -> None:
    """Let a variable be written: the kernel has those that it does not know immutable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        now = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)), sys.byteorder)
        if now & _IMMUTABLE:
            fcntl.ioctl(descriptor, _SET_FLAGS, (now & ~_IMMUTABLE).to_bytes(8, sys.byteorder))
    except OSError as error:
        if error.errno != errno.ENOTTY:  # no such flags, so none that is in the way
            raise
    finally:
        os.close(descriptor)
