"""Configuration fragments: read, merged, and held against what Kconfig made of them. Pure.

Kconfig drops an option whose dependencies are missing without a word. Here every requested option
is looked up in the final configuration; one that is not there as asked is an error with file and
line. The kernel and Buildroot, whose options begin with ``BR2_``, are configured this way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ASSIGNMENT = re.compile(r'((?:CONFIG|BR2)_[A-Za-z0-9_]+)=(y|m|n|-?\d+|0x[0-9a-fA-F]+|"[^"]*")')
UNSET = re.compile(r"# ((?:CONFIG|BR2)_[A-Za-z0-9_]+) is not set")


@dataclass(frozen=True, slots=True)
class Option:
    """One requested option, and where it was requested (``file:line``)."""

    name: str
    value: str
    where: str


def _parse_line(line: str) -> tuple[str, str] | None:
    if match := ASSIGNMENT.fullmatch(line):
        return match[1], match[2]
    if match := UNSET.fullmatch(line):
        return match[1], "n"
    return None


def merge_fragments(
    fragments: Iterable[tuple[str, str, bool]],
) -> tuple[dict[str, Option], list[str]]:
    """Merge ``(file name, text, may have modules)``; return options by name and every finding.

    A module (``=m``) where there may be none is a finding: what the image needs to boot is built
    in. So is an option that two fragments ask for, because then neither can be changed alone.
    """
    options: dict[str, Option] = {}
    findings = []
    for name, text, may_have_modules in fragments:
        for number, raw in enumerate(text.splitlines(), 1):
            line, where = raw.strip(), f"{name}:{number}"
            parsed = _parse_line(line)
            if parsed is None:
                if line and (not line.startswith("#") or line.startswith(("# CONFIG_", "# BR2_"))):
                    findings.append(f"{where}: not an option: {line}")
                continue
            option = Option(*parsed, where)
            if option.value == "m" and not may_have_modules:
                findings.append(f"{where}: {option.name}=m: modules belong to kernel-config/server")
            if option.name in options:
                first = options[option.name].where
                findings.append(f"{where}: {option.name} is already in {first}")
            options.setdefault(option.name, option)
    return options, findings


def parse_config(text: str) -> dict[str, str]:
    """Return the values of a ``.config``; what is not set is not in the result."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith(("CONFIG_", "BR2_")):
            values[name] = value
    return values


def find_dropped(options: Mapping[str, Option], config: str) -> list[str]:
    """Return one finding with file and line for every option that Kconfig did not keep."""
    final = parse_config(config)
    return [
        f"{option.where}: {option.name}={option.value} was dropped: "
        f"the final configuration has {final.get(option.name, 'n')}"
        for option in options.values()
        if final.get(option.name, "n") != option.value
    ]


def render(options: Mapping[str, Option]) -> str:
    """Return one fragment that says the same, without comments and in a fixed order."""
    return "".join(f"{name}={options[name].value}\n" for name in sorted(options))
