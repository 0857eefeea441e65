"""Bring a model from a directory, a USB disk or an HTTP(S) server into the store's folder of
deliveries.

A source holds what a delivery holds: record.json, model.sig, and the model's files. The first two
come first and are judged before a file is fetched, for it may be large. What came so far stays in
``incoming/.NAME.part`` and is gone on with, unless the first two are others by then. Only what the
record lists is fetched. Nothing is believed because of where it comes from: the store verifies the
whole delivery.

    with child.source.open_source("https://models.example/speech/") as source:
        name = fetch(source, root, judge, tell)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from urllib.parse import quote

from ..child import source as sources
from ..child.given import small
from ..child.source import Source
from ..errors import RefusedError
from ..linux import files
from .records import RECORD_BYTES_MAX, RECORD_FILE, SIGNATURE_FILE, Admitted, Record
from .signature import BUNDLE_BYTES_MAX

SPARE_BYTES = 64 << 20  # what a delivery leaves free on the disk
_LIMITS = ((RECORD_FILE, RECORD_BYTES_MAX), (SIGNATURE_FILE, BUNDLE_BYTES_MAX))

Judge = Callable[[Record, Admitted], object]  # raises RefusedError
Tell = Callable[[int, int], None]  # bytes so far, bytes in all


def fetch(source: Source, root: str, judge: Judge, tell: Tell) -> str:
    """Complete a delivery in ``root``; returns the model's name.

    Raises RefusedError when the delivery is not worth fetching, and OSError.
    """
    first = {name: sources.small(source, name, limit) for name, limit in _LIMITS}
    record = Record.parse(first[RECORD_FILE], Record.name_in(first[RECORD_FILE]))
    note = Admitted("", first[RECORD_FILE].decode(), first[SIGNATURE_FILE].decode())
    judge(record, note)
    part = f"{root}/incoming/.{record.name}.part"
    _begin(part, first)
    _continue(source, record.files, part, tell)
    target = f"{root}/incoming/{record.name}"
    shutil.rmtree(target, ignore_errors=True)
    os.rename(part, target)
    files.sync_directory(f"{root}/incoming")
    return record.name


def _begin(part: str, first: dict[str, bytes]) -> None:
    """Go on with what came so far, if it is of the same delivery."""
    if any(small(f"{part}/{name}", limit) != first[name] for name, limit in _LIMITS):
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part, mode=0o755)
        for name, content in first.items():
            files.replace(f"{part}/{name}", content)


def _continue(source: Source, names: Collection[str], part: str, tell: Tell) -> None:
    """Fetch what is missing of the model's files, one after the other."""
    sizes = {name: source.size(quote(name)) for name in names}
    have = {name: _have(f"{part}/{name}", sizes[name]) for name in names}
    total, done = sum(sizes.values()), sum(have.values())
    _check_room(part, total - done)
    tell(done, total)
    for name in names:
        with open(f"{part}/{name}", "ab") as file:
            for chunk in source.read(quote(name), have[name], sizes[name]):
                done += file.write(chunk)
                tell(done, total)
            file.flush()
            os.fsync(file.fileno())
            if (came := file.tell()) != sizes[name]:
                raise RefusedError(
                    f"{name} has {came} bytes, not the {sizes[name]} that the source promised"
                )


def _have(path: str, size: int) -> int:
    """How much of a file is there; what is longer than the whole begins anew."""
    with open(path, "ab") as file:
        if file.tell() > size:
            file.truncate(0)
        return os.fstat(file.fileno()).st_size


def _check_room(directory: str, wanted: int) -> None:
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if wanted + SPARE_BYTES > free:
        raise RefusedError(
            f"no room: {wanted >> 20} MiB to fetch, {free >> 20} MiB free on the state partition"
            " (`ainitctl models remove` and `ainitctl models gc` make room)"
        )
