"""The varlink service ``org.ainos.Seal``: how the state was opened, and what its owner can do.

Nothing opens the TPM's record again while the system runs: what the machine measures of its own has
closed it. So whoever seals anew brings the recovery key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..child.server import Handler, Service, VarlinkError
from ..constants import MAPPED, MAPPING, RECOVERY, SEAL
from ..errors import AinosError, ConfigError, RefusedError, UnavailableError
from ..linux.files import sync_directory
from ..linux.luks import Volume
from ..linux.tpm import Tpm
from ..wire import interface_text
from ..wire.codec import dumps
from ..wire.protocol import INVALID_PARAMETER, Message
from . import recovery, report
from .approval import Approval, parse
from .chip import Chip
from .decide import Sealed, decide, holding, matching
from .report import OPEN, Report
from .vault import Vault, records

INTERFACE = "org.ainos.Seal"
_PLAIN: Message = {
    "state": "plain",
    "device": "",
    "version": "",
    "generation": 0,
    "floor": 0,
    "floors": [],
    "notes": [],
    "recovery_waits": False,
}


class Seal:
    """The methods. ``tpm`` opens the TPM; paths are parameters for tests."""

    def __init__(
        self, tpm: Callable[[], Tpm] = Tpm, path: str = SEAL, key_file: str = RECOVERY
    ) -> None:
        self._tpm = tpm
        self._path = path
        self._key_file = key_file

    def status(self, _: Message) -> Message:
        """``Status()``: open, locked or plain; which image at which floor; why it is locked."""
        try:
            found = report.read(self._path)
        except UnavailableError as error:
            return {**_PLAIN, "findings": [str(error)]}
        approval = matching(found.approvals.values(), found.pcrs)
        floor, floors, wrong = self._now(found)
        return {
            "state": found.state,
            "device": found.device,
            "version": approval.version if approval else "",
            "generation": approval.generation if approval else 0,
            "floor": floor or found.floor,
            "floors": floors,
            "findings": [*found.findings, *wrong],
            "notes": list(found.notes),
            "recovery_waits": os.path.exists(self._key_file),
        }

    def _now(self, found: Report) -> tuple[int, list[int], list[str]]:
        """The floor and the floors that are sealed for, as they are now."""
        try:
            sealed, counter = self._look(found)
        except (AinosError, OSError) as error:
            return 0, [], [str(error)]
        alive, floor = holding(sealed, counter)
        return floor, sorted(each.floor for each in alive), []

    def _look(self, found: Report) -> tuple[list[Sealed], int | None]:
        with Volume(found.device) as volume, Chip(self._tpm()) as chip:
            volume.load()
            return [record for _, record in records(volume).values()], chip.counter()

    def predict(self, parameters: Message) -> Message:
        """``Predict(approval)``: whether the image of this approval would open the state."""
        try:
            word = parse(dumps(parameters.get("approval")).encode(), "approval")
        except (ConfigError, TypeError) as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error
        found = self._report()
        with _failing():
            sealed, counter = self._look(found)
        decision = decide(sealed, [word], {**found.pcrs, **word.pcrs}, counter)
        return {"opens": bool(decision.choices), "findings": list(decision.findings)}

    def recovery_key(self, _: Message) -> Message:
        """``RecoveryKey()``: the key, for the only time; it is not kept afterwards."""
        with _failing():
            try:
                with open(self._key_file, encoding="ascii") as file:
                    key = file.read().strip()
            except FileNotFoundError as error:
                raise UnavailableError("the recovery key is not here (any more)") from error
            os.unlink(self._key_file)
            sync_directory(os.path.dirname(self._key_file))
        return {"key": key}

    def recover(self, parameters: Message) -> Message:
        """``Recover(key)``: open the state with the recovery key, and seal anew if that goes."""
        found, key = self._report(), _key(parameters)
        with _failing():
            if os.path.exists(MAPPED):
                raise RefusedError("the state is open; `ainitctl seal reseal` seals it anew")
            with Volume(found.device) as volume:
                volume.load()
                volume.activate(MAPPING, key)
            try:
                note = self._renewed(found, key)
            except (AinosError, OSError) as error:
                note = f"it opens with the recovery key only: {error}"
            opened = replace(found, state=OPEN, findings=())
            opened.with_notes(f"opened with the recovery key: {note}").write(self._path)
        return {"note": note}

    def reseal(self, parameters: Message) -> Message:
        """``Reseal(key)``: seal anew to this image on this firmware."""
        found, key = self._report(), _key(parameters)
        with _failing():
            return {"note": self._renewed(found, key)}

    def _renewed(self, found: Report, key: bytes) -> str:
        approval: Approval | None = matching(found.approvals.values(), found.pcrs)
        if approval is None:
            raise UnavailableError("what booted has no approval, so nothing can be sealed to it")
        with Volume(found.device) as volume, Chip(self._tpm()) as chip:
            volume.load()
            floor = Vault(volume, chip).renew(key, approval, found.floor)
        return f"sealed to {approval.version} at floor {floor}"

    def _report(self) -> Report:
        with _failing():
            return report.read(self._path)

    def table(self) -> dict[str, Handler]:
        """Every method by its name."""
        return {
            "Status": self.status,
            "Predict": self.predict,
            "RecoveryKey": self.recovery_key,
            "Recover": self.recover,
            "Reseal": self.reseal,
        }


@contextmanager
def _failing() -> Iterator[None]:
    """Turn what goes wrong into the interface's error."""
    try:
        yield
    except (AinosError, OSError) as error:
        raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error


def _key(parameters: Message) -> bytes:
    value = parameters.get("key")
    if not isinstance(value, str):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "key"})
    with _failing():
        return recovery.normalised(value)


def service(seal: Seal | None = None) -> Service:
    """The service, ready to serve."""
    return Service(interface_text(INTERFACE), (seal or Seal()).table())
