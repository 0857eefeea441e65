"""Who may import whom. The rules are data; the source is read, not run, except PID 1's closure.

docs/ARCHITECTURE.md shows the same list for people.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ainit"
AGENTS = ROOT / "rootfs-overlay/usr/lib/ainos/agents"

# Imports point up this list only. Names in one row never import each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "constants"),
    ("digest", "model"),
    ("wire",),
    ("policy",),
    ("linux",),
    ("child",),
    ("sandbox",),
    (
        "pid1", "sched", "attest", "store", "net", "devices", "bridge", "ota", "crash", "log",
        "metrics", "enforce", "seal", "egress", "audit",
        "provision",
    ),
    ("identity", "keylime", "remote"),  # speak for attest, or judge as it does
    ("cli",),
)  # fmt: skip
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}

# A package from outside the standard library, and the only modules (or packages) that import it.
OWNERS: dict[str, tuple[str, ...]] = {
    "click": ("ainit.cli",),
    "cryptography": (
        "ainit.attest", "ainit.cli.released", "ainit.identity.authority",
        "ainit.keylime.identity", "ainit.remote.identity",
        "ainit.remote.operator", "ainit.seal.session", "ainit.store",
    ),
    "gymnasium": ("ainit.sched.train.env",),
    "numpy": (
        "ainit.sched.boards", "ainit.sched.occupied", "ainit.sched.onnx",
        "ainit.sched.request_rows", "ainit.sched.tables",
        "ainit.sched.train",
    ),
    "onnxruntime": ("ainit.sched.onnx", "ainit.sched.train.ppo"),
    "pynvml": ("ainit.sched.nvml", "ainit.sched.nvml_errors", "ainit.sched.nvml_health"),
    "pyroute2": ("ainit.net",),
    "pyudev": ("ainit.devices",),
    "rich": ("ainit.cli",),
    "securesystemslib": ("ainit.cli.released",),
    "torch": ("ainit.sched.train.ppo",),
    "tpm2_pytss": ("ainit.attest.quote",),
    "tuf": ("ainit.ota.metadata", "ainit.ota.trust"),
    "yaml": ("ainit.cli.partition_file",),
}  # fmt: skip

STDLIB = sys.stdlib_module_names | {"ainit", "_sha2"}  # _sha2: the guest's name of _sha256

# Modules that decide: values in, values out.
PURE = (
    "ainit.policy", "ainit.attest.verify", "ainit.keylime.policy", "ainit.keylime.protocol",
    "ainit.sched.place", "ainit.sched.partition", "ainit.sched.wishes", "ainit.sched.converge",
    "ainit.sched.quarantine", "ainit.sched.records", "ainit.attest.channel",
    "ainit.sched.bus", "ainit.sched.findings", "ainit.sched.health", "ainit.sched.presence",
    "ainit.sched.readings", "ainit.sched.xid",
    "ainit.sched.geometry", "ainit.sched.state", "ainit.sched.candidates",
    "ainit.sched.features", "ainit.sched.fallback", "ainit.sched.occupancy",
    "ainit.sched.queue", "ainit.sched.room", "ainit.sched.numa", "ainit.sched.requests",
    "ainit.sched.round_records", "ainit.sched.asking", "ainit.sched.promise",
    "ainit.identity.rules", "ainit.ota.decide", "ainit.ota.gate", "ainit.ota.release",
    "ainit.ota.model_release",
    "ainit.ota.words",
    "ainit.ota.pe", "ainit.ota.revocation", "ainit.ota.slots", "ainit.ota.uki",
    "ainit.seal.approval", "ainit.seal.decide", "ainit.seal.policies",
)  # fmt: skip
IMPURE = {
    "asyncio", "ctypes", "io", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
FOREIGN_CALLS = ("ainit.linux", "ainit.sandbox", "ainit.sched.nvml", "ainit.sched.nvml_health")
AGENTS_MAY_USE = ("ainit.child", "ainit.errors", "ainit.wire")

# What importing PID 1 loads beyond a bare ``python3 -I -S``. Every name costs boot time on every
# machine: add one only with a measurement of what it costs.
PID1_STDLIB = {
    "__future__", "_collections", "_collections_abc", "_ctypes", "_heapq", "_json", "_sha256",
    "_socket", "_stat", "_struct", "binascii", "errno", "fcntl", "gc", "genericpath", "os",
    "os.path", "posixpath", "select", "stat", "struct",
}  # fmt: skip
PID1_NEVER = {
    "argparse", "asyncio", "ctypes", "dataclasses", "enum", "json", "logging", "re", "subprocess",
    "typing",
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("ainit", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module imports, wherever it does so."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, base] if base else anchor)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else base


def within(name: str, owners: tuple[str, ...]) -> bool:
    """Whether a module is one of ``owners`` or lies in one of them."""
    return any(name == owner or name.startswith(owner + ".") for owner in owners)


def layer(name: str) -> str | None:
    """The layer of a module of ours; None for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def allowed(source: str, target: str) -> bool:
    """Whether ``source`` may import ``target``, both of ours."""
    here, there = layer(source), layer(target)
    if there is None or here == there:
        return True
    if here is None:
        return False
    if (here, there) == ("cli", "ota"):
        return within(target, ("ainit.ota.release", "ainit.ota.trust"))
    if here == "cli" and RANK[there] == RANK["attest"]:
        return within(target, ("ainit.attest",)) and not within(target, ("ainit.attest.quote",))
    if (here, there) == ("cli", "keylime"):
        return within(target, ("ainit.keylime.policy",))
    if (here, there) == ("cli", "remote"):
        return within(target, ("ainit.remote.operator",))
    return RANK[there] < RANK[here]


