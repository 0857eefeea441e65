"""A verifier that many machines talk to: a nonce, a challenge, a verdict, each good once and for a
while. Leaves out how they are asked for, see ``server``.

    verifier = Verifier(lambda: (policy, manufacturers), Register("/var/lib/ainos-verifier"))
    nonce = verifier.nonce()
    identity, challenge = verifier.challenge("node1", evidence)
    verdict = verifier.answer(identity, secret)
"""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import AinosError, RefusedError, UnavailableError
from .acceptance import Policy
from .enrol import Challenge, challenge
from .evidence import Evidence
from .register import LIFETIME, Register, judge
from .verdict import Verdict
from .verify import Trust

PENDING = 64  # challenges that wait for their answer, each with its evidence in memory
_IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Pending:
    machine: str
    evidence: Evidence
    challenge: Challenge
    until: datetime.datetime


class Verifier:
    """``accepted`` gives the policy and the manufacturers' certificates (PEM) in force, for each
    verdict anew. Threads may share a verifier.
    """

    def __init__(
        self,
        accepted: Callable[[], tuple[Policy, bytes]],
        register: Register,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._accepted = accepted
        self.register = register
        self._now = now
        self._random = random
        self._pending: dict[str, _Pending] = {}
        self._lock = threading.Lock()

    def nonce(self) -> bytes:
        """What the machine is to have quoted. Raises BlockingIOError while too many are out."""
        with self._lock:
            return self.register.issue(self._now())

    def challenge(self, machine: str, evidence: Evidence) -> tuple[str, Challenge]:
        """Take evidence over one of our nonces, which is used up by that. Returns the name under
        which to answer, and what to ask of the machine's TPM.

        Raises RefusedError for a nonce that is not good, ConfigError for a name that is none,
        MalformedError for keys that are none, BlockingIOError while too many wait.
        """
        now = self._now()
        with self._lock:
            self.register.known(machine)  # a name that is none is refused before anything is kept
            self._pending = {name: one for name, one in self._pending.items() if one.until > now}
            if len(self._pending) >= PENDING:
                raise BlockingIOError("too many challenges wait for an answer")
            if why := self.register.redeem(evidence.nonce, now):
                raise RefusedError(why)
            asked = challenge(evidence, self._random)
            identity = self._random(_IDENTITY_BYTES).hex()
            self._pending[identity] = _Pending(machine, evidence, asked, now + LIFETIME)
            return identity, asked

    def answer(self, identity: str, secret: bytes) -> Verdict:
        """Judge the evidence with what the TPM recovered; an accepted machine is remembered.

        Raises RefusedError when nothing was asked under this name, or too long ago, and
        UnavailableError while there is no policy.
        """
        try:
            policy, manufacturers = self._accepted()
        except (AinosError, OSError) as error:
            raise UnavailableError(f"the verifier's policy cannot be used: {error}") from error
        with self._lock:
            now = self._now()
            asked = self._pending.pop(identity, None)
            if asked is None or asked.until <= now:
                raise RefusedError("no such challenge, or it was too long ago")
            trust = Trust(
                policy=policy,
                manufacturers=manufacturers,
                now=now,
                nonce=asked.evidence.nonce,
                activation=asked.challenge.answered(secret),
            )
            return judge(asked.evidence, trust, self.register, asked.machine)
