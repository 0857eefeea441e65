"""Attacks with ainit's log: what was measured is hidden, renamed or made to look like another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace

from ainit.attest import measurements
from ainit.errors import MeasurementError
from ainit.policy import phases
from ainit.policy.phases import Event
from ainit.wire import codec
from tests.unit.attest.machine import AGENTS, CONFIG, MODELS, boot_set, write_log

from .attack import Equal, Ground, both, stopped_by, unsaid, without

LATE = phases.measured("policy", "hot-swapped", "sha256:" + "5" * 64)
PARSE, COMPARE = phases.parse, measurements.compare
REPLAY = stopped_by("the log leads to the quoted PCRs", unsaid("replay"))


class Claimed(Event):
    """An event whose digest is what its record claims."""

    __slots__ = ("claimed",)

    def __init__(self, record: Mapping[str, object]) -> None:
        content, digests = record["content"], record["digests"]
        assert isinstance(content, dict)
        assert isinstance(digests, list)
        super().__init__(int(str(record["pcr"])), content)
        self.claimed = bytes.fromhex(digests[0]["digest"])

    @property
    def digest(self) -> bytes:
        return self.claimed


def credulous(record: Mapping[str, object], _number: int) -> Event:
    """Read a record and believe its digest."""
    return Claimed(record)


def lenient(record: Mapping[str, object], number: int) -> Event:
    """Read a record, and one of an unknown type as well."""
    try:
        return PARSE(record, number)
    except MeasurementError:
        return Claimed(record)


def known_only(log: measurements.Log, golden: object) -> object:
    """Compare what has a known type."""
    events = tuple(entry for entry in log.events if not isinstance(entry[1], Claimed))
    return COMPARE(replace(log, events=events), golden)  # type: ignore[arg-type]


def told(
    ground: Ground,
    events: list[Event],
    log: bytes | None = None,
    unpredicted: Collection[int] = (),
) -> bool:
    """The machine measures ``events``, and its log is another one; believed, by a verifier
    without predictions of some PCRs?
    """
    ground.machine.boot(events=events)
    if log is not None:
        first = ground.machine.log.read_bytes().partition(b"\n")[0]
        ground.machine.log.write_bytes(first + b"\n" + log)
    return ground.answers(unpredicted)


def written(events: list[Event]) -> bytes:
    """These events as they follow the record of the boot."""
    return write_log([phases.booted(0, 0), *events]).partition(b"\n")[2]


@REPLAY
def log_cut_short(ground: Ground) -> bool:
    """A model measured after the boot set; the log ends before it."""
    return told(ground, [*boot_set(), LATE], written(boot_set()))


@REPLAY
def log_with_a_gap(ground: Ground) -> bool:
    """One of the events left out, and the others numbered anew."""
    return told(ground, [*boot_set()[:3], LATE, *boot_set()[3:]], written(boot_set()))


@REPLAY
def log_of_another_boot(ground: Ground) -> bool:
    """The log of an honest machine, on a machine that started another agent."""
    other = phases.measured("agent", "speech", "sha256:" + "4" * 64)
    return told(ground, boot_set(agents=[AGENTS[0], other]), written(boot_set()))


@REPLAY
def event_added_to_the_log(ground: Ground) -> bool:
    """A model that was never measured is entered into the log, because the verifier asks for it."""
    missing = boot_set(models=MODELS[:-1])
    return told(ground, missing, written(boot_set()))


@REPLAY
def configuration_of_another_machine(ground: Ground) -> bool:
    """A machine with a configuration of its owner's; the log tells the one of the build."""
    config = phases.measured("machine-config", "machine", "sha256:" + "0" * 64)
    return told(ground, phases.boot_set(config, MODELS, AGENTS), written(boot_set()))


@REPLAY
def refusal_hidden(ground: Ground) -> bool:
    """The machine refused an altered model; the log says that it was measured."""
    refusal = phases.refused("model", "magika", "altered")
    return told(ground, boot_set(models=[refusal, *MODELS[1:]]), written(boot_set()))


@REPLAY
def extend_dropped_on_the_bus(ground: Ground) -> bool:
    """A chip on the TPM's wires swallows the extend of an agent and answers that it was done."""
    events = boot_set()
    dropped = [event for event in events if event is not AGENTS[0]]
    return told(ground, dropped, written(events))


@REPLAY
def extend_forged_on_the_bus(ground: Ground) -> bool:
    """The chip extends a digest of its own in place of the agent's."""
    events = [Event(14, {"type": "x"}) if event is AGENTS[0] else event for event in boot_set()]
    return told(ground, events, written(boot_set()))


@REPLAY
def extend_doubled_on_the_bus(ground: Ground) -> bool:
    """The chip sends the extend of an agent twice."""
    events = [each for event in boot_set() for each in ([event] * (1 + (event is AGENTS[0])))]
    return told(ground, events, written(boot_set()))


@REPLAY
def resettable_pcr_for_the_models(ground: Ground) -> bool:
    """The models are extended into PCR 16, which can be cleared; the log says PCR 13."""
    moved = [Event(16 if event.pcr == 13 else event.pcr, event.content) for event in boot_set()]
    return told(ground, moved, written(boot_set()))


