"""SHA-256 without OpenSSL: the interpreter's own, under the name that its version has."""

from __future__ import annotations

try:
    import _sha2 as _implementation
except ImportError:  # before Python 3.12
    import _sha256 as _implementation


def sha256(data: bytes | bytearray) -> bytes:
    """The SHA-256 digest of ``data``."""
    return bytes(_implementation.sha256(data).digest())
