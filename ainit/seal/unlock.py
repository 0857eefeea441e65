"""Open the state partition, before anything of it is used: PID 1 runs this and waits.

Never changes what is on a partition that it does not know: a blank one is made a sealed one, a
sealed one is opened, and of everything else it says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from ..child import esp
from ..constants import MAPPED, MAPPING
from ..errors import AinosError, ConfigError, RefusedError, UnavailableError
from ..linux.luks import LuksError, Volume
from ..linux.tpm import Tpm
from . import first
from .approval import BYTES_MAX, PREDICTED, SUFFIX, Approval, parse
from .chip import Chip
from .decide import BOUND, Decision, decide, matching
from .report import OPEN, Report, read
from .vault import LABEL, UNFINISHED, Vault, records

_APPROVALS_MAX = 16


def approvals(boot: str) -> tuple[dict[str, Approval], list[str]]:
    """Those on a mounted boot partition, by their file's name; and what is wrong with others."""
    found: dict[str, Approval] = {}
    wrong: list[str] = []
    folder = f"{boot}/{esp.IMAGES}"
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    for name in names[:_APPROVALS_MAX]:
        try:
            with open(f"{folder}/{name}", "rb") as file:
                found[name] = parse(file.read(BYTES_MAX + 1), name)
        except (ConfigError, OSError) as error:
            wrong.append(str(error))
    return found, wrong


def unlock(
    device: str,
    tpm: Callable[[], Tpm] = Tpm,
    boot_partition: Callable[[], AbstractContextManager[str]] = esp.mounted,
    volumes: Callable[[str], Volume] = Volume,
) -> Report:
    """Open it as /dev/mapper/state; the report says whether, and if not, why."""
    report = Report(device)
    if os.path.exists(MAPPED):  # user space begins anew, or somebody had the recovery key
        return replace(_former(report), state=OPEN, findings=())
    try:
        with Chip(tpm()) as chip:
            report = replace(report, pcrs=chip.tpm.read((*BOUND, *PREDICTED)))
            with boot_partition() as boot, volumes(device) as volume:
                known, wrong = approvals(boot)
                report = replace(report, approvals=known).with_notes(*wrong)
                return _opened(report, volume, chip, boot)
    except (AinosError, OSError) as error:
        return replace(report, findings=(*report.findings, str(error)))


def _former(report: Report) -> Report:
    """What was found at the boot itself: the TPM's PCRs have moved since."""
    try:
        return read()
    except UnavailableError:
        return report


def _opened(report: Report, volume: Volume, chip: Chip, boot: str) -> Report:
    if first.is_blank(report.device) or _is_unfinished(report.device, volume):
        approval = matching(report.approvals.values(), report.pcrs)
        if approval is None:
            raise RefusedError("the state partition is blank, and this image has no approval")
        first.make(volume, chip, approval, boot)
        report = report.with_notes("the state was made and sealed; its recovery key is in it")
        return replace(report, state=OPEN, floor=approval.generation)
    if volume.label != LABEL:
        raise RefusedError(f"{report.device} is a LUKS2 volume, {volume.label!r}, but not ours")
    sealed = [record for _, record in records(volume).values()]
    decision = decide(sealed, list(report.approvals.values()), report.pcrs, chip.counter())
    report = replace(report, floor=decision.floor)
    if not decision.choices:
        return replace(report, findings=decision.findings)
    vault = Vault(volume, chip)
    secret = vault.open(decision)
    volume.activate(MAPPING, secret)
    report = replace(report, state=OPEN)
    return _kept_up(report, vault, decision, secret)


def _is_unfinished(device: str, volume: Volume) -> bool:
    try:
        volume.load()
    except LuksError as error:
        text = f"{device} is neither blank nor a LUKS2 volume, and is left alone: {error}"
        raise RefusedError(text) from error
    return volume.label == UNFINISHED


def _kept_up(report: Report, vault: Vault, decision: Decision, secret: bytes) -> Report:
    """It is open: what cannot be done beside that is a note, no reason to close it."""
    try:
        return report.with_notes(*vault.keep_up(decision, secret))
    except (AinosError, OSError) as error:
        return report.with_notes(f"the header was not kept up: {error}")
