"""What a UKI says that it starts."""

from __future__ import annotations

import pytest
from lib import layout
from lib.architecture import X86_64
from lib.verity import HashTree, command_line

from ainit.errors import RefusedError
from ainit.ota import uki
from ainit.ota.verity import Geometry
from tests.support import pe

HASH, SALT = "1234567890abcdef" * 4, "ab" * 32
SECTIONS = {
    ".osrel": b'ID=ainos\nIMAGE_VERSION="0.3.0"\n',
    ".cmdline": command_line(HashTree(HASH, SALT, 12638), X86_64).encode(),
    ".linux": b"kernel",
}


def built(**changed: bytes) -> bytes:
    sections = {name: changed.get(name[1:], content) for name, content in SECTIONS.items()}
    return pe.attach(pe.build(sections), b"signature")


def test_what_the_build_makes_is_read() -> None:
    found = uki.read(built())
    assert (found.version, found.root_hash) == ("0.3.0", HASH)
    assert found.geometry == Geometry(12638, bytes.fromhex(SALT))
    assert found.uuids == layout.slot_uuids(HASH)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pe.build(SECTIONS), "no signed UKI"),
        (pe.attach(pe.build({".text": b"x"}), b"signature"), "no signed UKI"),
        (built(osrel=b"ID=ainos\n"), "names no version"),
        (built(cmdline=b"quiet"), "no verified root"),
        (
            built(cmdline=SECTIONS[".cmdline"].replace(HASH.encode(), HASH[::-1].encode())),
            "other partitions than its root hash",
        ),
        (b"text", "PE image"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        uki.read(data)
