"""What a release brings so that machines transfer little: the block index, a packed UKI, and
differences to the releases before it.

A difference is for machines that run exactly that release; all others use the index, and the packed
UKI if theirs has little of the new one. The hash tree is part of none, for a machine makes it.
Equal releases give equal bytes.

    files = write(directory, previous(out, release))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ainit.errors import RefusedError
from ainit.ota import blocks
from ainit.ota.filling import PACKED, ROOT, UKI, delta_name
from ainit.ota.release import Release, order
from lib.host import HostError
from lib.progress import step
from lib.release_delta import difference

# To how many of the releases before it a release brings a difference.
PREVIOUS = 4


def previous(out: Path, release: Release) -> tuple[Path, ...]:
    """The last releases of the same image below ``out``, the newest first."""
    found = []
    for path in out.glob(f"*/{release.image}"):
        try:
            version = order(path.parent.name)
        except RefusedError:
            continue  # not a release
        if version < order(release.version):
            found.append((version, path))
    return tuple(path for _, path in sorted(found, reverse=True)[:PREVIOUS])


def write(directory: Path, before: Sequence[Path]) -> list[Path]:
    """Write the index, the packed UKI, a difference to each release before; returns the files.

    Raises HostError for a directory that is no release.
    """
    root, uki = (directory / name for name in (ROOT, UKI))
    index = directory / blocks.FILE
    index.write_bytes(blocks.Index.of(root.read_bytes(), uki.read_bytes()).to_bytes())
    packed = directory / PACKED
    packed.write_bytes(difference(b"", uki.read_bytes()))
    made = [index, packed]
    new = _content(directory)
    for old in before:
        place = directory / delta_name(_root_hash(old))
        with step(f"from {old.parent.name}") as progress:
            content = difference(_content(old), new, progress.update)
            place.write_bytes(content)
            progress.note(f"{len(content) / (1 << 20):.1f} MiB")
        made.append(place)
    return made


def _content(directory: Path) -> bytes:
    """What is transferred of a release: its root, and behind it its UKI."""
    return b"".join((directory / name).read_bytes() for name in (ROOT, UKI))


def _root_hash(directory: Path) -> str:
    path = directory / "manifest.json"
    try:
        return str(json.loads(path.read_text())["root"]["hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path}: {error!r}: not a release to prepare the way from") from error