@stopped_by("a record's digest is that of its content", without(phases, "parse", credulous))
def event_renamed(ground: Ground) -> bool:
    """Another policy was measured; its record, with the digest that was extended, tells of a model
    that the build has.
    """
    lie = LATE.record(len(boot_set()) + 1) | {"pcr": 13, "content": MODELS[0].content}
    events = [*boot_set(), LATE]
    return told(ground, events, written(boot_set()) + line(lie))


@stopped_by("a record's type is covered by its digest", without(phases, "parse", credulous))
def event_relabelled(ground: Ground) -> bool:
    """A model is measured in place of the record that closes the boot set, and relabelled as it,
    on a machine whose models nobody predicted.
    """
    late = phases.measured("model", "minilm", "sha256:" + "8" * 64)
    cap = phases.cap(13)
    events = boot_set()
    at = next(number for number, event in enumerate(events) if event.digest == cap.digest)
    lines = written(events).splitlines(keepends=True)
    lines[at] = line(late.record(at + 1) | {"content": cap.content})
    measured = [*events[:at], late, *events[at + 1 :]]
    return told(ground, measured, b"".join(lines), unpredicted={13})


def line(record: Mapping[str, object]) -> bytes:
    return codec.dumps(record).encode() + b"\n"


@stopped_by(
    "an unknown type of event is refused",
    both(without(phases, "parse", lenient), without(measurements, "compare", known_only)),
)
def event_of_an_unknown_type(ground: Ground) -> bool:
    """A policy is measured as a note, a type that a verifier might pass over."""
    note = Event(13, {"type": "note", "name": "hot-swapped", "digest": LATE.content["digest"]})
    return told(ground, [*boot_set(), note])


@stopped_by("what was measured is part of the build", unsaid("extra"))
def model_loaded_later(ground: Ground) -> bool:
    """Once the boot set is closed, its prediction holds; then another model is loaded."""
    return told(ground, [*boot_set(), LATE])


@stopped_by("a name is of one kind", unsaid("extra"))
def model_in_the_name_of_an_agent(ground: Ground) -> bool:
    """A model with the name of an agent and that agent's digest is loaded later."""
    same = phases.measured("model", "speech", str(AGENTS[1].content["digest"]))
    return told(ground, [*boot_set(), same])


@stopped_by("what was refused is said", unsaid("refused"))
def refusal_after_the_cap(ground: Ground) -> bool:
    """A machine on which something was refused after the boot set was closed."""
    return told(ground, [*boot_set(), phases.refused("model", "magika", "altered")])


@stopped_by("a PCR is capped once", unsaid("log", "capped 2 times"))
def boot_set_closed_twice(ground: Ground) -> bool:
    """A second closing record: to which of them does the prediction belong?"""
    return told(ground, [*boot_set(), phases.cap(14)])


@stopped_by("nothing is measured twice", unsaid("log", "repeats record"))
def event_measured_twice(ground: Ground) -> bool:
    """A model extended once more, as no ainit does."""
    return told(ground, [*boot_set(), MODELS[0]])


@stopped_by("the boot set has one order", unsaid("log", "out of order"))
def agents_before_their_models(ground: Ground) -> bool:
    """Agents are measured before the models that they may use: each PCR comes out the same."""
    return told(ground, [CONFIG, *AGENTS, *MODELS, *(phases.cap(pcr) for pcr in phases.CAPPED)])


@stopped_by("the boot set is closed at once", unsaid("log", "out of order"))
def boot_set_closed_early(ground: Ground) -> bool:
    """The configuration's PCR is closed before the models are measured: which set was closed?"""
    events = boot_set()
    caps = [phases.cap(pcr) for pcr in phases.CAPPED]
    return told(ground, [CONFIG, caps[0], *events[1:-3], *caps[1:]])


@stopped_by("the log begins with the boot's record", unsaid("log", "which boot this is"))
def boot_told_twice(ground: Ground) -> bool:
    """A second record of which boot this is, for a verifier that reads the last one."""
    return told(ground, [*boot_set(), phases.booted(1, 1)])


@stopped_by("the log's last record is whole", unsaid("log", "cut off"))
def record_begun(ground: Ground) -> bool:
    """Bytes after the last record, which one reader skips and another does not."""
    return told(ground, boot_set(), written(boot_set()) + b'{"recnum"')


class AnyText:
    """What is written equals whatever was read."""

    @staticmethod
    def encode(_encoding: str) -> bytes:
        return Equal()


@stopped_by(
    "a record is written in one way",
    without(measurements, "codec", SimpleNamespace(loads=codec.loads, dumps=lambda _: AnyText)),
)
def record_respelled(ground: Ground) -> bool:
    """A name spelled with escapes: for JSON the same, for a search in the text another one."""
    honest = written(boot_set())
    respelled = honest.replace(b'"magika"', b'"\\u006dagika"', 1)
    assert respelled != honest
    return told(ground, boot_set(), respelled)
