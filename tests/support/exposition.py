"""A strict reader of Prometheus' text format 0.0.4, written from its description, for tests.

Stricter than Prometheus: every family has HELP and TYPE, in this order, before its samples, and all
of its samples together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge)")
_SAMPLE = re.compile(rf"({_NAME})(?:{{({_LABEL}(?:,{_LABEL})*)}})? (\S+)")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels = frozenset[tuple[str, str]]


@dataclass
class Metric:
    """One family."""

    kind: str
    help: str
    samples: dict[Labels, float] = field(default_factory=dict)


def labels(**values: str) -> Labels:
    """The key of a sample."""
    return frozenset(values.items())


def parse(text: str) -> dict[str, Metric]:
    """Families by name. Raises AssertionError with the line that is wrong."""
    assert not text or text.endswith("\n"), "the last line has no end"
    found: dict[str, Metric] = {}
    current, help_ = "", ("", "")
    for line in text.splitlines():
        if match := _HELP.fullmatch(line):
            assert match[1] not in found, line
            help_ = (match[1], match[2])
        elif match := _TYPE.fullmatch(line):
            assert match[1] == help_[0], line
            assert (match[2] == "counter") == match[1].endswith("_total"), line
            current = match[1]
            found[current] = Metric(match[2], help_[1])
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] == current, line
            pairs = re.findall(_LABEL, match[2] or "")
            key = frozenset((name, _plain(value)) for name, value in pairs)
            assert len({name for name, _ in key}) == len(pairs), line
            assert key not in found[current].samples, line
            found[current].samples[key] = float(match[match.lastindex or 0])
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES[match[0]], text)
