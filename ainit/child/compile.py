"""Compile units, agent manifests and machine configuration into the plan that PID 1 loads.

Run by the image build and, when the machine has a configuration of its own, by PID 1 as a child:

    python3 -m ainit.child.compile --units DIR --agents DIR --machine FILE --out FILE

``--agents`` holds one directory or mounted bundle per agent; ``--base PLAN`` takes the units from a
compiled plan instead. Every finding is printed as ``file:line: message``; the exit status is then 1
and nothing is written. The decisions are ``policy``'s; this reads and writes the files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..constants import AGENTS
from ..errors import ConfigError, Finding
from ..linux import files
from ..policy import assembly, config
from ..policy.plan import Plan, Unit
from ..policy.toml import parse
from ..wire.codec import dumps, loads


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Finding(str(path), 1, f"cannot be read: {error}")]) from error


def _sources(units: Path, agents: Path) -> tuple[list[tuple[Unit, str]], list[Finding]]:
    found: list[tuple[Unit, str]] = []
    findings: list[Finding] = []
    for path in sorted(units.glob("*.toml")):
        unit, wrong = config.unit(_read(path), str(path), path.stem)
        found.append((unit, str(path)))
        findings += wrong
    for path in sorted(agents.glob("*/manifest.toml")):
        name = path.parent.name
        unit, wrong = config.agent(_read(path), str(path), name, f"{AGENTS}/{name}.erofs")
        found.append((unit, str(path)))
        findings += wrong
    return found, findings


def _base(path: Path) -> list[tuple[Unit, str]]:
    record = loads(_read(path))
    if not isinstance(record, dict):
        raise ConfigError([Finding(str(path), 1, "is no plan")])
    return [(unit, str(path)) for unit in Plan.from_record(record).units]


def locate(file: str, table: str, key: str) -> int:
    """The line of a key in a file; 1 in what is no TOML, such as a compiled plan."""
    try:
        return parse(_read(Path(file)), file).table(table).line(key)
    except ConfigError:
        return 1


def compile_plan(
    machine: Path,
    *,
    units: Path | None = None,
    agents: Path | None = None,
    base: Path | None = None,
) -> Plan:
    """The plan of these files. Raises ConfigError with every finding."""
    findings: list[Finding] = []
    if base is not None:
        found = _base(base)
    elif units is not None and agents is not None:
        found, findings = _sources(units, agents)
    else:
        raise ValueError("either a base plan, or units and agents")
    settings, wrong = config.machine(_read(machine), str(machine))
    findings += wrong
    if findings:
        raise ConfigError(findings)
    return assembly.assemble(found, settings, file=str(machine), locate=locate)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="ainit.child.compile", description="compile a plan")
    parser.add_argument("--units", type=Path)
    parser.add_argument("--agents", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.base is None and (options.units is None or options.agents is None):
        parser.error("give --base, or both --units and --agents")
    try:
        plan = compile_plan(
            options.machine, units=options.units, agents=options.agents, base=options.base
        )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    files.replace(str(options.out.absolute()), dumps(plan.to_record()).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
