"""Accepts operators: TCP, then TLS, then one conversation each, in a thread of its own.

A stranger costs little: strangers have few seconds and few places, and who has said nothing yet
makes room first. The machine signs a handshake before it knows the client, with a TPM that is slow,
so handshakes are counted out: those of one address, so that a flood from there delays nobody else,
and all of them. Some places are kept for admins, and nobody has more than a few.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from ..errors import WireError
from ..policy import access
from ..policy.remote import Operator
from .conversation import Conversation
from .operators import Operators

STRANGERS = 32
OPERATORS = 16
KEPT_FOR_ADMINS = 4
OF_ONE_OPERATOR = 6
HANDSHAKE_SECONDS = 10.0
HANDSHAKES = (20.0, 5.0)  # at once, and a second after that
HANDSHAKES_OF_ONE = (8.0, 1.0)  # from one address
_ADDRESSES = 1024  # that are remembered
_PAUSE_SECONDS = 0.1


class Allowance:
    """So many at once, so many a second after that; ``clock`` in seconds."""

    def __init__(
        self, most: float, each_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._rate = each_second
        self._clock = clock
        self._left = most
        self._at = clock()

    def give_back(self) -> None:
        """One was not used up after all."""
        self._left = min(self._most, self._left + 1.0)

    def take(self) -> bool:
        """Whether there is one left; it is gone then."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class _Strangers:
    """Connections whose owners are not known yet, the oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent: dict[int, ssl.SSLSocket] = {}
        self._speaking: dict[int, ssl.SSLSocket] = {}
        self._of_one: dict[str, Allowance] = {}
        self._all = Allowance(*HANDSHAKES)

    def add(self, channel: ssl.SSLSocket) -> None:
        """One more; another makes room for it if it has to."""
        with self._lock:
            if len(self._silent) + len(self._speaking) >= STRANGERS:
                crowd = self._silent or self._speaking
                _cut(crowd.pop(next(iter(crowd))))  # its thread ends by that
            self._silent[id(channel)] = channel

    def spoke(self, channel: ssl.SSLSocket) -> None:
        """It has said something."""
        with self._lock:
            if self._silent.pop(id(channel), None) is not None:
                self._speaking[id(channel)] = channel

    def remove(self, channel: ssl.SSLSocket) -> None:
        """It is known, or gone."""
        with self._lock:
            self._silent.pop(id(channel), None)
            self._speaking.pop(id(channel), None)

    def may_begin(self, host: str) -> bool:
        """Whether there is a handshake left for this address, and for anybody."""
        with self._lock:
            own = self._of_one.pop(host, None) or Allowance(*HANDSHAKES_OF_ONE)
            self._of_one[host] = own
            if len(self._of_one) > _ADDRESSES:
                del self._of_one[next(iter(self._of_one))]
            if not own.take():
                return False
            if not self._all.take():
                own.give_back()
                return False
            return True

    def was_known(self, host: str) -> None:
        """It was an operator: his handshakes count for nothing."""
        with self._lock:
            self._all.give_back()
            if host in self._of_one:
                self._of_one[host].give_back()


class Gateway:
    """Serves ``listener`` until it is closed. ``connect`` gives a connection to the control socket;
    ``note`` is told, in a line, who comes, what is changed, and what is wrong.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        operators: Operators,
        connect: Callable[[], socket.socket],
        note: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self._listener = listener
        self._context = context
        self._operators = operators
        self._connect = connect
        self._note = note
        self._strangers = _Strangers()
        self._lock = threading.Lock()
        self._here: Counter[str] = Counter()

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                channel, address = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                time.sleep(_PAUSE_SECONDS)  # no descriptors: some will be free again
                continue
            self.take(channel, *(address or ("?", 0))[:2])

    def take(self, channel: socket.socket, host: str, port: int) -> None:
        """Give a connection its thread."""
        channel.settimeout(HANDSHAKE_SECONDS)
        try:
            _watch(channel)
            stranger = self._context.wrap_socket(
                channel, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            channel.close()  # it is gone again
            return
        self._strangers.add(stranger)
        thread = threading.Thread(target=self._run, args=(stranger, host, port), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._strangers.remove(stranger)
            stranger.close()

    def _run(self, channel: ssl.SSLSocket, host: str, port: int) -> None:
        try:
            with channel:
                operator = self._who(channel, host)
                if operator is not None:
                    self._let(channel, operator, f"{host}:{port}")
        except ssl.SSLCertVerificationError as error:
            self._note(f"{host}: {error.verify_message}")
        except (OSError, WireError):
            pass  # it is the client's connection; what matters was said
        except Exception as fault:  # noqa: BLE001 - no client may end the service
            print(f"fault with {host}: {fault!r}", file=sys.stderr, flush=True)

    def _who(self, channel: ssl.SSLSocket, host: str) -> Operator | None:
        """Shake hands, in bounded time, and see whose certificate that is. Raises OSError."""
        until = time.monotonic() + HANDSHAKE_SECONDS
        alarm = threading.Timer(HANDSHAKE_SECONDS, _cut, (channel,))
        alarm.daemon = True
        alarm.start()
        try:
            if not self._wait_turn(channel, host, until):
                return None
            channel.do_handshake()
        finally:
            alarm.cancel()
            self._strangers.remove(channel)
        operator = self._operators.who(channel.getpeercert(binary_form=True))
        if operator is None:
            self._note(f"{host}: a certificate of nobody")
        else:
            self._strangers.was_known(host)
        return operator

    def _wait_turn(self, channel: ssl.SSLSocket, host: str, until: float) -> bool:
        """Wait until the stranger speaks, and until a handshake is left for him."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        if not poll.poll(HANDSHAKE_SECONDS * 1000):
            return False
        if not socket.socket.recv(channel, 1, socket.MSG_PEEK):
            return False  # it is gone, or made room
        self._strangers.spoke(channel)
        while not self._strangers.may_begin(host):
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_SECONDS)
        return True

    def _let(self, channel: ssl.SSLSocket, operator: Operator, address: str) -> None:
        name, role = operator.name, operator.role
        with self._lock:
            most = OPERATORS if role == access.ADMIN else OPERATORS - KEPT_FOR_ADMINS
            is_full = self._here.total() >= most or self._here[name] >= OF_ONE_OPERATOR
            self._here[name] += not is_full
        if is_full:
            self._note(f"{name} from {address}: too many are here already")
            return
        self._note(f"{name} ({role}) from {address}")
        try:
            with self._connect() as control:
                Conversation(channel, control, operator, self._note).carry()
        finally:
            with self._lock:
                self._here[name] -= 1


def _watch(channel: socket.socket) -> None:
    """Have the kernel notice that the other side has gone without a word."""
    if channel.family != socket.AF_UNIX:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _cut(channel: socket.socket) -> None:
    """End a connection that another thread uses. Of TLS's own ``shutdown`` the channel would be
    read on without TLS.
    """
    try:
        socket.socket.shutdown(channel, socket.SHUT_RDWR)
    except OSError:
        pass
