"""What other services say of the machine, and what they are asked to do, by the control socket."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Collection, Mapping

from .. import constants
from ..child.client import Client, VarlinkError
from ..errors import AinosError, RefusedError, UnavailableError, WireError
from ..policy import update
from ..wire.codec import loads
from . import gate
from .gate import Answers

PATIENCE_S = 30.0
_QUOTE_S = 90.0  # a TPM chip needs seconds for its primary keys
_COMMIT = ("/usr/bin/python3", "-I", "-m", "ainit.seal", "commit")
_COMMIT_S = 120.0
_ENDS = ("panic", "oops", "watchdog", "unclean")

Message = dict[str, object]
Call = Callable[[str, Mapping[str, object], float], Message]


def call(method: str, parameters: Mapping[str, object], seconds: float) -> Message:
    """The answer of a service. Raises UnavailableError, WireError or VarlinkError."""
    with Client(constants.CONTROL, seconds) as client:
        return client.call(method, parameters)


def answers(required: Collection[str], *, evidence: bool, ask: Call = call) -> Answers:
    """What the services say. Raises UnavailableError when PID 1 says nothing."""
    status = ask("org.ainos.Control.Status", {}, PATIENCE_S)
    return Answers(
        status=status,
        gpus=_asked(ask, "org.ainos.Gpu.Health") if update.GPUS in required else "",
        network=_asked(ask, "org.ainos.Network.Status") if update.NETWORK in required else "",
        evidence=_evidence(ask) if evidence and gate.has_tpm(status) else "",
        verdict=_refusal() if update.ATTESTATION in required else "",
    )


def seal_refusal(approval: bytes, ask: Call = call) -> str:
    """Why the image of an approval would not open the state; empty when it would, or when the state
    is not sealed. Raises UnavailableError or VarlinkError.
    """
    if not os.path.exists(constants.SEAL):
        return ""
    if not approval:
        return "it has no approval"
    try:
        record = loads(approval)
    except ValueError as error:
        raise RefusedError(f"the approval of the release: {error}") from error
    found = ask("org.ainos.Seal.Predict", {"approval": record}, _QUOTE_S)
    if found.get("opens") is True:
        return ""
    findings = found.get("findings")
    listed = [str(each) for each in findings] if isinstance(findings, list) else []
    return "; ".join(listed) or "the seal service does not say why"


def raise_seal() -> str:
    """Raise the floor of a sealed state; what came of it. Raises UnavailableError."""
    if not os.path.exists(constants.SEAL):
        return ""
    try:
        done = subprocess.run(
            _COMMIT,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMIT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"the floor of the state was not raised: {error}") from error
    said = (done.stdout + done.stderr).strip()
    return said if done.returncode == 0 else f"the floor of the state was not raised: {said}"


def crashes(since: float, ask: Call = call) -> list[str]:
    """Why boots ended since then that did not end in order; empty when nobody knows."""
    found = _asked(ask, "org.ainos.Crash.List")
    listed = found.get("crashes") if isinstance(found, dict) else None
    return [
        f"{crash.get('kind')}: {crash.get('cause')}"
        for crash in (listed if isinstance(listed, list) else [])
        if isinstance(crash, dict)
        and crash.get("kind") in _ENDS
        and isinstance(crash.get("time"), int | float)
        and crash["time"] >= since
    ]


def is_dated(ask: Call = call) -> bool:
    """Whether the clock was compared with others; the time of certificates means something then."""
    status = _asked(ask, "org.ainos.Network.Status")
    clock = status.get("clock") if isinstance(status, dict) else None
    return isinstance(clock, dict) and clock.get("synchronised") is True


def set_clock(seconds: float, ask: Call = call) -> None:
    """Have the network service set the clock forward. Raises UnavailableError or VarlinkError."""
    ask("org.ainos.Network.SetForward", {"time": seconds}, PATIENCE_S)


def reboot(ask: Call = call) -> None:
    """Have PID 1 stop everything and start the machine again, through its firmware."""
    ask("org.ainos.Control.Reboot", {}, PATIENCE_S)


def _asked(ask: Call, method: str) -> Message | str:
    try:
        return ask(method, {}, PATIENCE_S)
    except VarlinkError as error:
        return str(error.parameters.get("reason") or error)
    except (UnavailableError, WireError) as error:
        return str(error)


def _evidence(ask: Call) -> str:
    try:
        answer = ask("org.ainos.Attest.Evidence", {"nonce": secrets.token_hex(16)}, _QUOTE_S)
    except AinosError as error:
        return str(error)
    return "" if answer.get("files") else "it is empty"


def _refusal() -> str:
    """Why a verifier refused the machine in this boot; empty when none did."""
    try:
        with open(constants.VERDICT, "rb") as file:
            record = loads(file.read(1 << 16))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"{constants.VERDICT}: {error}"
    if not isinstance(record, dict) or record.get("accepted") is True:
        return ""
    return str(record.get("reason") or "no reason was given")
