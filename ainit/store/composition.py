"""Whether the files of one model belong together: none is missing, none is there for nothing. PURE.

The signature says which files the publisher meant; the kernel lets a unit open those and no other.
This says early, and in words, what an engine would stumble over: a shard that is not there, an
index that names another file, weights that are looked for elsewhere.

Leaves out: what the metadata of a split GGUF says of its parts. llama.cpp finds them by their
names, and so does this.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..errors import RefusedError
from .onnx import External

INDEX_SUFFIX = ".safetensors.index.json"
_SPLIT = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf\Z")


def external(kept: Collection[External], sizes: Mapping[str, int]) -> set[str]:
    """The files that hold weights of an ONNX model; ``sizes`` has those that may."""
    for each in kept:
        if each.file not in sizes:
            where = f"other files ({each.file!r})" if each.file else "other files"
            raise RefusedError(
                f"format onnx refused because it keeps weights in {where}, which nobody measured"
            )
        if each.end > sizes[each.file]:
            raise RefusedError(
                f"format onnx refused because it keeps weights beyond the end of {each.file}"
            )
    return {each.file for each in kept}


def sharded(indices: Mapping[str, object], tensors: Mapping[str, Collection[str]]) -> None:
    """Several safetensors files (their tensors by file) have one index, which is right about every
    tensor. ``indices`` are the files called like one.

    >>> sharded({}, {"a.safetensors": ["x"], "b.safetensors": ["y"]})
    Traceback (most recent call last):
    ainit.errors.RefusedError: 2 safetensors files without a .safetensors.index.json
    """
    if not indices and len(tensors) > 1:
        raise RefusedError(f"{len(tensors)} safetensors files without a {INDEX_SUFFIX}")
    if len(indices) > 1:
        raise RefusedError(f"more than one index: {', '.join(sorted(indices))}")
    for index, content in indices.items():
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict):
            raise RefusedError(f"{index} has no weight_map")
        for tensor, file in places.items():
            if not isinstance(file, str) or file not in tensors:
                raise RefusedError(f"{index} names {file}, which is no safetensors file here")
            if tensor not in tensors[file]:
                raise RefusedError(f"{index} looks for {tensor} in {file}, which lacks it")
        for file in sorted(tensors):
            for tensor in tensors[file]:
                if places.get(tensor) != file:
                    raise RefusedError(f"{file} holds {tensor}, of which {index} knows nothing")


def split(files: Collection[str]) -> None:
    """Several GGUF files are all parts of one, as gguf-split calls them."""
    if len(files) < 2:
        return
    found = [_SPLIT.match(file) for file in files]
    parts = [match for match in found if match is not None]
    if len(parts) != len(files) or len({(part["prefix"], part["count"]) for part in parts}) != 1:
        raise RefusedError(
            "several GGUF files that are not parts of one (NAME-00001-of-00003.gguf and so on)"
        )
    count, numbers = int(parts[0]["count"]), {int(part["number"]) for part in parts}
    missing = sorted(set(range(1, count + 1)) - numbers)
    if missing:
        raise RefusedError(f"part {missing[0]} of {count} is missing: {parts[0]['prefix']}-…")
    if len(numbers) != count:
        raise RefusedError(f"there are parts beyond the {count} of {parts[0]['prefix']}-…")
