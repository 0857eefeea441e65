"""The signing and enrolling tools, each called in one place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lib.architecture import X86_64, Architecture
from lib.host import VENV, HostError, published, run

from secureboot.lib.keys import KeySet

VIRT_FW_VARS = VENV / "bin" / "virt-fw-vars"


def sign(source: Path, target: Path, keys: KeySet) -> None:
    """Sign a PE image with the db key and check the result with sbverify.

    The signature holds the time of signing: two signed images differ, the unsigned ones do not.
    """
    certificate = str(keys.certificate("db"))
    with published(target) as temporary:
        arguments = ["--key", str(keys.private("db")), "--cert", certificate]
        run(["sbsign", *arguments, "--output", str(temporary), str(source)], timeout=60)
        run(["sbverify", "--cert", certificate, str(temporary)], timeout=60)


def enrol(target: Path, keys: KeySet, architecture: Architecture = X86_64) -> None:
    """Write a variable store for QEMU's firmware with our PK, KEK and db, and Secure Boot on.

    What the store that comes with the firmware holds, such as a distribution's keys, goes first.
    """
    owner = str(keys.owner())
    held = sorted(read_variables(architecture.variables))
    with published(target) as temporary:
        run(
            [
                *(str(VIRT_FW_VARS), "--input", str(architecture.variables)),
                *("--output", str(temporary)),
                *(word for name in held for word in ("--delete", name)),
                *("--set-pk", owner, str(keys.certificate("PK"))),
                *("--add-kek", owner, str(keys.certificate("KEK"))),
                *("--add-db", owner, str(keys.certificate("db"))),
                "--secure-boot",
            ],
            timeout=60,
        )


def write_updates(directory: Path, store: Path) -> None:
    """Write PK.auth, KEK.auth and db.auth of a variable store, for firmware that is in Setup Mode.

    systemd-boot enrols them from ``loader/keys/auto`` of the ESP; a firmware's own menu takes them,
    too. They are not signed: in Setup Mode the firmware asks for no signature.
    """
    directory.mkdir(parents=True, exist_ok=True)
    run([str(VIRT_FW_VARS), "--input", str(store), "--output-auth", str(directory)], timeout=60)


def read_variables(store: Path) -> dict[str, bytes]:
    """The variables of a firmware variable store, by name.

    Raises HostError when two of them share a name, which would make the answer ambiguous.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run([str(VIRT_FW_VARS), "--input", str(store), "--output-json", file.name], timeout=60)
        listed = json.load(file)["variables"]
    variables: dict[str, bytes] = {}
    for variable in listed:
        if variable["name"] in variables:
            raise HostError(f"{store}: variable {variable['name']} is there twice")
        variables[variable["name"]] = bytes.fromhex(variable["data"])
    return variables
