"""ainit's own event log, judged: is it what the TPM saw, and is that what the build predicted?

``read`` recomputes every digest from the typed content and refuses types it does not know;
``compare`` holds the events against the golden artefacts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import MeasurementError
from ..policy import phases
from ..policy.phases import Event
from ..wire import codec
from .golden import Artefact
from .verdict import ArtefactFact, State

_RECORDS = 16 * 1024
_NO_ARTEFACTS = (phases.BOOT, phases.CAP)


@dataclass(frozen=True, slots=True)
class Log:
    """The events of ``log.cel`` by record number, and what is wrong with it."""

    events: tuple[tuple[int, Event], ...]
    problems: tuple[str, ...]

    @property
    def counters(self) -> tuple[int, int] | None:
        """The TPM's resets and restarts when ainit started; None when the log does not say."""
        match self.events[:1]:
            case ((0, Event(content={"type": phases.BOOT, "resets": int(a), "restarts": int(b)})),):
                return a, b
        return None

    def replay(self, start: dict[int, bytes], *, to_cap: bool = False) -> dict[int, bytes]:
        """The values of ainit's PCRs from ``start``: at the cap of each that has one, or at the
        end.
        """
        values = {pcr: start.get(pcr, phases.ZERO) for pcr in phases.LOGGED}
        closed: set[int] = set()
        for _, event in self.events:
            if event.pcr not in closed:
                values[event.pcr] = phases.fold(values[event.pcr], event.digest)
            if to_cap and event.content["type"] == phases.CAP:
                closed.add(event.pcr)
        return values


def read(data: bytes) -> Log:
    """The events in the log, one JSON record a line, each exactly as ainit writes it."""
    problems: list[str] = []
    events: list[tuple[int, Event]] = []
    lines = data.split(b"\n")
    if lines.pop():
        problems.append("the last record is cut off")
    if len(lines) > _RECORDS:
        problems.append(f"has {len(lines)} records, {_RECORDS} at most")
    for number, line in enumerate(lines[:_RECORDS]):
        try:
            record = codec.loads(line)
            if not isinstance(record, dict):
                raise MeasurementError(f"record {number}: is no JSON object")
            event = phases.parse(record, number)
            if codec.dumps(event.record(number)).encode("ascii") != line:
                raise MeasurementError(f"record {number}: is not written as ainit writes it")
        except (ValueError, MeasurementError) as error:
            text = str(error)
            problems.append(text if text.startswith("record") else f"record {number}: {text}")
        else:
            events.append((number, event))
    problems += _order_problems(events)
    return Log(tuple(events), tuple(problems))


def _order_problems(events: Sequence[tuple[int, Event]]) -> list[str]:
    """The boot's record, the boot set in its order, each PCR capped once; nothing twice."""
    problems = []
    seen: dict[bytes, int] = {}
    for number, event in events:
        if event.digest in seen and event.content["type"] != phases.CAP:
            problems.append(f"record {number}: repeats record {seen[event.digest]}")
        seen.setdefault(event.digest, number)
    types = [(number, event.content["type"], event.pcr) for number, event in events]
    if [number for number, kind, _ in types if kind == phases.BOOT] != [0]:
        problems.append("does not begin with the one record of which boot this is")
    caps = [pcr for _, kind, pcr in types if kind == phases.CAP]
    problems += [
        f"PCR {pcr} is capped {caps.count(pcr)} times, not once"
        for pcr in phases.CAPPED
        if caps.count(pcr) != 1
    ]
    places = [place for place, (_, kind, _) in enumerate(types) if kind == phases.CAP]
    until = places[0] if places else len(types)
    measured = [pcr for _, _, pcr in types[1:until]]
    together = places == list(range(until, until + len(places)))
    if sorted(caps) != caps or sorted(measured) != measured or not together:
        problems.append("the boot set or its caps are out of order")
    return problems


def compare(log: Log, golden: Iterable[Artefact]) -> list[ArtefactFact]:
    """What became of each predicted artefact, then of everything else that was measured."""
    facts: list[ArtefactFact] = []
    left = {number: event.content for number, event in log.events}
    left = {n: content for n, content in left.items() if content["type"] not in _NO_ARTEFACTS}
    for artefact in golden:
        own = [
            (number, content)
            for number, content in left.items()
            if content["name"] == artefact.name
            and content.get("kind", content["type"]) == artefact.kind
        ]
        facts.append(_fact(artefact, own))
        for number, content in own:
            if (
                content.get("digest", artefact.digest) == artefact.digest
                or number == facts[-1].record
            ):
                del left[number]
    for number, content in left.items():
        kind, name = str(content.get("kind", content["type"])), str(content["name"])
        if content["type"] == phases.REFUSAL:
            reason = str(content["reason"])
            facts.append(ArtefactFact(kind, name, None, None, State.REFUSED, number, reason))
        else:
            digest = str(content["digest"])
            facts.append(ArtefactFact(kind, name, None, digest, State.EXTRA, number, ""))
    return facts


def _fact(artefact: Artefact, own: list[tuple[int, phases.Content]]) -> ArtefactFact:
    """One predicted artefact: a refusal outweighs the right digest, which outweighs another."""

    def weight(entry: tuple[int, phases.Content]) -> tuple[bool, bool, int]:
        number, content = entry
        refused = content["type"] == phases.REFUSAL
        return not refused, content.get("digest") != artefact.digest, number

    kind, name, wanted = artefact.kind, artefact.name, artefact.digest
    if not own:
        return ArtefactFact(kind, name, wanted, None, State.MISSING, None, "")
    number, content = min(own, key=weight)
    if content["type"] == phases.REFUSAL:
        reason = str(content["reason"])
        return ArtefactFact(kind, name, wanted, None, State.REFUSED, number, reason)
    measured = str(content["digest"])
    state = State.MEASURED if measured == wanted else State.ALTERED
    return ArtefactFact(kind, name, wanted, measured, state, number, "")


def describe(fact: ArtefactFact) -> str:
    """One plain sentence about an artefact that is not as predicted."""
    subject = f"{fact.kind} {fact.name}"
    if fact.state is State.ALTERED:
        return f"{subject} was altered: {fact.measured} was measured, {fact.predicted} predicted"
    if fact.state is State.MISSING:
        return f"{subject} was predicted and never measured"
    if fact.state is State.EXTRA:
        return f"{subject} was measured ({fact.measured}) and is no part of the build"
    return f"{subject} was refused by the machine: {fact.reason}"
