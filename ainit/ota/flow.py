"""An update from the look at the repository to its commit, one step a method.

Nothing here waits, and nothing is remembered but in `Records`: a process that was killed at any
moment goes on, or begins anew, by `begin`. What is outside is reached through `World`.

    flow = Flow(host, Records(constants.UPDATE), lambda: settings, world)
    flow.begin(); flow.check(); flow.install(None, tell)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..errors import AinosError, RefusedError
from ..policy import update
from ..policy.update import Settings
from . import decide, gate, history
from .decide import Machine
from .history import Entry, Records, State
from .ports import Offered, Repository, Tell, Wanted, World
from .release import Release, order, target
from .slots import TRIES
from .trial import Host, Trial, end

APPROVAL = "uki.seal.json"
APPROVAL_BYTES_MAX = 64 << 10


class DeclinedError(RefusedError):
    """A release is not for this machine now: no trouble, and nothing to mend."""


class Flow:
    """The steps. ``offer`` is the newest release as of the last check, ``hindrance`` why it is not
    for this machine now; ``say`` takes lines for the log.
    """

    def __init__(
        self,
        host: Host,
        records: Records,
        settings: Callable[[], Settings],
        world: World,
        say: Callable[[str], None] = print,
    ) -> None:
        self.host, self.records, self.settings, self.world = host, records, settings, world
        self.offer: Offered | None = None
        self.hindrance = ""
        self.trial: Trial | None = None
        self._say = say

    def meaning(self) -> str:
        """What this boot means for the update under way, see ``decide``."""
        return decide.meaning(self.records.state(), self.host.version, self.host.boot)

    def begin(self) -> None:
        """Draw the consequences of this boot. Raises OSError or AinosError."""
        state, meaning = self.records.state(), self.meaning()
        if state is None:
            return
        if meaning == decide.TRIAL:
            if state.last_boot != self.host.boot:
                here, began = self.host.boot, self.world.steady()
                state = replace(state, boots=state.boots + 1, last_boot=here, began=began)
                try:
                    self.records.write(state)
                except OSError as error:
                    self._say(f"<4>the state partition takes nothing: {error.strerror}")
            settings = self.settings()
            self.trial = Trial(self.host, self.records, self.world, settings, self._say)
            self.trial.gate.began = state.began  # a service that dies has no more time for that
            self._say(f"{state.version} is on trial until it is healthy for {settings.healthy_s} s")
        elif meaning == decide.FELL_BACK:
            self._fell_back(state)
        elif meaning in (decide.ROLLED_BACK, decide.MISSED):
            missed = meaning == decide.MISSED
            outcome = history.FAILED if missed else history.ROLLED_BACK
            self._end(state, outcome, "the release before did not boot" if missed else "")

    def check(self) -> None:
        """Look what there is. Raises RefusedError and UnavailableError with the reason."""
        with self.opened() as (settings, repository):
            self.offer = repository.newest(settings.channel, self.host.image)
        self.judge()

    @contextmanager
    def opened(self) -> Iterator[tuple[Settings, Repository]]:
        """The repository, its metadata up to date. Raises AinosError or OSError."""
        settings = self.settings()
        if not settings.repository:
            raise DeclinedError("no repository: [update] in the machine configuration names it")
        with self.world.repository(settings) as repository:
            self._refresh(repository)
            yield settings, repository

    def judge(self) -> None:
        """Decide anew whether the offer is for this machine."""
        if self.offer is None:
            self.hindrance = "nothing is published for this machine"
            return
        release, rollout = self.offer.release, self.offer.rollout
        self.hindrance = decide.hindrance(release, rollout, self._machine())

    def install(self, version: str | None, tell: Tell) -> None:
        """Write a release into the other slot; the next boot takes it. Without a version the newest
        that is offered. Raises AinosError or OSError; then nothing is pending.
        """
        with self.opened() as (settings, repository):
            release = self._chosen(repository, settings.channel, version)
            name = target(settings.channel, self.host.image, release.version, APPROVAL)
            if refusal := self.world.seal_refusal(repository.small(name, APPROVAL_BYTES_MAX)):
                raise RefusedError(f"{release.version} would not open the state: {refusal}")
            state = State(
                phase=history.INSTALLING,
                version=release.version,
                before=self.host.version,
                boot=self.host.boot,
                by_hand=version is not None,
                version_floor=release.version_floor,
                data_format_floor=release.data_format_floor,
            )
            state = gate.before(self.world.answers(settings.required, evidence=False), state)
            self.records.clean(kept=release.version)
            self.records.write(state)
            written = replace(state, phase=history.PENDING)
            wanted = Wanted(
                release,
                settings.channel,
                f"{self.records.staging}/{release.version}",
                lambda: self.records.write(written),
            )
            try:
                self.world.install(repository, wanted, tell)
                self._prefer(state.version)
            except Exception as error:
                self._given_up(state, str(error) or repr(error))
                raise
        self.records.clean()
        entry = Entry(self.world.now(), state.version, state.before, history.INSTALLED)
        self.records.note(entry)
        self._say(f"{state.version} is installed, and boots next")

    def resume(self, tell: Tell) -> None:
        """Do anew what was interrupted while it was written. Raises as `install` does."""
        state = self.records.state()
        if state is None:
            return
        try:
            self.install(state.version if state.by_hand else None, tell)
        except Exception as error:
            if self.records.state() is not None:  # it did not come as far as that
                self._given_up(state, str(error))
            raise

    def cancel(self) -> str:
        """Forget what is installed and has not booted; returns what. Raises RefusedError."""
        state, meaning = self.records.state(), self.meaning()
        if state is None:
            raise RefusedError("nothing is under way")
        if meaning == decide.TRIAL:
            raise RefusedError(
                f"{state.version} runs already; `ainitctl update rollback` goes back"
            )
        if state.phase == history.ROLLING_BACK:
            raise RefusedError(f"the machine is going back to {state.version}")
        self.world.retire()
        if order(state.version) < order(self.host.version):
            self.world.rearm(self.host.version)
        self.records.clean()
        self._end(state, history.CANCELLED)
        return state.version

    def rollback(self) -> str:
        """Boot the release before, which returns its version. Raises RefusedError."""
        state, slots = self.records.state(), self.world.slots()
        if state is not None and self.trial is not None:
            if not self.trial.give_up(state, "it was rolled back by hand"):
                raise RefusedError("there is no other release to go back to")
            return state.before
        if state is not None:
            raise RefusedError(f"{state.version} is installed; `ainitctl update cancel` forgets it")
        slot = decide.other(slots, self.host.version)
        if slot is None:
            raise RefusedError("there is no other release on this machine")
        approval, floors = self.world.approval(slot.version), self.records.floors()
        generation = decide.generation(approval) or floors.data_format
        if why := decide.under(slot.version, generation, floors):
            raise RefusedError(why)
        if refusal := self.world.seal_refusal(approval):
            raise RefusedError(f"{slot.version} would not open the state: {refusal}")
        here = self.host
        self.records.write(State(history.ROLLING_BACK, slot.version, here.version, here.boot))
        self.world.rearm(slot.version)
        self.world.condemn(here.version)
        self.world.reboot()
        return slot.version

    def _machine(self) -> Machine:
        state = self.records.state()
        pending = state.version if state and state.phase != history.INSTALLING else ""
        failed = history.failed(self.records.history())
        return Machine(
            self.records.identity(), self.host.image, self.host.version, self.records.floors(),
            failed, pending,
        )  # fmt: skip

    def _refresh(self, repository: Repository) -> None:
        repository.refresh()
        signed = repository.signed_time()
        if signed is not None and self.world.now() < signed:
            self._say("the clock is behind what was signed already, and is set forward")
            self.world.set_clock(signed)
            repository.refresh()  # what has expired by that clock is refused

    def _chosen(self, repository: Repository, channel: str, version: str | None) -> Release:
        if version is None:
            self.offer = repository.newest(channel, self.host.image)
            self.judge()
            if self.offer is None or self.hindrance:
                raise DeclinedError(self.hindrance)
            return self.offer.release
        release = repository.release(channel, self.host.image, version)
        if release is None:
            raise DeclinedError(f"{channel} has no {version} for {self.host.image}")
        if why := decide.hindrance(release, 100, self._machine(), by_name=True):
            raise DeclinedError(why)
        return release

    def _prefer(self, version: str) -> None:
        """Have the loader take a release that is older than what runs: of those that have tries it
        takes the newest.
        """
        if order(version) < order(self.host.version):
            self.world.condemn(self.host.version)

    def _given_up(self, state: State, reason: str) -> None:
        """What was written so far boots nothing; what was fetched stays, to go on with."""
        try:
            self.world.retire()
        except Exception as error:  # noqa: BLE001 (whatever it is, the update is over)
            reason = f"{reason}; then: {error}"
        self._end(state, history.FAILED, reason)

    def _fell_back(self, state: State) -> None:
        try:
            slots = self.world.slots()
        except (AinosError, OSError) as error:
            self._say(f"<4>the boot partition cannot be read: {error}")
            if not state.boots:
                return  # it may be there, and boot next
            slots = []
        mine = [slot for slot in slots if order(slot.version) == order(state.version)]
        is_untried = not state.boots and mine and mine[0].left == TRIES
        if is_untried and not state.passed:  # it boots next
            self._prefer(state.version)
            self.records.write(replace(state, boot=self.host.boot, passed=1))
            return
        if not state.boots and not mine:
            self._end(state, history.FAILED, "interrupted before it could boot")
            return
        began = next(
            (
                entry.time
                for entry in reversed(self.records.history())
                if entry.version == state.version and entry.outcome == history.INSTALLED
            ),
            0.0,
        )
        reason = decide.why_fallen(state, slots, self.world.crashes(began))
        if mine and mine[0].left:
            self.world.condemn(state.version)
        self._end(state, history.FELL_BACK, reason)

    def _end(self, state: State, outcome: str, reason: str = "") -> None:
        end(self.records, self.world.now(), state, outcome, reason)
        self._say(f"{state.version}: {outcome}{f': {reason}' if reason else ''}")


def wants_reboot(settings: Settings, meaning: str, now: float) -> bool:
    """Whether the machine reboots by itself now."""
    is_installed = meaning == decide.INSTALLED and settings.automatic == update.REBOOT
    return is_installed and update.opens(settings, now) == 0
