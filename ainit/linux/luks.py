"""LUKS2 volumes through libcryptsetup: format, key slots, tokens, activation.

The library does it all; nothing of the header is read or written here. Its messages become the text
of the error. Only children use this: PID 1 does not load the library.

    with Volume("/dev/vda6") as volume:
        volume.load()
        volume.activate("state", secret)
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Self

from ..errors import RefusedError, UnavailableError
from ..wire.codec import dumps, loads

_LIBRARY = "libcryptsetup.so.12"
_TYPE = b"LUKS2"
CIPHER = (b"aes", b"xts-plain64")
_KEY_BYTES = 64  # two keys of AES-256
_SECTOR_BYTES = 4096
_ANY = -1  # a slot
_TOKENS = 32
_SLOTS = range(32)
_SLOT_HELD = (2, 3, 4)  # crypt_keyslot_status: active, the last active one, unbound
_NO_BENCHMARK = 1 << 1
_TOKEN_INVALID = 0  # crypt_token_info: what else there is, is set
_LOG_ERROR = 1


class LuksError(UnavailableError):
    """libcryptsetup says no."""


class _Kdf(ctypes.Structure):
    _fields_ = (
        ("type", c_char_p),
        ("hash", c_char_p),
        ("time_ms", c_uint32),
        ("iterations", c_uint32),
        ("max_memory_kb", c_uint32),
        ("parallel_threads", c_uint32),
        ("flags", c_uint32),
    )


class _Luks2(ctypes.Structure):
    _fields_ = (
        ("pbkdf", POINTER(_Kdf)),
        ("integrity", c_char_p),
        ("integrity_params", c_void_p),
        ("data_alignment", c_size_t),
        ("data_device", c_char_p),
        ("sector_size", c_uint32),
        ("label", c_char_p),
        ("subsystem", c_char_p),
    )


# Every secret here is random, of 256 bits: nothing is gained by stretching it, so this is the least
# that the library takes.
_KDF = _Kdf(b"pbkdf2", b"sha256", 0, 1000, 0, 0, _NO_BENCHMARK)
_LOG = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise LuksError(f"{_LIBRARY} cannot be loaded: {error}") from error
    for name in ("crypt_get_label", "crypt_get_uuid"):
        getattr(library, name).restype = c_char_p
    library.crypt_get_data_offset.restype = ctypes.c_uint64
    return library


class Volume:
    """One device or file with a LUKS2 header, or to be given one. Raises LuksError."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._calls = _library()
        self._calls.crypt_token_external_disable()
        self._said: list[str] = []
        self._log = _LOG(self._note)
        self._handle = self._begun()

    def _begun(self) -> c_void_p:
        handle = c_void_p()
        self._check(self._calls.crypt_init(byref(handle), self._device.encode()), "crypt_init")
        self._calls.crypt_set_log_callback(handle, self._log, None)
        return handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.crypt_free(self._handle)

    def load(self) -> None:
        """Read the header. Raises LuksError when there is none."""
        self._call("crypt_load", _TYPE, None)

    @property
    def label(self) -> str:
        """What the header is called."""
        return (self._calls.crypt_get_label(self._handle) or b"").decode("utf-8", "replace")

    @property
    def data_offset(self) -> int:
        """Where the data begins, in bytes."""
        return int(self._calls.crypt_get_data_offset(self._handle)) * 512

    def name(self, label: str) -> None:
        """Give the header a label, which is as good as written when this returns."""
        self._call("crypt_set_label", label.encode(), b"")

    def format(self, label: str) -> None:
        """Write a new header. What was there is lost: the caller knows that nothing was."""
        self._calls.crypt_free(self._handle)  # one that has read a header writes no other
        self._handle = c_void_p()
        self._handle = self._begun()
        parameters = _Luks2(
            ctypes.pointer(_KDF), None, None, 0, None, _SECTOR_BYTES, label.encode(), None
        )
        cipher, mode = CIPHER
        key = (None, c_size_t(_KEY_BYTES))  # the library draws it
        self._call("crypt_format", _TYPE, cipher, mode, None, *key, byref(parameters))

    def add_first(self, secret: bytes) -> int:
        """The first slot of a header that was written just now."""
        self._call("crypt_set_pbkdf_type", byref(_KDF))
        arguments = (_ANY, None, c_size_t(0), secret, c_size_t(len(secret)))
        return self._call("crypt_keyslot_add_by_volume_key", *arguments)

    def add(self, known: bytes, secret: bytes) -> int:
        """One more slot. Raises RefusedError when ``known`` opens none."""
        self._call("crypt_set_pbkdf_type", byref(_KDF))
        pairs = (known, c_size_t(len(known)), secret, c_size_t(len(secret)))
        return self._with_secret("crypt_keyslot_add_by_passphrase", _ANY, *pairs)

    def drop(self, slot: int) -> None:
        """Destroy a slot."""
        self._call("crypt_keyslot_destroy", slot)

    def slots(self) -> list[int]:
        """The slots that hold a key."""
        states = ((slot, self._calls.crypt_keyslot_status(self._handle, slot)) for slot in _SLOTS)
        return [slot for slot, state in states if state in _SLOT_HELD]

    def slot_of(self, secret: bytes) -> int:
        """The slot that a secret opens. Raises RefusedError when it opens none."""
        return self._open(None, secret)

    def activate(self, name: str, secret: bytes) -> int:
        """Make /dev/mapper/NAME. Raises RefusedError for a wrong secret. Returns the slot."""
        return self._open(name.encode(), secret)

    def deactivate(self, name: str) -> None:
        """Take /dev/mapper/NAME away."""
        self._call("crypt_deactivate", name.encode())

    def _open(self, name: bytes | None, secret: bytes) -> int:
        arguments = (name, _ANY, secret, c_size_t(len(secret)), c_uint32(0))
        return self._with_secret("crypt_activate_by_passphrase", *arguments)

    # Tokens: JSON objects in the header.

    def tokens(self, kind: str) -> Iterator[tuple[int, Mapping[str, object]]]:
        """Those of a type, by number."""
        for number in range(_TOKENS):
            if self._calls.crypt_token_status(self._handle, number, None) == _TOKEN_INVALID:
                continue
            text = c_char_p()
            if self._calls.crypt_token_json_get(self._handle, number, byref(text)) < 0:
                continue
            try:
                record = loads(text.value or b"")
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("type") == kind:
                yield number, record

    def add_token(self, kind: str, slot: int, record: Mapping[str, object]) -> int:
        """Write one for a slot; returns its number."""
        token = {"type": kind, "keyslots": [str(slot)], **record}
        return self._call("crypt_token_json_set", _ANY, dumps(token).encode())

    def drop_token(self, number: int) -> None:
        """Remove one."""
        self._call("crypt_token_json_set", number, None)

    # How calls end.

    def _note(self, level: int, text: bytes | None, _: object) -> None:
        if level == _LOG_ERROR and text:
            self._said.append(text.decode("utf-8", "replace").strip())

    def _call(self, name: str, *arguments: object) -> int:
        self._said.clear()
        return self._check(int(getattr(self._calls, name)(self._handle, *arguments)), name)

    def _with_secret(self, name: str, *arguments: object) -> int:
        self._said.clear()
        result = int(getattr(self._calls, name)(self._handle, *arguments))
        if result in (-errno.EPERM, -errno.ENOENT):
            raise RefusedError("this key opens nothing here")
        return self._check(result, name)

    def _check(self, result: int, name: str) -> int:
        if result >= 0:
            return result
        why = " ".join(self._said) or os.strerror(-result)
        raise LuksError(f"{self._device}: {name}: {why}")
