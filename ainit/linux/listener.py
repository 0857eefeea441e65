"""Sockets that others connect to: opened, given to their owner, and their names taken away again.

An address in the Internet may be listened on before the network has it (IP_FREEBIND), and a port of
connections that still end, too (SO_REUSEADDR, which for datagrams would let another program share
the port, and is left out there). IPv6 sockets take no IPv4. Leaves out which addresses: see
``policy.listen``.

>>> descriptor = open_listener("tcp:127.0.0.1:8080", backlog=128)               # doctest: +SKIP
>>> descriptor = open_listener("unix:/run/x", backlog=128, mode=0o660, gid=65)  # doctest: +SKIP
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from ..policy import listen

_IP_FREEBIND = 15  # <linux/in.h>
_SIOCUNIXFILE = 0x89E0  # <linux/un.h>: opens the file that a socket is bound to
_FAMILIES = {listen.UNIX: AF_UNIX, listen.INET: AF_INET, listen.INET6: AF_INET6}
_STYLES = {
    listen.STREAM: SOCK_STREAM,
    listen.DATAGRAM: SOCK_DGRAM,
    listen.SEQPACKET: SOCK_SEQPACKET,
}


def open_listener(
    address: str, *, backlog: int, mode: int = 0o660, uid: int = 0, gid: int = 0
) -> int:
    """A socket that listens; closed on exec, blocking, as sd_listen_fds(3) promises by default.

    The name of a Unix socket has ``mode`` and its owner; a socket that is there is replaced, and
    missing directories are made. Raises OSError that names the address; then nothing is left open.
    """
    family, style, host, port = listen.address(address)
    channel = socket(_FAMILIES[family], _STYLES[style] | SOCK_CLOEXEC)
    try:
        if family == listen.UNIX:
            _bind(channel, host, mode)
            own(host, mode, uid, gid)
        else:
            if style == listen.STREAM:
                channel.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if family == listen.INET6:
                channel.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            channel.setsockopt(IPPROTO_IP, _IP_FREEBIND, 1)
            channel.bind((host, port))
        if style != listen.DATAGRAM:
            channel.listen(backlog)
    except OSError as error:
        channel.close()
        raise OSError(error.errno, f"{address}: {error.strerror or error}") from error
    return channel.detach()


def own(path: str, mode: int, uid: int, gid: int) -> None:
    """Set who may use the Unix socket of this name. Whatever is no socket is not touched.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise FileExistsError(17, "is no socket", path)
        os.chown(f"/proc/self/fd/{descriptor}", uid, gid)
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def is_socket(path: str) -> bool:
    """Whether there is a Unix socket of this name. Raises OSError when that is not known."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def has_name(descriptor: int, path: str) -> bool:
    """Whether a Unix socket still has this name, and no other socket has taken its place.

    Where the kernel does not say which file a socket is, any socket will do. Raises OSError.
    """
    if not is_socket(path):
        return False
    try:
        file = fcntl.ioctl(descriptor, _SIOCUNIXFILE, 0)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTTY, errno.EINVAL):
            return True
        raise
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False
    finally:
        os.close(file)


def unlink(path: str) -> None:
    """Take the name of a Unix socket away; one that is gone is no error.

    Raises OSError, for a file that is no socket, too.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(17, "a file is there that is no socket")
        os.unlink(path)
    except FileNotFoundError:
        pass


def _bind(channel: socket, path: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    unlink(path)
    mask = os.umask(0o777 & ~mode | 0o077)  # nobody else before it has its owner
    try:
        channel.bind(path)
    finally:
        os.umask(mask)
