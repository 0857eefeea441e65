"""EFI variables that the firmware and systemd-boot leave for us."""

from __future__ import annotations

_EFIVARS = "/sys/firmware/efi/efivars"
_LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"


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
