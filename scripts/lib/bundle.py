"""PID 1's modules in one file, ``/usr/lib/ainit/pid1.bundle``, which ``/usr/sbin/init`` loads.

Importing some ninety modules one by one is a search, an open and a decompression each; that was
most of PID 1's start. The file is a marshalled dictionary: a module's name to where its source
lies, whether it is a package, and its bytecode, as it is beside the source. What PID 1 imports is
found by reading the sources. A module that is not in the file is imported from its place as usual.

    write(tree); findings = stale(tree)
"""

from __future__ import annotations

import ast
import marshal
from collections.abc import Iterator
from pathlib import Path

from lib.host import HostError

HOME = "usr/lib/ainit"
BUNDLE = f"{HOME}/pid1.bundle"
MAIN = "ainit.pid1.main"
# The header of bytecode (PEP 552), which says nothing that a verified root does not.
HEADER_BYTES = 16
# Readable by any Python.
MARSHAL = 2

Entry = tuple[str, bool, bytes]


def entries(tree: Path) -> dict[str, Entry]:
    """What the bundle of a compiled tree holds, by name. Raises HostError without bytecode."""
    found: dict[str, Entry] = {}
    for name, source in sorted(closure(tree / HOME).items()):
        compiled = sorted((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
        if len(compiled) != 1:
            raise HostError(f"{source} has {len(compiled)} files of bytecode, not one")
        place = f"/{source.relative_to(tree)}"
        code = compiled[0].read_bytes()[HEADER_BYTES:]
        found[name] = (place, source.name == "__init__.py", code)
    return found


def write(tree: Path) -> None:
    """Make the bundle of a compiled tree. Raises HostError."""
    (tree / BUNDLE).write_bytes(marshal.dumps(entries(tree), MARSHAL))


def stale(tree: Path) -> list[str]:
    """What is wrong with the bundle of a tree: a finding for each module that differs."""
    try:
        held: dict[str, Entry] = marshal.loads((tree / BUNDLE).read_bytes())
    except (OSError, ValueError, EOFError, TypeError) as error:
        return [f"/{BUNDLE} cannot be read: {error}"]
    wanted = entries(tree)
    names = sorted(wanted.keys() | held.keys())
    return [f"/{BUNDLE} is stale: {name}" for name in names if held.get(name) != wanted.get(name)]


def closure(home: Path) -> dict[str, Path]:
    """Every module of ours that PID 1 imports, at once or later, with its source."""
    found: dict[str, Path] = {}
    waiting = [MAIN]
    while waiting:
        name = waiting.pop()
        source = _source(home, name)
        if name in found or source is None:
            continue
        found[name] = source
        waiting += [parent for parent in (name.rpartition(".")[0],) if parent]
        is_package = source.name == "__init__.py"
        waiting += _imports(source, name if is_package else name.rpartition(".")[0])
    return found


def _source(home: Path, name: str) -> Path | None:
    base = home / name.replace(".", "/")
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.exists()), None)


def _imports(source: Path, package: str) -> Iterator[str]:
    """The absolute names of what a module may import; some are not modules but what is in one."""
    tree = ast.parse(source.read_text(encoding="utf-8"), str(source))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)
        waiting += ast.iter_child_nodes(node)
