"""Rounds of decisions: who gets an instance now, who is moved for it, and what is kept for whom.

A round goes on until nothing can be done: agents in their order, then jobs that have waited too
long, each with room kept for it when it has none; then the other jobs, among which the policy
chooses, or waits. The policy proposes, ``decide`` checks against the devices as they are, and only
``transaction`` changes a GPU. What displaces somebody, and a move, is a *claim*: PID 1 is asked to
stop who is in the way, and when they let go the claim is carried out, unless it is too late.

    rounds.run(ledger, devices); rounds.news()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from . import candidates, requests, room
from .candidates import Candidate
from .candidates import Kind as Does
from .decide import Decider, Decision
from .errors import GpuError, GpuMissingError, NoRoomError
from .place import Device, Proposal
from .promise import Promise
from .queue import Kind, Queue, Standing
from .requests import Holder
from .round_records import (
    ALLOCATED,
    CLAIM_S,
    FAILURES_MAX,
    STEPS_MAX,
    UNCOLLECTED_S,
    Claim,
    Entry,
    Limits,
)
from .state import Hold, Request, Running, State
from .transaction import Ledger

Devices = Callable[[], Sequence[Device]]


class Rounds:
    """The state of the queue and of those who were served. ``note`` is told every decision."""

    def __init__(
        self,
        decider: Decider,
        queue: Queue,
        now: Callable[[], float],
        note: Callable[[Entry], None] = lambda entry: None,
        limits: Limits | None = None,
    ) -> None:
        self.decider = decider
        self.queue = queue
        self.holders: dict[str, Holder] = {}
        self.claims: dict[str, Claim] = {}
        self.leaving: dict[str, float] = {}
        self.limits = limits or Limits()
        self.moves: deque[float] = deque(maxlen=max(self.limits.moves_per_hour, 1))
        self.kept: Hold | None = None
        self.kept_for = ""
        self.failures: dict[str, tuple[int, GpuError]] = {}  # in a row, and the last
        self._now = now
        self._note = note
        self._asked: dict[str, float] = {}  # to move, and when
        self.promise = Promise()
        self._ready, self._move = list[str](), list[str]()

    def charge(self, ledger: Ledger) -> None:
        """Charge owners for what they have held until now."""
        held = requests.by_owner(ledger.assignments, self.holders)
        self.queue.usage.advance(self._now(), held)

    def let_go(self, name: str) -> None:
        """Somebody has, or will never have, what he asked for: those behind him may go on."""
        if (holder := self.holders.pop(name, None)) and holder.wish.kind is Kind.JOB:
            self.promise.ended(name, holder.profile, self._now() - holder.started)
        self.leaving.pop(name, None)
        for other, claim in list(self.claims.items()):
            if name in claim.waits_for:
                self.claims[other] = replace(claim, waits_for=claim.waits_for - {name})

    def forget(self, name: str) -> None:
        """Somebody waits no more, and holds nothing."""
        if self.queue.leave(name) is not None:
            self.promise.left(name)
        self._asked.pop(name, None)
        self.claims.pop(name, None)
        self.failures.pop(name, None)
        self.let_go(name)

    def collected(self, name: str) -> None:
        """Somebody was told what he has."""
        if name in self.holders:
            self.holders[name] = replace(self.holders[name], collected=True)

    def news(self, but: str = "") -> dict[str, object]:
        """``ready``: who was given an instance and does not know it yet, ``but`` for one who asks;
        ``move``: who is to be stopped and started again. Each is told once.
        """
        ready, self._ready, move, self._move = self._ready, [], self._move, []
        return {"ready": [name for name in ready if name != but], "move": move}

    def run(self, ledger: Ledger, devices: Devices) -> None:
        """One round. Raises GpuMissingError when the GPUs went meanwhile."""
        self.charge(ledger)
        self._expire(ledger)
        self._hold_to_promise(ledger, devices())
        for _ in range(STEPS_MAX):
            if not self._step(ledger, devices()):
                return

    def _hold_to_promise(self, ledger: Ledger, devices: Sequence[Device]) -> None:
        """Set a policy aside under which jobs wait longer than under the heuristic."""
        if not self.decider.has_policy:
            return
        now = self._now()
        standings = (e for e in self.queue.standings(now) if e.wish.kind is Kind.JOB)
        jobs = [requests.of(each.wish, devices, now, each) for each in standings]
        bare = requests.without_jobs(devices, ledger.assignments, self.holders)
        if reason := self.promise.judge(jobs, bare, now):
            self.decider.set_aside(reason)
            self.promise = Promise()

    def _expire(self, ledger: Ledger) -> None:
        now = self._now()
        for name, holder in list(self.holders.items()):
            late = now - holder.started > UNCOLLECTED_S
            if ledger.held_by(name) is None:
                self.let_go(name)
            elif not holder.collected and late:
                ledger.destroy(name)
                self.let_go(name)
        for name, since in list(self.leaving.items()):
            if now - since > CLAIM_S:
                del self.leaving[name]
        self.claims = {name: each for name, each in self.claims.items() if now <= each.until}

    def _step(self, ledger: Ledger, devices: Sequence[Device]) -> bool:
        """Do one thing; False when there is nothing to do."""
        now = self._now()
        running = requests.running(ledger.assignments, self.holders, devices, now, self.leaving)
        for claim in list(self.claims.values()):
            if not claim.waits_for:
                del self.claims[claim.name]
                if self._fulfil(claim, ledger, devices):
                    return True
        standings = [each for each in self.queue.standings(now) if self._may_go(each)]
        holds = [Hold(e.proposal.gpu, e.proposal.mask, CLAIM_S) for e in self.claims.values()]
        self.kept, self.kept_for = None, ""
        rest = []
        for standing in standings:
            if not (standing.wish.kind is Kind.AGENT or standing.overdue):
                rest.append(standing)
                continue
            if self._serve(standing, ledger, State(devices, (), running, holds)):
                return True
            holds += self._keep(standing, devices, running, holds)
        if rest:
            waiting = [requests.of(each.wish, devices, now, each) for each in rest]
            decision = self.decider.decide(State(devices, waiting, running, holds))
            if decision is not None and decision.candidate.kind is not Does.WAIT:
                return self._carry_out(decision, ledger)
        return self._consider_moves(standings, devices, running, holds)

    def _may_go(self, standing: Standing) -> bool:
        name = standing.wish.name
        tries = self.failures[name][0] if name in self.failures else 0
        return name not in self.claims and tries < FAILURES_MAX

    def _serve(self, standing: Standing, ledger: Ledger, state: State) -> bool:
        """Give somebody who goes before others an instance; an agent gets what it likes best."""
        request = requests.of(standing.wish, state.devices, self._now(), standing)
        wanted: list[Request] = [request]
        if standing.wish.kind is Kind.AGENT:
            liked = (name for name in standing.wish.profiles if name in request.speeds)
            wanted = [replace(request, speeds={name: request.speeds[name]}) for name in liked]
        for each in wanted:
            decision = self.decider.decide(replace(state, queue=(each,), may_wait=False))
            if decision is not None:
                return self._carry_out(decision, ledger)
        return False

    def _keep(
        self,
        standing: Standing,
        devices: Sequence[Device],
        running: Sequence[Running],
        holds: Sequence[Hold],
    ) -> list[Hold]:
        """Keep room for the first who has none; one at a time, or nothing would ever be free."""
        if self.kept_for:
            return []
        request = requests.of(standing.wish, devices, self._now(), standing)
        self.kept = room.keep(request, devices, running, holds)
        self.kept_for = standing.wish.name
        return [self.kept] if self.kept is not None else []

    def _carry_out(self, decision: Decision, ledger: Ledger) -> bool:
        """Do what was decided; whether the round goes on. Where the driver has no room though it
        lists some, the slices are barred, and another placement may do.
        """
        candidate, name = decision.candidate, decision.candidate.request
        in_the_way = {*candidate.displaces, *([name] if candidate.kind is Does.MOVE else [])}
        if in_the_way:
            self._claim(name, decision.proposal, in_the_way)
            outcome = f"waits for {', '.join(sorted(in_the_way))} to stop"
            self._note(Entry(self._now(), name, decision, outcome))
            return True
        outcome, barred = "interrupted", ledger.record.barred
        try:
            self._create(name, decision.proposal, ledger)
            outcome = ALLOCATED
        except GpuMissingError as error:
            outcome = str(error)
            raise
        except GpuError as error:
            outcome = str(error)
            if isinstance(error, NoRoomError) and ledger.record.barred != barred:
                return True
            self._failed(name, error)
        finally:
            self._note(Entry(self._now(), name, decision, outcome))
        return outcome == ALLOCATED

    def _create(self, name: str, proposal: Proposal, ledger: Ledger) -> None:
        ledger.create(name, proposal)
        self.failures.pop(name, None)
        if (wish := self.queue.leave(name)) is not None:
            now = self._now()
            self.holders[name] = Holder(wish, now, collected=False, profile=proposal.profile)
            if wish.kind is Kind.JOB:
                self.promise.served(now - wish.since)
            self._ready.append(name)

    def _failed(self, name: str, error: GpuError) -> None:
        self.failures[name] = (self.failures.get(name, (0, error))[0] + 1, error)

    def _claim(self, name: str, proposal: Proposal, in_the_way: set[str]) -> None:
        now = self._now()
        self.claims[name] = Claim(name, proposal, frozenset(in_the_way), now + CLAIM_S)
        for each in sorted(in_the_way):
            self.leaving[each] = self._asked[each] = now
            self._move.append(each)

    def _fulfil(self, claim: Claim, ledger: Ledger, devices: Sequence[Device]) -> bool:
        """Everybody let go. What has changed meanwhile is checked anew."""
        standings = self.queue.standings(self._now())
        standing = next((each for each in standings if each.wish.name == claim.name), None)
        if standing is None:
            return False
        request = requests.of(standing.wish, devices, self._now(), standing)
        holds = [Hold(e.proposal.gpu, e.proposal.mask, CLAIM_S) for e in self.claims.values()]
        state = State(devices, (request,), (), holds)
        if candidates.check(Candidate(Does.START, claim.name, claim.proposal), state):
            return False
        try:
            self._create(claim.name, claim.proposal, ledger)
        except GpuMissingError:
            raise
        except GpuError as error:
            self._failed(claim.name, error)
            return False
        return True

    def _consider_moves(
        self,
        standings: Sequence[Standing],
        devices: Sequence[Device],
        running: Sequence[Running],
        holds: Sequence[Hold],
    ) -> bool:
        """Move one service for the first in the queue, or to what it likes better."""
        now = self._now()
        if self.claims or self.leaving or not self.limits.moves_per_hour:
            return False  # one thing after the other
        if len(self.moves) == self.moves.maxlen and now - self.moves[0] < 3600.0:
            return False
        movable = {
            each.request.name: (each, holder.wish.profiles)
            for each in running
            if (holder := self.holders.get(each.request.name)) is not None
            and holder.wish.kind is Kind.AGENT
            and holder.wish.resizable
            and now - max(holder.started, self._asked.get(each.request.name, 0.0))
            >= self.limits.residency_s
        }
        others = [hold for hold in holds if hold is not self.kept]
        if standings:
            request = requests.of(standings[0].wish, devices, now, standings[0])
            move = room.make(request, devices, movable, others)
        else:
            move = room.grow(devices, movable, others)
        if move is None:
            return False
        self.moves.append(now)
        self._claim(move.name, move.proposal, {move.name})
        return True
