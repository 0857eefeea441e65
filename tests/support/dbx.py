"""Updates of ``dbx`` as they are published, signed by nobody."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence

from ainit.ota.pe import Image

SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")


def signature_list(kind: uuid.UUID, contents: Sequence[bytes]) -> bytes:
    """A list of things of one kind and length."""
    each = 16 + len(contents[0])
    head = struct.pack("<16sIII", kind.bytes_le, 28 + each * len(contents), 0, each)
    return head + b"".join(bytes(16) + content for content in contents)


def update(digests: Sequence[bytes] = (), certificates: Sequence[bytes] = ()) -> bytes:
    """An append that revokes these."""
    signature = struct.pack("<IHH16s", 24 + 9, 0x200, 0xEF1, bytes(16)) + b"signature"
    body = signature_list(SHA256, digests) if digests else b""
    for certificate in certificates:
        body += signature_list(X509, [certificate])
    return bytes(16) + signature + body


def digest(data: bytes) -> bytes:
    """What revokes an image."""
    return Image(data).authenticode()
