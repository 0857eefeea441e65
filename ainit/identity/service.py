"""The varlink service ``org.ainos.Identity``: issues, renews, or says why it does not.

A certificate is renewed at half of its life. Before each round the PCRs are compared with the logs
of what was measured, and the last verdict of a verifier is looked at (``rules``). When something is
in the way, nothing is issued and the certificates that there are run out; those that have are
removed. The TPM is opened for each round.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from ..attest import pcrs
from ..attest.quote import AttestationTpm
from ..attest.service import Sources
from ..attest.tpms import MalformedError
from ..child.server import Service, VarlinkError
from ..constants import AUTHORITY, IDENTITIES, VERDICT
from ..errors import AinosError
from ..linux import files
from ..policy.identity import Settings
from ..wire import interface_text
from ..wire.codec import dumps, loads
from ..wire.protocol import INVALID_PARAMETER, Message
from . import rules
from .authority import Authority, Issued, known
from .directories import Directories

INTERFACE = "org.ainos.Identity"
AGENT, CA = "agent.pem", "ca.pem"
_TRIES = 5  # PID 1 writes a record behind the extension that it is of
_TRY_SECONDS = 0.2
_REASON_MAX = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are, and the clocks: of the wall, which certificates go by, and one that does
    not jump.
    """

    sources: Sources = field(default_factory=Sources)
    authority: str = AUTHORITY
    directory: str = IDENTITIES
    verdict: str = VERDICT
    wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Identity:
    """What was issued, and the methods of the interface."""

    def __init__(self, settings: Settings, place: Place | None = None) -> None:
        self._settings = settings
        self._place = place or Place()
        self._directories = Directories(self._place.directory)
        self._issued: dict[str, Issued] = {}
        self._verdict = _told(self._place.verdict)
        self._problems: list[str] = []  # of the last round, but for what a verifier says
        self._said: list[str] = []
        self._authority: Authority | None = None
        self._directories.keep(settings.agents)
        for name in settings.agents:
            self._take_up(name)

    def tick(self) -> float:
        """Renew what is due; returns in how many seconds to come again."""
        now = self._place.wall()
        if due := [name for name in self._settings.agents if self._is_due(name, now)]:
            self._problems = self._round(due, now)
        self._say()
        for name, issued in list(self._issued.items()):
            if now >= issued.until:
                del self._issued[name]
                self._directories.take(name, (AGENT,))
                print(f"the certificate of {name} has run out", flush=True)
        return self._settings.life / 20

    def _take_up(self, name: str) -> None:
        """What an earlier process of this service issued goes on, unless it is for another name."""
        issued = known(_read(f"{self._place.directory}/{name}/{AGENT}"))
        if issued is not None and issued.identity == self._identity(name):
            self._issued[name] = issued
        else:
            self._directories.take(name, (AGENT,))

    def _identity(self, name: str) -> str:
        return f"spiffe://{self._settings.trust_domain}/agent/{name}"

    def _is_due(self, name: str, now: datetime.datetime) -> bool:
        issued = self._issued.get(name)
        life = datetime.timedelta(seconds=self._settings.life)
        return issued is None or not issued.until - life <= now < issued.until - life / 2

    def _round(self, due: list[str], now: datetime.datetime) -> list[str]:
        """Issue for all of these unless something hinders; returns what is wrong here."""
        settings, place = self._settings, self._place
        try:
            with AttestationTpm(place.sources.tcti) as tpm:
                found = self._deviations(tpm)
                if self._hindrances(found):
                    return found
                authority = Authority.of(place.authority, tpm, settings.trust_domain)
                self._authority = authority
                for name in due:
                    issued = authority.issue(tpm, name, now.replace(microsecond=0), settings.life)
                    pems = {CA: authority.pem, AGENT: issued.pem}
                    self._directories.put(name, settings.agents[name], pems)
                    self._issued[name] = replace(issued, pem=b"")  # the key is the agent's alone
        except (AinosError, MalformedError, OSError) as error:
            return [str(error)]
        return []

    def _deviations(self, tpm: AttestationTpm) -> list[str]:
        """Looked at again for a moment: something may be measured meanwhile."""
        sources = self._place.sources
        found: list[str] = []
        for trial in range(_TRIES):
            if trial:
                self._place.sleep(_TRY_SECONDS)
            values = tpm.pcr_values(pcrs.QUOTED)
            found = rules.deviations(values, _read(sources.log), _read(sources.firmware_log))
            if not found:
                break
        return found

    def _hindrances(self, problems: list[str]) -> list[str]:
        return rules.hindrances(
            problems,
            self._verdict,
            self._place.steady(),
            interval=self._settings.interval,
            verdict_required=self._settings.verdict_required,
        )

    def _say(self) -> None:
        """What hinders, when that becomes something else."""
        found = self._hindrances(self._problems)
        if found != self._said:
            issued = "certificates are issued again"
            print(f"<4>nothing is issued: {'; '.join(found)}" if found else issued, flush=True)
        self._said = found

    def status(self, _: Message) -> Message:
        """``Status()``: the authority, whose certificates run until when, and what hinders."""
        settings, authority = self._settings, self._authority
        return {
            "trust_domain": settings.trust_domain,
            "life_s": settings.life,
            "attest_interval_s": settings.interval,
            "verdict_required": settings.verdict_required,
            "authority": authority.pem.decode() if authority else "",
            "fingerprint": authority.fingerprint if authority else "",
            "hindrances": self._hindrances(self._problems),
            "agents": [self._agent(name) for name in sorted(settings.agents)],
        }

    def _agent(self, name: str) -> Message:
        issued = self._issued.get(name)
        return {
            "name": name,
            "identity": self._identity(name),
            "serial": f"{issued.serial:x}" if issued else None,
            "until": issued.until.isoformat() if issued else None,
        }

    def verdict(self, parameters: Message) -> Message:
        """``Verdict(accepted, reason)``: what a verifier said of this machine just now."""
        accepted, reason = parameters.get("accepted"), parameters.get("reason", "")
        if not isinstance(accepted, bool):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "accepted"})
        if not isinstance(reason, str):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "reason"})
        self._verdict = rules.Verdict(accepted, reason[:_REASON_MAX], self._place.steady())
        files.replace(self._place.verdict, dumps(asdict(self._verdict)).encode(), mode=0o600)
        return {}

    def service(self) -> Service:
        """The service, ready to serve."""
        methods = {"Status": self.status, "Verdict": self.verdict}
        return Service(interface_text(INTERFACE), methods)


def _told(path: str) -> rules.Verdict | None:
    """The last verdict of this boot: a service that is started anew has not forgotten a refusal."""
    text = _read(path)
    if not text:
        return None
    try:
        record = loads(text)
        if not isinstance(record, dict):
            raise ValueError("no record")
        return rules.Verdict(record["accepted"] is True, str(record["reason"]), float(record["at"]))
    except (KeyError, ValueError):
        return rules.Verdict(False, f"{path} cannot be read", 0.0)


def _read(path: str) -> bytes:
    """The file, or nothing when the machine has none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
