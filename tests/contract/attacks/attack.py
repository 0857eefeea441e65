"""What an attack is: a forger who acts, and the one check that stops him.

An attack is a function that does what its docstring says and returns whether the forger was
believed. It is run twice: against what we ship, which must not believe him, and against the same
without the check that the attack names, which must. So each check is shown to be needed, and each
forgery to be flawless but for that one thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ainit.attest import verify
from ainit.attest.enrol import Enrolment
from ainit.attest.keys import Findings
from tests.unit.attest.machine import Machine

Lack = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a forger finds: a machine whose TPM (EMULATED) he may boot as he likes, what an honest
    conversation with an honest machine brought, and a directory.
    """

    machine: Machine
    honest: Enrolment
    honest_machine: Machine
    directory: Path

    def believed(self, enrolment: Enrolment, **trust: object) -> bool:
        """Does the verifier accept this of the honest machine, trusting otherwise as told?"""
        usual = self.honest_machine.trust(enrolment)
        return verify.verify(enrolment.evidence, replace(usual, **trust)).accepted  # type: ignore[arg-type]

    def answers(self, unpredicted: Collection[int] = ()) -> bool:
        """Does the verifier accept what the forger's machine answers now? It has no predictions of
        the PCRs in ``unpredicted``, because machines differ there.
        """
        answer = self.machine.enrol()
        trust = self.machine.trust(answer)
        (image,) = trust.policy.images
        left = {pcr: value for pcr, value in image.pcrs.items() if pcr not in unpredicted}
        policy = replace(trust.policy, images=(replace(image, pcrs=left),))
        return verify.verify(answer.evidence, replace(trust, policy=policy)).accepted


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: its name, what is done, and the check that it would win without."""

    name: str
    tale: str
    check: str
    run: Callable[[Ground], bool]
    lack: Lack


CATALOGUE: dict[str, Attack] = {}

Run = Callable[[Ground], bool]


def stopped_by(check: str, lack: Lack) -> Callable[[Run], Run]:
    """Enter the function into the catalogue. ``check`` names, in words, what stops it."""

    def enter(run: Run) -> Run:
        name = run.__name__.replace("_", "-")
        assert name not in CATALOGUE, name
        CATALOGUE[name] = Attack(name, " ".join((run.__doc__ or "").split()), check, run, lack)
        return run

    return enter


def unsaid(code: str, words: str = "") -> Lack:
    """A verifier that does not say what has this code and these words (a regular expression)."""

    def lack(patch: pytest.MonkeyPatch) -> None:
        for scope in ("evidence", "machine"):
            say = getattr(Findings, scope)

            def kept(
                self: Findings,
                found: str,
                subject: str,
                message: str,
                say: Callable[[Findings, str, str, str], None] = say,
            ) -> None:
                if found != code or not re.search(words, f"{subject}: {message}"):
                    say(self, found, subject, message)

            patch.setattr(Findings, scope, kept)

    return lack


def without(target: object, name: str, value: object) -> Lack:
    """A verifier in which one name means something harmless."""

    def lack(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(target, name, value)

    return lack


def both(*lacks: Lack) -> Lack:
    """One check that is made in two places."""

    def lack(patch: pytest.MonkeyPatch) -> None:
        for each in lacks:
            each(patch)

    return lack


class Equal(bytes):
    """Bytes that equal any others."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__
