"""A list of what firmware starts no more, as it is published: an authenticated append to ``dbx``.

UEFI specification, sections 8.2.6 (EFI_VARIABLE_AUTHENTICATION_2) and 32.4.1 (signature lists).
Who signed it, the firmware checks. Here it is asked whether it would revoke what this machine
starts with; a kind of revocation that cannot be judged here counts as one. Pure.

    refusal(parse(data), {"the loader": Image(loader)})
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import RefusedError
from .pe import Image

_TIME = 16  # bytes, of the time that it was signed
_SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_OWNER = 16
_LIST = struct.Struct("<16sIII")


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is revoked: SHA-256 of images, certificates (DER), and kinds that are not understood."""

    digests: frozenset[bytes]
    certificates: frozenset[bytes]
    others: frozenset[str]


def parse(data: bytes) -> Revoked:
    """Read an update of ``dbx``. Raises RefusedError when it is none."""
    digests, certificates, others = set(), set(), set()
    try:
        (signed,) = struct.unpack_from("<I", data, _TIME)
        at = _TIME + signed
        if signed < 24 or at > len(data):
            raise RefusedError("the list of revocations has no signature")
        while at < len(data):
            kind, size, header, each = _LIST.unpack_from(data, at)
            first, end = at + _LIST.size + header, at + size
            if each <= _OWNER or end > len(data) or first > end or (end - first) % each:
                raise RefusedError("the list of revocations is damaged")
            for entry in range(first, end, each):
                content = data[entry + _OWNER : entry + each]
                identity = uuid.UUID(bytes_le=kind)
                if identity == _SHA256:
                    digests.add(content)
                elif identity == _X509:
                    certificates.add(content)
                else:
                    others.add(str(identity))
            at = end
    except struct.error as error:
        raise RefusedError("the list of revocations ends within itself") from error
    return Revoked(frozenset(digests), frozenset(certificates), frozenset(others))


def refusal(revoked: Revoked, images: Mapping[str, Image]) -> str:
    """Why this list must not be appended, on a machine that starts with ``images``; or nothing."""
    if revoked.others:
        return f"it revokes in ways that are not known here: {', '.join(sorted(revoked.others))}"
    for name, image in images.items():
        if image.authenticode() in revoked.digests:
            return f"it revokes {name}"
        if any(each in image.certificates for each in revoked.certificates):
            return f"it revokes who signed {name}"
    return ""
