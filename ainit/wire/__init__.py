"""The control protocol: varlink over Unix sockets, without I/O of its own.

``codec`` turns values into JSON and back, ``protocol`` frames and types the messages, and the
interface descriptions lie beside them as ``interfaces/*.varlink``. Nothing here blocks.
"""

from __future__ import annotations

INTERFACES = __file__.rpartition("/")[0] + "/interfaces"


def interface_text(name: str) -> str:
    """The varlink interface description of ``name``, such as ``org.ainos.Control``."""
    with open(f"{INTERFACES}/{name}.varlink", encoding="utf-8") as file:
        return file.read()
