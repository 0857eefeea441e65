"""Where this host gets Debian from; the tree names no mirror of its own.

The host's apt configuration says it, or DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR do. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lib.host import HostError

# The security archive, and only it, keeps its files under this part of the pool.
SECURITY_POOL = "pool/updates/"


class MirrorError(HostError):
    """No mirror is known; the message says what to set."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Base addresses of the main and the security archive, without a final slash."""

    main: str
    security: str

    def uri(self, filename: str) -> str:
        """Return the address of a file of the pool."""
        base = self.security if filename.startswith(SECURITY_POOL) else self.main
        # apt would only link to a file of a local mirror; the cache must hold the bytes.
        return re.sub("^file:", "copy:", f"{base}/{filename}")


def discover_mirrors(targets: str, environment: Mapping[str, str]) -> Mirrors:
    """Choose mirrors from ``apt-get indextargets`` lines ``<origin>|<release>|<repository>``.

    The environment wins; then a source whose verified Origin is Debian; then, on a host that has
    never updated its lists, one whose path ends like Debian's. Raises MirrorError.
    """
    found: dict[bool, tuple[int, str]] = {}
    for line in targets.splitlines():
        origin, release, uri = line.strip().split("|")
        base = uri.rstrip("/")
        security = "-security" in release or "/" in release
        if origin == "Debian":
            rank = 0
        elif not origin and re.search(r"/debian(-security)?$", base):
            rank = 1
        else:
            continue
        if security not in found or rank < found[security][0]:
            found[security] = (rank, base)
    main = environment.get("DEBIAN_MIRROR", "").rstrip("/")
    main = main or (found[False][1] if False in found else "")
    if not main:
        raise MirrorError(
            "no Debian mirror in this host's apt configuration; set DEBIAN_MIRROR "
            "(and DEBIAN_SECURITY_MIRROR) to the address of one"
        )
    security_base = environment.get("DEBIAN_SECURITY_MIRROR", "").rstrip("/")
    security_base = security_base or (found[True][1] if True in found else f"{main}-security")
    return Mirrors(main, security_base)
