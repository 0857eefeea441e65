"""A release on trial: looked at until it is committed, or given up for the one before.

trial = Trial(host, records, world, settings, say)
trial.look()                                        # every few seconds, until trial.is_over
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import AinosError
from ..policy.update import Settings
from . import decide, gate, history
from .decide import Slot
from .gate import Answers, Gate
from .history import Checked, Entry, Records, State
from .ports import World
from .release import order

EVIDENCE_S = 60.0  # between two quotes of the TPM

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Host:
    """What runs: its version, image (``base-x86_64``), and the ID of this boot."""

    version: str
    image: str
    boot: str


class Trial:
    """The trial of what runs. Methods raise AinosError or OSError."""

    def __init__(
        self, host: Host, records: Records, world: World, settings: Settings, say: Say
    ) -> None:
        self.is_over = False
        self.host, self.records, self.world = host, records, world
        self._settings, self._say = settings, say
        self.gate = Gate(settings.healthy_s, settings.healthy_within_s, world.steady())
        self._evidence = ("", -EVIDENCE_S)

    def look(self) -> None:
        """Judge a release on trial once; commit it or go back when it is time."""
        state = self.records.state()
        if state is None or self.is_over:
            return
        now = self.world.steady()
        restarts = self.gate.restarts or {}
        try:
            answers = self._answers(now)
            found = gate.problems(answers, state, self._settings.required)
            restarts = gate.restarts(answers)
        except Exception as error:  # noqa: BLE001 (what says nothing of itself is not healthy)
            found = [f"nothing is known of the machine: {str(error) or repr(error)}"]
        outcome = self.gate.look(found, restarts, now)
        if outcome == gate.PASSED:
            self._commit(state)
        elif outcome == gate.FAILED:
            self.give_up(state, self.gate.reason)
        else:
            reason = "" if self.gate.since is not None else self.gate.reason
            if reason != state.reason:
                self._keep(state, reason)
                self._say(f"{state.version}: {reason or 'healthy'}")

    def _answers(self, now: float) -> Answers:
        """What the services say; a quote is made now and then only, and before a commit."""
        last, when = self._evidence
        since = self.gate.since
        is_last = since is not None and now - since >= self.gate.healthy_s
        fresh = now - when >= EVIDENCE_S or bool(last) or is_last
        answers = self.world.answers(self._settings.required, evidence=fresh)
        if fresh:
            self._evidence = (answers.evidence, now)
        return answers

    def _commit(self, state: State) -> None:
        """The release stays. May be done twice: what a power cut left undone is done anew."""
        slots = self.world.slots()
        self.world.confirm()
        floors = self.records.floors()
        floors = decide.raised(floors, state.version_floor, state.data_format_floor)
        self.records.raise_floors(floors)
        slot = decide.other(slots, self.host.version)
        if slot and (why := self._below(slot)):
            self._say(f"{why}: it is removed")
            self.world.retire()
        try:
            self.world.raise_seal()
        except (AinosError, OSError) as error:  # it is done again after each healthy boot
            self._say(f"<4>{error}")
        self.records.clean()
        self.is_over = True
        end(self.records, self.world.now(), state, history.COMMITTED)
        self._say(f"{state.version} is committed")

    def _below(self, slot: Slot) -> str:
        floors = self.records.floors()
        generation = decide.generation(self.world.approval(slot.version)) or floors.data_format
        return decide.under(slot.version, generation, floors)

    def give_up(self, state: State, reason: str) -> bool:
        """Go back, if there is anything to go back to; whether there is."""
        slot = decide.other(self.world.slots(), self.host.version)
        # One that is newer lost its tries so that this one boots: see `Flow`.
        is_newer = slot is not None and order(slot.version) > order(self.host.version)
        if slot is None or not (slot.left or is_newer):
            reason = f"{reason}; there is no other release to go back to"
            self._keep(state, reason)
            self._say(reason)
            self.gate.began = self.world.steady()
            return False
        self._keep(state, reason)
        self._say(f"{state.version} is given up: {reason}")
        if is_newer:
            self.world.rearm(slot.version)
        self.world.condemn(self.host.version)
        self.is_over = True
        self.world.reboot()
        return True

    def _keep(self, state: State, reason: str) -> None:
        """Write down a reason. A state partition that is full is no reason to stay."""
        try:
            self.records.write(replace(state, reason=reason))
        except OSError as error:
            self._say(f"<4>the state partition takes nothing: {error.strerror}")


def end(records: Records, now: float, state: State, outcome: str, reason: str = "") -> None:
    """Nothing is under way any more; what it came to is kept. Raises OSError."""
    records.note(Entry(now, state.version, state.before, outcome, reason))
    if outcome in (history.COMMITTED, history.FELL_BACK, history.ROLLED_BACK):
        records.note_checked(Checked())  # what was offered was offered to another release
    records.write(None)
