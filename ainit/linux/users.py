"""Users and groups by name, from the account files of the root file system (getpwnam(3))."""

from __future__ import annotations


def user(name: str) -> tuple[int, int, str]:
    """The number, the group's number and the home directory of a user.

    Raises OSError (ENOENT) when there is none of that name.
    """
    from pwd import getpwnam

    try:
        entry = getpwnam(name)
    except KeyError:
        raise FileNotFoundError(2, "there is no such user", name) from None
    return entry.pw_uid, entry.pw_gid, entry.pw_dir


def group(name: str) -> int:
    """The number of a group, which may be given as one. Raises OSError (ENOENT)."""
    from grp import getgrnam

    if name.isdecimal():
        return int(name)
    try:
        return getgrnam(name).gr_gid
    except KeyError:
        raise FileNotFoundError(2, "there is no such group", name) from None
