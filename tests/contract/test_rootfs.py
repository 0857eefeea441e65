"""The root tree of a release, as it is built from the locked packages: what it has and has not."""

import json
import os
import subprocess
from pathlib import Path

from lib import product, sbom
from lib.tree import program, shells, unresolved

from ainit.policy.plan import Plan

# What makes a machine able to change or extend itself.
FORBIDDEN = {
    *("apt", "apt-get", "dpkg", "dpkg-deb", "rpm", "pip", "pip3", "ensurepip", "setuptools"),
    *("cc", "gcc", "g++", "as", "ld", "make", "perl", "ssh", "sshd", "su", "sudo", "login"),
}
EROFS_MAGIC = 0xE0F5E1E2


def test_every_library_that_a_program_needs_is_there(tree: Path) -> None:
    assert unresolved(tree) == []


def test_a_release_has_no_shell(tree: Path) -> None:
    assert shells(tree) == []


def test_a_release_has_no_development_units(tree: Path) -> None:
    plan = Plan.from_record(json.loads((tree / "usr/lib/ainos/plan.json").read_text()))
    names = {unit.name for unit in plan.units}
    development = {Path(path).stem for path in product.parts(product.DEVELOPMENT)}
    assert development, "nothing is only for development, so this test shows nothing"
    assert not names & development
    assert {"store", "attest", "filetype", "speech"} <= names


def test_nothing_in_it_installs_compiles_or_logs_in(tree: Path) -> None:
    found = {path.name for path in tree.rglob("*")}
    assert not found & FORBIDDEN


def test_directories_of_old_are_links_into_usr(tree: Path) -> None:
    links = {name: os.readlink(tree / name) for name in ("bin", "sbin", "lib", "lib64")}
    assert links == {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
    assert os.readlink(tree / "etc/resolv.conf") == "/run/ainit/resolv.conf"


def test_all_python_is_compiled_and_never_checked_against_its_source(tree: Path) -> None:
    libraries = [p for p in (tree / "usr/lib").rglob("*.pyc") if p.parent.name != "__pycache__"]
    assert len(libraries) > 500
    for bytecode in libraries:
        assert int.from_bytes(bytecode.read_bytes()[4:8], "little") == 0b01, bytecode
    sources = sorted((tree / "usr/lib").rglob("*.py"))
    assert sources
    for source in sources:
        assert source.is_relative_to(tree / "usr/lib/ainit"), source
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        flags = int.from_bytes(bytecode.read_bytes()[4:8], "little")
        assert flags == 0b01, bytecode  # PEP 552: hash-based, unchecked


def test_bytecode_names_places_on_the_machine(tree: Path) -> None:
    here = str(tree).encode()
    assert not [path for path in tree.rglob("*.pyc") if here in path.read_bytes()]


def test_what_the_services_import_can_be_imported(tree: Path) -> None:
    modules = "onnxruntime, numpy, pynvml, pyudev, click, rich.table, rich.progress"
    modules += ", tpm2_pytss, cryptography.x509, tomllib, ssl, ctypes.util"
    modules += ", ainit.pid1.main, ainit.sched, ainit.attest, ainit.store, ainit.cli"
    modules += ", ainit.net.__main__, ainit.net.lease, ainit.ota.trust, ainit.cli.released"
    done = subprocess.run(
        [*program(tree, "usr/bin/python3.13"), "-S", "-W", "ignore", "-c", f"import {modules}"],
        env={
            "PYTHONHOME": str(tree / "usr"),
            "PYTHONPATH": f"{tree}/usr/lib/python3/dist-packages:{tree}/usr/lib/ainit",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ORT_DISABLE_TELEMETRY": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_agents_are_bundles_and_their_sources_are_gone(tree: Path) -> None:
    found = sorted((tree / "usr/lib/ainos/agents").iterdir())
    assert found
    for bundle in found:
        assert bundle.suffix == ".erofs"
        magic = int.from_bytes(bundle.read_bytes()[1024:1028], "little")
        assert magic == EROFS_MAGIC, bundle


def test_the_bill_of_materials_lists_packages_wheels_and_agents(tree: Path) -> None:
    names = {component["name"] for component in sbom.read_components(tree / sbom.ROOT_DOCUMENT)}
    assert {"libc6", "python3.13", "onnxruntime", "ainit", "agent-filetype"} <= names
    assert "busybox-static" not in names


def test_licences_of_debian_packages_stay(tree: Path) -> None:
    for package in ("libc6", "python3.13-minimal", "libssl3t64"):
        assert (tree / "usr/share/doc" / package / "copyright").exists(), package
