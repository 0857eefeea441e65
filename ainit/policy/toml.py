"""TOML with line numbers: ``tomllib`` for the values, a line index beside it for the messages.

>>> document = parse('[service]\\nexec = ["/bin/a"]\\n', "a.toml")
>>> document.table("service").line("exec")
2
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping

from ..errors import ConfigError, Finding

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")
# Up to the end of a string: a backslash escapes in basic strings only, and up to two more quotes
# may precede the three that close a multi-line string.
_CLOSING = {
    '"': re.compile(r'(?:[^"\\]|\\.)*"'),
    "'": re.compile(r"[^']*'"),
    '"""': re.compile(r'(?:[^"\\]|\\.|\\$|"(?!""))*"{3,5}'),
    "'''": re.compile(r"(?:[^']|'(?!''))*'{3,5}"),
}
_AT_LINE = re.compile(r"at line (\d+)")

Path = tuple[str | int, ...]


class Table:
    """One table of a document, which knows the file and the line of each of its keys."""

    def __init__(self, document: Document, path: Path, values: dict[str, object]) -> None:
        self._document = document
        self._path = path
        self.values = values

    def line(self, key: str | None = None) -> int:
        """The line of ``key``, or of the table itself."""
        return self._document.line(self._path if key is None else (*self._path, key))

    def finding(self, key: str | None, message: str) -> Finding:
        """A finding that points at ``key`` (or at the table)."""
        return Finding(self._document.file, self.line(key), message)

    def table(self, key: str) -> Table:
        """The sub-table ``key``; empty when absent. Raises ConfigError when it is no table."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise ConfigError([self.finding(key, f"{key} is a table")])
        return Table(self._document, (*self._path, key), value)

    def tables(self, key: str) -> Iterator[Table]:
        """Each table of the array of tables ``key``."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ConfigError([self.finding(key, f"{key} is an array of tables: [[{key}]]")])
        for index, item in enumerate(value):
            yield Table(self._document, (*self._path, key, index), item)

    def checked(
        self, checks: Mapping[str, Callable[[object], object]], findings: list[Finding]
    ) -> dict[str, object]:
        """The values as their checks give them; a finding for each other one."""
        found = {}
        for key, value in self.values.items():
            if key not in checks:
                known = ", ".join(sorted(checks))
                findings.append(self.finding(key, f"unknown key {key} (known: {known})"))
                continue
            try:
                found[key] = checks[key](value)
            except ValueError as error:
                findings.append(self.finding(key, f"{key} {error}"))
        return found


class Document(Table):
    """A whole file."""

    def __init__(self, file: str, values: dict[str, object], lines: dict[Path, int]) -> None:
        self.file = file
        self._lines = lines
        super().__init__(self, (), values)

    def line(self, key: str | Path | None = None) -> int:
        """The line of a path, or of the closest thing around it."""
        path: Path = (key,) if isinstance(key, str) else (key or ())
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)


def parse(text: str, file: str) -> Document:
    """The document in ``text``. Raises ConfigError with the line when it is not TOML."""
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ConfigError([Finding(file, 1, "not TOML: nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, or a number with too many digits
        found = _AT_LINE.search(str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        message = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise ConfigError([Finding(file, line, f"not TOML: {message}")]) from error
    return Document(file, values, _index(text))


def _index(text: str) -> dict[Path, int]:
    lines: dict[Path, int] = {}
    arrays: dict[Path, int] = {}
    table: Path = ()
    depth = 0
    quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not quote and depth == 0:
            if header := _HEADER.match(line):
                table = _parts(header.group(2))
                if header.group(1) == "[[":
                    inner = [path for path in arrays if path[: len(table)] == table != path]
                    for path in inner:
                        del arrays[path]  # an array inside starts anew in each element
                    arrays[table] = arrays.get(table, -1) + 1
                table = _resolve(table, arrays)
                _note(lines, table, 0, number)
                continue
            if key := _KEY.match(line):
                _note(lines, (*table, *_parts(key.group(1))), len(table), number)
                depth, quote = _nesting(line[key.end() :], depth, quote)
                continue
        depth, quote = _nesting(line, depth, quote)
    return lines


def _note(lines: dict[Path, int], path: Path, known: int, number: int) -> None:
    """The line of ``path``, and of each table on the way to it that has not been seen yet."""
    for end in range(known + 1, len(path) + 1):
        lines.setdefault(path[:end], number)


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _resolve(path: Path, arrays: dict[Path, int]) -> Path:
    """Insert the current index behind each array of tables that ``path`` passes through."""
    resolved: Path = ()
    for end in range(1, len(path) + 1):
        resolved = (*resolved, path[end - 1])
        if path[:end] in arrays:
            resolved = (*resolved, arrays[path[:end]])
    return resolved


def _nesting(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Bracket depth and open multi-line quote after ``line``, of a text that is TOML."""
    position = 0
    while position < len(line):
        if quote:
            closed = _CLOSING[quote].match(line, position)
            if not closed:
                return depth, quote
            position, quote = closed.end(), ""
            continue
        character = line[position]
        if character in "\"'":
            quote = character * 3 if line.startswith(character * 3, position) else character
            position += len(quote)
            continue
        if character == "#":
            break
        depth += (character in "[{") - (character in "]}")
        position += 1
    return depth, quote
