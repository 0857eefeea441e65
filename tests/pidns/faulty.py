"""PID 1 of a fault test: ``guest.py``, with faults where the orders in ``DIRECTORY/inject`` say so.

Run like ``guest.py``. Lines are traced only while there is an order or a recording, and only in
functions that hold the line; that is looked at whenever PID 1's loop wakes up, so that an order is
given before what makes PID 1 get there. ``DIRECTORY/mutant`` names a fault of PID 1's own making,
which a sweep must find. See ``orders.py`` for the page that both sides share.
"""

from __future__ import annotations

import mmap
import os
import select
import sys
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

here = os.path.dirname(os.path.abspath(__file__))
repository = os.path.dirname(os.path.dirname(here))
directory = sys.argv[1]
package = repository + "/ainit/"
sys.path.insert(0, repository)

from tests.pidns import orders  # noqa: E402

with open(f"{directory}/inject", "r+b") as _file:
    _memory = mmap.mmap(_file.fileno(), orders.PAGE)
board = orders.Board.from_buffer(_memory)
board.incarnation += 1

try:
    import _testcapi  # type: ignore[import-not-found]
except ImportError:  # a Python without its own tests: allocations do not fail
    _testcapi = None

seen: set[tuple[str, int]] = set()
armed_file = ""
armed_line = 0
lines_of: dict[object, frozenset[int]] = {}


def take() -> Any:
    """Take the next order off."""
    order = board.orders[board.head]
    board.head += 1
    order.incarnation = board.incarnation
    order.status = orders.FIRED
    return order


def record(frame: FrameType, event: str, argument: Any) -> Any:
    """Write a line down when it is reached first, for an exec may follow; and strike there."""
    if event == "line" and board.mode == orders.RECORD:
        line = (frame.f_code.co_filename, frame.f_lineno)
        if line not in seen:
            seen.add(line)
            file = os.open(f"{directory}/lines", os.O_WRONLY | os.O_APPEND)  # PID 1 closes others'
            os.write(file, f"{line[0][len(package) :]}:{line[1]}\n".encode())
            os.close(file)
    strike(frame, event, argument)
    return record


def strike(frame: FrameType, event: str, argument: Any) -> Any:
    """At the line of the next order, do what it says."""
    here = frame.f_lineno == armed_line and frame.f_code.co_filename == armed_file
    if event != "line" or not here or board.head >= board.count:
        return strike
    order = take()
    arm()
    if order.kind == orders.NO_MEMORY:
        starvation.begin(order)
        return None
    what = orders.AT_LINE[order.what]
    if what in orders.SIGNALS:
        os.kill(os.getpid(), orders.signal_of(what))  # does not return, once PID 1 looks out for it
        return strike
    raise orders.EXCEPTIONS[what]()  # noqa: RSE102 - some are functions


def enter_recording(frame: FrameType, event: str, argument: Any) -> Any:
    return record if frame.f_code.co_filename.startswith(package) else None


def enter(frame: FrameType, event: str, argument: Any) -> Any:
    """Trace the lines of a function only if the armed one is among them."""
    code = frame.f_code
    if code.co_filename != armed_file:
        return None
    lines = lines_of.get(code)
    if lines is None:
        lines = lines_of[code] = frozenset(line for _, _, line in code.co_lines() if line)
    return strike if armed_line in lines else None


def arm() -> None:
    """See that the next order, or a recording, is carried out."""
    global armed_file, armed_line
    armed_file, armed_line = "", 0
    if board.head < board.count:
        order = board.orders[board.head]
        armed_file, armed_line = package + order.file.decode(), order.line
    if board.mode == orders.RECORD:
        follow(enter_recording)
    elif armed_line:
        follow(enter)
    elif sys.gettrace() is not None:
        sys.settrace(None)


def follow(entry: Any) -> None:
    """Trace from now on, the functions that have begun included."""
    sys.settrace(entry)
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        frame.f_trace = entry(frame, "call", None)
        frame = frame.f_back


class Starvation:
    """Allocations that fail, for so many turns of the loop."""

    turns = 0
    order: Any = None

    def begin(self, order: Any) -> None:
        self.turns, self.order = order.turns, order
        _testcapi.set_nomemory(order.what, order.what + 1 if order.flags & orders.ONCE else 0)

    def turn(self) -> None:
        """Before the loop waits: is it over? If allocations still succeed, there were too few."""
        self.turns -= 1
        if self.turns == 0:
            bytearray(10_000)  # raises when the order was carried out
            _testcapi.remove_mem_hooks()
            if not self.order.flags & orders.ONCE:
                self.order.status = orders.MISSED


starvation = Starvation()


class Epoll:
    """``select.epoll``, except that it looks for orders when the main loop wakes up."""

    waited = False
    kind = select.epoll

    def __init__(self) -> None:
        real = self.kind()
        self._poll = real.poll
        self.register, self.modify, self.unregister = real.register, real.modify, real.unregister
        self.fileno = real.fileno

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        if timeout == 0:  # somebody within a turn
            return self._poll(timeout, most)
        if not Epoll.waited:
            Epoll.waited = True
            board.taken += 1
            skip()
        if starvation.turns:
            starvation.turn()
        found = self._poll(timeout, most)
        if board.head < board.count or board.mode or armed_line:
            arm()
        return found


def skip() -> None:
    """PID 1 has taken up: orders that were for before that are missed."""
    while board.head < board.count and board.orders[board.head].flags & orders.AT_RESUME:
        board.orders[board.head].status = orders.MISSED
        board.head += 1
    arm()


def journal_after_spawn() -> None:
    """PID 1 forgets what it intends: a spawn is in the journal only once it is done."""
    from ainit.pid1.journal import Journal

    def intend(self, record) -> None:  # type: ignore[no-untyped-def]
        self.cell.value = 0

    Journal.intend = intend  # type: ignore[method-assign]


MUTANTS = {"journal-after-spawn": journal_after_spawn}

select.epoll = Epoll  # type: ignore[assignment, misc]
path = os.path.join(here, "guest.py")
with open(path, encoding="utf-8") as source:
    code = compile(source.read(), path, "exec")


def again() -> None:
    """As /usr/sbin/init does it."""
    argv = [text for text in sys.orig_argv if not text.startswith("--fault=")]
    os.execv(argv[0], [*argv, "--fault=import 1"])


def run() -> None:
    """As /usr/sbin/init does it. Short, for in a long function an exception without memory hangs
    the interpreter (it has to remember a place that is no small integer).
    """
    try:
        exec(code, {"__name__": "__main__", "__file__": path})
    finally:
        again()


arm()
if os.path.exists(f"{directory}/mutant"):
    with open(f"{directory}/mutant") as file:
        MUTANTS[file.read()]()
run()
