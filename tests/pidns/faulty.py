"""PID 1 of a fault test: ``guest.py`` under a trace function that raises where it is told to.

Run like ``guest.py``. What to do stands in 64 bytes of shared memory, ``DIRECTORY/inject``: one order
at a time, which is taken off before it is carried out, so that PID 1 finds it once, also when it is
the next incarnation that gets there. See ``Injector`` in ``sweep.py`` for the other side.
"""

import errno
import marshal
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
directory = sys.argv[1]
package = os.path.dirname(os.path.dirname(here)) + "/ainit/"

import ctypes  # noqa: E402

IDLE, RAISE, RECORD, DUMP, NO_MEMORY = range(5)
EXCEPTIONS = (
    lambda: MemoryError(),
    lambda: OSError(errno.EMFILE, "too many open files"),
    lambda: OSError(errno.ENOMEM, "out of memory"),
    lambda: RuntimeError("injected"),
    lambda: KeyboardInterrupt(),
    lambda: SystemExit(3),
    lambda: RecursionError("injected"),
    lambda: KeyError("injected"),
    lambda: ValueError("injected"),
    lambda: OSError(errno.EIO, "input/output error"),
    lambda: UnicodeError("injected"),
    lambda: GeneratorExit(),
)


class Order(ctypes.Structure):
    """What the two sides share. ``fired`` counts what was raised."""

    _fields_ = [
        ("mode", ctypes.c_int32),
        ("line", ctypes.c_int32),
        ("exception", ctypes.c_int32),
        ("fired", ctypes.c_int32),
        ("file", ctypes.c_char * 48),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
_file = os.open(f"{directory}/inject", os.O_RDWR | os.O_CLOEXEC)
order = Order.from_address(_libc.mmap(None, 4096, 3, 1, _file, 0))
os.close(_file)
seen: set[tuple[str, int]] = set()


def on_line(frame, event, argument):  # type: ignore[no-untyped-def]
    mode = order.mode
    if mode == IDLE or event != "line":
        return on_line
    name = frame.f_code.co_filename[len(package) :]
    if mode == RAISE:
        if frame.f_lineno == order.line and name.encode() == order.file:
            order.mode = IDLE
            order.fired += 1
            raise EXCEPTIONS[order.exception]()
    elif mode == RECORD:
        seen.add((name, frame.f_lineno))
    elif mode == DUMP:
        order.mode = IDLE
        with open(f"{directory}/lines.new", "wb") as file:
            marshal.dump(sorted(seen), file)
        os.rename(f"{directory}/lines.new", f"{directory}/lines")
        seen.clear()
    elif mode == NO_MEMORY and name == order.file.decode() and frame.f_lineno >= order.exception:
        order.mode = IDLE
        order.fired += 1
        import _testcapi

        _testcapi.set_nomemory(order.line, 0)
    return on_line


def on_call(frame, event, argument):  # type: ignore[no-untyped-def]
    return on_line if frame.f_code.co_filename.startswith(package) else None


path = os.path.join(here, "guest.py")
with open(path, encoding="utf-8") as source:
    code = compile(source.read(), path, "exec")
sys.settrace(on_call)
try:
    exec(code, {"__name__": "__main__", "__file__": path})
finally:  # as /usr/sbin/init does it
    argv = [text for text in sys.orig_argv if not text.startswith("--fault=")]
    os.execv(argv[0], [*argv, "--fault=import 1"])
