"""A machine's own configuration on top of its image: files in, a plan or every finding out.

``files`` holds ``machine.toml`` and ``units/NAME.toml``, each with its text. The same code decides
in the machine (``ainit.child.compile``) and on any computer (``ainitctl edit --dry-run``). Leaves
out: where the files lie.

>>> base = Plan([], {"hostname": "ainos"})
>>> [unit.name for unit in compile_over(base, {"units/a.toml": '[service]\\nexec = ["/a"]'}).units]
['a']
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigError, Finding
from . import assembly, config
from .plan import Plan
from .relations import Source
from .toml import parse

MACHINE = "machine.toml"
UNITS = "units/"
SUFFIX = ".toml"


def unit_name(file: str) -> str | None:
    """The name of the unit in a file of a configuration; None when its path is not of a unit.

    >>> unit_name("units/weather.toml")
    'weather'
    """
    name = file.removeprefix(UNITS).removesuffix(SUFFIX)
    return name if file == f"{UNITS}{name}{SUFFIX}" and "/" not in name else None


def compile_over(
    base: Plan,
    files: Mapping[str, str],
    *,
    base_file: str = "the image",
    labels: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of ``base`` with a machine's own configuration; without a ``machine.toml`` the
    settings of ``base`` stay. ``labels`` say how messages call files, by default as ``files`` does.

    Raises ConfigError with every finding. The units of ``base`` become the plan's: give a copy.
    """
    called = {file: (labels or {}).get(file, file) for file in files}
    texts = {called[file]: text for file, text in files.items()}
    findings: list[Finding] = []
    own: list[Source] = []
    settings: dict[str, object] = dict(base.machine)
    for file, text in sorted(files.items()):
        name = unit_name(file)
        if file == MACHINE:
            settings, wrong = config.machine(text, called[file])
        elif name is not None:
            unit, wrong = config.unit(text, called[file], name)
            own.append((unit, called[file]))
        else:
            wrong = [Finding(called[file], 1, f"is neither {MACHINE} nor {UNITS}NAME{SUFFIX}")]
        findings += wrong
    if findings:
        raise ConfigError(findings)

    def locate(file: str, table: str, key: str | int) -> int:
        return parse(texts[file], file).line((table, key)) if file in texts else 1

    where = called.get(MACHINE, MACHINE)
    image = [(unit, base_file) for unit in base.units]
    units = assembly.overlay(image, own, settings, file=where, locate=locate)
    return assembly.assemble(units, settings, file=where, locate=locate)
