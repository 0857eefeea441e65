"""The table of attacks for people: ``python -m lib.trust_attacks`` in ``scripts/`` writes it.

A test holds docs/attacks.md to the catalogue in tests/contract/attacks.
"""

from __future__ import annotations

import importlib

from lib.host import REPOSITORY, published
from tests.contract.attacks.attack import CATALOGUE

DOCUMENT = REPOSITORY / "docs/attacks.md"
# Module of the catalogue → what its attacks are about.
PARTS = {
    "keys": "Keys and certificates",
    "quotes": "Quotes, freshness, and the evidence on its way",
    "logs": "ainit's event log",
    "firmware": "The firmware's log, and what was booted",
    "store": "The model store",
    "identities": "Models signed by Sigstore identity",
}
_BEGIN = """\
# Attacks

Each of these is a program in `tests/contract/attacks` that forges something. It is run twice:
against what AINOS ships, which must not believe it, and against the same without the one check in
the last column, which must. So every check is shown to be needed, and every forgery to be flawless
but for that one thing. `make bench-trust` counts them. TPMs are emulated (swtpm), fs-verity in the
store's attacks is a fake; the kernel's own is in `tests/qemu`.
"""


def document() -> str:
    """The table, in the order of the parts."""
    lines = [_BEGIN]
    for module, title in PARTS.items():
        importlib.import_module(f"tests.contract.attacks.{module}")
        lines += [f"## {title}", "", "| attack | what is done | what stops it |", "|---|---|---|"]
        lines += [
            f"| `{attack.name}` | {attack.tale} | {attack.check} |"
            for attack in CATALOGUE.values()
            if attack.run.__module__.endswith(f".{module}")
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the document."""
    with published(DOCUMENT) as file:
        file.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