def test_every_package_has_a_layer() -> None:
    unknown = {layer(name) for name in MODULES} - RANK.keys() - {None}
    assert not unknown, f"give {sorted(filter(None, unknown))} a place in LAYERS"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_up(name: str) -> None:
    path = MODULES[name]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for line, target in imports(name, path)
        if target.split(".")[0] == "ainit" and not allowed(name, target)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", MODULES)
def test_foreign_packages_have_one_owner(name: str) -> None:
    path = MODULES[name]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for line, target in imports(name, path)
        if (top := target.split(".")[0]) not in STDLIB and not within(name, OWNERS.get(top, ()))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if within(name, PURE)],
)
def test_decisions_do_no_input_or_output(name: str) -> None:
    path = MODULES[name]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for line, target in imports(name, path)
        if target.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_system_calls_live_in_linux() -> None:
    """``sched.nvml`` and ``sched.nvml_health`` speak to the vendor's library in the ctypes
    structures that pynvml takes.
    """
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for name, path in MODULES.items()
        for line, target in imports(name, path)
        if target.split(".")[0] in {"ctypes", "_ctypes"} and not within(name, FOREIGN_CALLS)
    ]
    assert not wrong, "\n".join(wrong)


def test_agents_use_the_child_kit_and_its_protocol_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for path in sorted(AGENTS.rglob("*.py"))
        for line, target in imports(path.stem, path)
        if target.split(".")[0] == "ainit" and not within(target, AGENTS_MAY_USE)
    ]
    assert not wrong, "\n".join(wrong)


def loaded(statement: str) -> set[str]:
    """The modules that a bare interpreter holds after a statement."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_pid_1_imports_exactly_this() -> None:
    added = loaded("import ainit.pid1.main") - loaded("pass")
    ours = {name for name in added if name.split(".")[0] == "ainit"}
    foreign = added - ours
    assert not foreign & PID1_NEVER
    assert foreign == PID1_STDLIB
    assert {layer(name) for name in ours} <= {
        None, "errors", "constants", "digest", "model", "wire", "policy", "linux", "sandbox",
        "pid1",
    }  # fmt: skip
