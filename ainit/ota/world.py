"""The machine around an update, as it is: see ``ainit.ota.ports``.

What is large (TUF's client) is imported when a repository is opened, and not before.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from .. import __version__, constants
from ..child import esp
from ..errors import RefusedError, UnavailableError
from ..linux import efi
from ..policy.update import Settings
from . import asked, boot, slots, stored
from .decide import Slot
from .esp_files import IMAGES, Esp
from .flow import Flow
from .gate import Answers
from .history import Records
from .ports import Repository, Tell, Wanted
from .service import settings
from .trial import Host

BOOT_ID = "/proc/sys/kernel/random/boot_id"
OS_RELEASE = "/etc/os-release"
_APPROVAL_BYTES = 64 << 10


class Machine:
    """The machine."""

    @contextmanager
    def repository(self, settings: Settings) -> Iterator[Repository]:
        """See ports."""
        from .transfer import Limits, open_source
        from .trust import Trust

        try:
            with open(constants.UPDATE_ROOT, "rb") as file:
                root = file.read()
        except FileNotFoundError as error:
            raise RefusedError("this image came without a root of updates to believe") from error
        limits = Limits(
            rate=settings.rate,
            proxy=settings.proxy,
            authorities=settings.authorities,
            dated=asked.is_dated(),
        )
        with open_source(settings.repository, limits) as source:
            yield Trust(f"{constants.UPDATE}/metadata", root, source)

    def install(self, repository: Repository, wanted: Wanted, tell: Tell) -> None:
        """See ports."""
        from .staging import install

        install(repository, wanted, tell)

    def retire(self) -> None:
        """See ports."""
        from .install import retire

        retire()

    def slots(self) -> list[Slot]:
        """See ports."""
        prefix = slots.stem("")
        return [
            Slot(each.stem.removeprefix(prefix), each.left)
            for each in boot.entries(self._part())
            if each.stem.startswith(prefix)
        ]

    def approval(self, version: str) -> bytes:
        """See ports."""
        try:
            with esp.mounted() as directory:
                name = slots.stem(version) + slots.APPROVAL
                with open(f"{directory}/{IMAGES}/{name}", "rb") as file:
                    return file.read(_APPROVAL_BYTES)
        except FileNotFoundError:
            return b""

    def confirm(self) -> None:
        """See ports."""
        counted, selected = (
            efi.loader_text(f"Loader{name}") for name in ("BootCountPath", "EntrySelected")
        )
        boot.confirm(self._part(), counted, selected, __version__)

    def rearm(self, version: str) -> None:
        """See ports."""
        boot.rearm(self._part(), self._path(version))

    def condemn(self, version: str) -> None:
        """See ports."""
        boot.condemn(self._part(), self._path(version))

    def answers(self, required: Collection[str], *, evidence: bool) -> Answers:
        """See ports."""
        return asked.answers(required, evidence=evidence)

    def seal_refusal(self, approval: bytes) -> str:
        """See ports."""
        return asked.seal_refusal(approval)

    def raise_seal(self) -> None:
        """See ports."""
        if said := asked.raise_seal():
            print(said, flush=True)

    def crashes(self, since: float) -> list[str]:
        """See ports."""
        return asked.crashes(since)

    def set_clock(self, seconds: float) -> None:
        """See ports."""
        asked.set_clock(seconds)

    def admit(self, directory: str, hold_s: float | None) -> None:
        """See ports."""
        stored.admit(directory, hold_s)

    def reboot(self) -> None:
        """See ports."""
        asked.reboot()

    def now(self) -> float:
        """See ports."""
        return time.time()

    def steady(self) -> float:
        """See ports."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def _part(self) -> Esp:
        return Esp(esp.device())

    def _path(self, version: str) -> str:
        stem, part = slots.stem(version), self._part()
        for each in boot.entries(part):
            if each.stem == stem:
                return f"{IMAGES}/{each.name}"
        selected = efi.loader_text("LoaderEntrySelected")  # what runs may have lost its counter
        if version == __version__ and (made := boot.confirm(part, "", selected, version)):
            return f"{IMAGES}/{made}"
        raise UnavailableError(f"there is no entry of {version} on the boot partition")


def image(path: str = OS_RELEASE) -> str:
    """What releases are for this machine, such as ``base-x86_64``. Raises OSError."""
    with open(path, encoding="utf-8") as file:
        facts = dict(line.strip().split("=", 1) for line in file if "=" in line)
    return f"{facts.get('AINOS_VARIANT', 'base')}-{platform.machine()}"


def flow() -> Flow:
    """The steps, on this machine. Raises OSError."""
    with open(BOOT_ID, encoding="ascii") as file:
        host = Host(__version__, image(), file.read().strip())
    records = Records(constants.UPDATE)
    return Flow(host, records, settings, Machine(), lambda line: print(line, flush=True))
