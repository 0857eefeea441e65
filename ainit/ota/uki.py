"""What a UKI starts: its version, and the verified root on its signed command line. Pure.

uki = read(data); uki.version, uki.root_hash, uki.uuids
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from ..errors import RefusedError
from .pe import Image
from .verity import Geometry

# A verity target of dm-mod.create, as the build writes it (format 1, blocks of 4096 bytes).
_TABLE = re.compile(
    r'dm-mod\.create="root,,,ro,0 \d+ verity 1 PARTUUID=(?P<root>[0-9a-f-]{36}) '
    r"PARTUUID=(?P<verity>[0-9a-f-]{36}) 4096 4096 (?P<blocks>\d+) 1 sha256 "
    r"(?P<hash>[0-9a-f]{64}) (?P<salt>(?:[0-9a-f]{2})+|-) "
)


@dataclass(frozen=True, slots=True)
class Uki:
    """A UKI, and the root that it starts."""

    version: str
    root_hash: str
    geometry: Geometry
    image: Image

    @property
    def uuids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """Of the partitions that it starts from: the halves of the root hash."""
        return halves(self.root_hash)


def halves(root_hash: str) -> tuple[uuid.UUID, uuid.UUID]:
    """The UUIDs of a slot's root and hash tree.

    >>> halves("0" * 31 + "1" + "0" * 31 + "2")[1]
    UUID('00000000-0000-0000-0000-000000000002')
    """
    return uuid.UUID(hex=root_hash[:32]), uuid.UUID(hex=root_hash[32:])


def read(data: bytes) -> Uki:
    """Read a UKI. Raises RefusedError with what is wrong."""
    image = Image(data)
    sections = image.sections
    if not image.is_signed or not {".osrel", ".cmdline", ".linux"} <= sections.keys():
        raise RefusedError("the image is no signed UKI")
    release = sections[".osrel"].rstrip(b"\0").decode("utf-8", "replace")
    version = re.search(r'^IMAGE_VERSION="?([^"\n]+)"?$', release, re.MULTILINE)
    table = _TABLE.search(sections[".cmdline"].rstrip(b"\0").decode("utf-8", "replace"))
    if version is None or table is None:
        raise RefusedError("the UKI names no version, or no verified root")
    salt = bytes.fromhex("" if table["salt"] == "-" else table["salt"])
    found = Uki(version[1], table["hash"], Geometry(int(table["blocks"]), salt), image)
    if found.uuids != (uuid.UUID(table["root"]), uuid.UUID(table["verity"])):
        raise RefusedError("the UKI starts from other partitions than its root hash says")
    return found
