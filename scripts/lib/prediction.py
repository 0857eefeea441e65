"""What an image will have measured, as secureboot/ says, and its approval to open a sealed state.

predict(out / "systemd-bootx64.efi", out / "uki.efi", out / "OVMF_VARS.fd", manifest)["pcrs"]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lib.host import REPOSITORY, HostError, run
from lib.release import generation, version

SECUREBOOT = REPOSITORY / "secureboot"


def predict(
    loader: Path, uki: Path, variables: Path, manifest: Mapping[str, object]
) -> dict[str, object]:
    """What an image has measured under the firmware that `make run` uses: PCRs and variables."""
    command = [str(SECUREBOOT / "predict"), "--loader", str(loader)]
    command += ["--uki", str(uki), "--variables", str(variables)]
    printed = _with(manifest, [*command, "--manifest"])
    try:
        return dict(json.loads(printed))
    except ValueError as error:
        raise HostError(f"secureboot/predict printed no JSON:\n{printed}") from error


def approve(
    predicted: Mapping[str, object],
    out: Path,
    release: str = "",
    number: int = 0,
) -> dict[str, object]:
    """Let the image with these PCRs open a sealed state. The approval goes to ``out``, and is
    returned; version and generation are those of this checkout unless they are given.
    """
    command = [str(SECUREBOOT / "approve"), "--version", release or version()]
    command += ["--generation", str(number or generation()), "--out", str(out)]
    _with(predicted, command)
    return dict(json.loads(out.read_text()))


def _with(record: Mapping[str, object], command: list[str]) -> str:
    """Run a command whose last argument is a file with this record."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(record, file)
        file.flush()
        return run([*command, file.name])
