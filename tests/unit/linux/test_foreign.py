"""Calls of C functions, checked against the C library and against ctypes itself."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ainit.linux import foreign, native
from ainit.linux.foreign import Char, Int, Long, Pointer, Text, Unsigned, UnsignedLong

ROOT = Path(__file__).resolve().parents[3]


def test_arguments_and_results_are_pythons() -> None:
    assert foreign.function("abs", (Int,))(-3) == 3
    assert foreign.function("labs", (Long,), Long)(-(1 << 40)) == 1 << 40
    assert foreign.function("strlen", (Text,), UnsignedLong)(b"four") == 4
    assert foreign.function("strlen", (Pointer,), UnsignedLong)(b"five5") == 5
    assert foreign.function("getenv", (Text,), Pointer)(b"NO_SUCH_VARIABLE") is None


def test_errno_is_that_of_the_call() -> None:
    assert foreign.function("close", (Int,))(-1) == -1
    assert foreign.get_errno() == errno.EBADF


def test_what_is_no_argument_is_refused() -> None:
    absolute = foreign.function("abs", (Int,))
    with pytest.raises(Exception, match="argument 1"):
        absolute("three")
    with pytest.raises(TypeError, match="at least 1 argument"):
        absolute()


def test_what_is_missing_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no_such_function"):
        foreign.function("no_such_function", ())
    with pytest.raises(OSError, match=r"none\.so"):
        foreign.open_library(str(tmp_path / "none.so"))
    library = foreign.open_library(native.LIBRARY)
    with pytest.raises(OSError, match="no_such_call"):
        foreign.held(library, "no_such_call", ())
    with pytest.raises(OSError, match="no_such_array"):
        foreign.numbers(library, "no_such_array", 1)


def test_memory_is_shared() -> None:
    memory = bytearray(b"text\0")
    character = Char.from_buffer(memory)
    assert foreign.function("strlen", (Pointer,), UnsignedLong)(foreign.addressof(character)) == 4
    word = ctypes.c_int(7)
    Int.from_address(ctypes.addressof(word)).value = 8
    assert word.value == 8


def test_types_have_the_sizes_of_the_processor() -> None:
    sizes: dict[Any, Any] = {
        Int: ctypes.c_int,
        Unsigned: ctypes.c_uint,
        Long: ctypes.c_long,
        UnsignedLong: ctypes.c_ulong,
        Char: ctypes.c_char,
        Text: ctypes.c_char_p,
        Pointer: ctypes.c_void_p,
    }
    for ours, theirs in sizes.items():
        assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)


def test_ctypes_proper_is_not_imported() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import ainit.linux.native; "
        "print('ctypes' in sys.modules)"
    )
    command = ["/usr/bin/python3", "-I", "-S", "-B", "-c", code]
    environment = {"PATH": os.defpath}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
