"""Calls of C functions, by the compiled half of ctypes alone.

``import ctypes`` makes some forty classes that PID 1 has no use for; that was a quarter of what its
modules cost. Leaves out structures: `struct` packs them. Every function is looked up when its
module is imported, so that one that is missing is known at once.

>>> absolute = function("abs", (Int,))
>>> absolute(-3)
3
"""

from __future__ import annotations

from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Number = _SimpleCData[int]
    _Bytes = _SimpleCData[bytes]
else:
    _Number = _Bytes = _SimpleCData

__all__ = (
    "Char", "Int", "Long", "Pointer", "Text", "Unsigned", "UnsignedLong",
    "address_of", "addressof", "function", "get_errno", "held", "numbers", "open_library",
)  # fmt: skip


class Int(_Number):
    """``int``; the result of a function that has no other."""

    _type_ = "i"


class Unsigned(_Number):
    """``unsigned int``."""

    _type_ = "I"


class Long(_Number):
    """``long``."""

    _type_ = "l"


class UnsignedLong(_Number):
    """``unsigned long`` and ``size_t``."""

    _type_ = "L"


class Char(_Bytes):
    """``char``."""

    _type_ = "c"


class Text(_Bytes):
    """``const char *``: bytes, or None for a null pointer."""

    _type_ = "z"


class Pointer(_Number):
    """``void *``: an address, bytes, or None; as a result, None is a null pointer."""

    _type_ = "P"


class _Function(CFuncPtr):
    """Lets go of the interpreter lock, and keeps errno for `get_errno`."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Int


class _Held(CFuncPtr):
    """Keeps the interpreter lock."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI
    _restype_ = Int


def open_library(path: str) -> int:
    """A handle to a library. Raises OSError."""
    return dlopen(path, 0)


# What this process is linked with. typeshed does not know that None stands for it.
_PROCESS = dlopen(None, 0)  # type: ignore[arg-type]


def function(name: str, arguments: tuple[type, ...], result: type = Int) -> Any:
    """A function of the C library. Raises OSError when there is none of this name."""
    found = _Function(dlsym(_PROCESS, name))
    found.argtypes = arguments
    if result is not Int:
        found.restype = result
    return found


def held(library: int, name: str, arguments: tuple[type, ...], result: type | None = Int) -> Any:
    """A function of a library of ours, during which nothing else runs. Raises OSError."""
    found = _Held(dlsym(library, name))
    found.argtypes = arguments
    if result is not Int:
        found.restype = result
    return found


def address_of(library: int, name: str) -> int:
    """The address of a variable of a library. Raises OSError when there is none of this name."""
    return dlsym(library, name)


def numbers(library: int, name: str, count: int) -> list[int]:
    """The values of an array of ``long``. Raises OSError when there is none of this name."""
    address = dlsym(library, name)
    return [Long.from_address(address + 8 * number).value for number in range(count)]
