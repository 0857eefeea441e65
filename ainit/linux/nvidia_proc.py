"""What NVIDIA's modules publish below /proc, as texts. ``policy.device_nodes`` reads them."""

from __future__ import annotations

import glob
import os

from ..policy.device_nodes import CAPABILITIES, Tree

_PATTERNS = ("nvidia/gpus/*/information", "nvidia-nvswitch/devices/*/information")


def tree(proc: str = "/proc") -> Tree:
    """What the loaded modules publish now; nothing where there are none."""
    driver = f"{proc}/driver"
    paths = [path for each in _PATTERNS for path in glob.glob(f"{driver}/{each}")]
    below = glob.glob(f"{driver}/{CAPABILITIES}**/*", recursive=True)
    paths += [path for path in below if os.path.isfile(path)]
    texts = {os.path.relpath(path, driver): text(path) for path in paths}
    return Tree(text(f"{proc}/devices"), texts)


def text(path: str) -> str:
    """The content of a file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
