"""A TPM's key in a file: ``TSS2 PRIVATE KEY``, as OpenSSL's provider (tpm2-openssl) reads it.

The form is ASN.1 (draft-bottomley-tpm2-keys): type, that no password is asked for, parent, public
and private area. The private area is encrypted by the TPM for itself.

>>> parse(pem(b"public", b"private"))
(b'public', b'private')
"""

from __future__ import annotations

import base64

from .tpms import MalformedError, Reader

_BEGIN, _END = "-----BEGIN TSS2 PRIVATE KEY-----", "-----END TSS2 PRIVATE KEY-----"
_LOADABLE = bytes.fromhex("0606678105 0a0103")  # 2.23.133.10.1.3
_EMPTY_PASSWORD = bytes.fromhex("a003 0101ff")
_OWNER = bytes.fromhex("0204 40000001")  # the parent: the storage key of the owner's hierarchy
SEQUENCE, OCTETS, BITS = 0x30, 0x04, 0x03


def element(tag: int, *contents: bytes) -> bytes:
    """A DER element of less than 64 KiB."""
    body = b"".join(contents)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    width = 1 if size < 0x100 else 2
    return bytes((tag, 0x80 | width)) + size.to_bytes(width, "big") + body


def pem(public: bytes, private: bytes) -> str:
    """The text of a key with these areas (TPM2B_PUBLIC, TPM2B_PRIVATE)."""
    areas = element(OCTETS, public) + element(OCTETS, private)
    text = base64.b64encode(element(SEQUENCE, _LOADABLE, _EMPTY_PASSWORD, _OWNER, areas)).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((_BEGIN, *lines, _END, ""))


def parse(text: str) -> tuple[bytes, bytes]:
    """Public and private area of the key in a text written by ``pem``. Raises MalformedError."""
    _, found, rest = text.partition(_BEGIN)
    try:
        der = base64.b64decode("".join(rest.partition(_END)[0].split()), validate=True)
    except ValueError as error:
        raise MalformedError("the key: not base64") from error
    if not found:
        raise MalformedError("there is no key of a TPM")
    reader = Reader(der, "the key")
    body = Reader(_taken(reader, SEQUENCE), "the key")
    head = _LOADABLE + _EMPTY_PASSWORD + _OWNER
    if body.take(len(head)) != head:
        raise MalformedError("the key is of another kind, or has another parent")
    areas = _taken(body, OCTETS), _taken(body, OCTETS)
    body.done()
    reader.done()
    return areas


def _taken(reader: Reader, tag: int) -> bytes:
    reader.expect(1, tag, "tag")
    size = reader.number(1)
    return reader.take(reader.number(size & 0x7F) if size & 0x80 else size)
