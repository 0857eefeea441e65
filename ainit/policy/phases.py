"""What is measured, in which order, into which PCR: one table for the extender, the predictor and
the verifier, so that they cannot drift.

An event is typed data. Its digest is SHA-256 over the canonical JSON of that data, so the type is
covered by the digest (a relabelled event no longer matches). The records are JSON in the form of
the TCG Canonical Event Log (section 5, "CEL-JSON").

>>> event = measured("model", "speech", "sha256:" + "00" * 32)
>>> event.pcr
13
"""

from __future__ import annotations

from ..constants import PCR_AGENTS, PCR_IDENTITY, PCR_MACHINE, PCR_MODELS
from ..digest import sha256
from ..errors import MeasurementError
from ..wire.codec import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MACHINE_CONFIG = "machine-config"
CONFIG_SOURCE = "config-source"  # where that came from, unless from the image or the state
MODEL = "model"
POLICY = "policy"
EXTENSION = "extension"
AGENT = "agent"
SANDBOX = "sandbox"  # of an agent, as this machine tightened it
# What the model store holds.
STORED = (MODEL, POLICY, EXTENSION)
REFUSAL = "refusal"
CAP = "cap"
BOOT = "boot"

# The order of this table is the order of the boot set.
KIND_PCR = {
    CONFIG_SOURCE: PCR_MACHINE,
    MACHINE_CONFIG: PCR_MACHINE,
    MODEL: PCR_MODELS,
    POLICY: PCR_MODELS,
    EXTENSION: PCR_MODELS,
    AGENT: PCR_AGENTS,
    SANDBOX: PCR_AGENTS,
}
CAPPED = (PCR_MACHINE, PCR_MODELS, PCR_AGENTS)
# What ainit writes to: the boot set, and which boot it is, which nobody can predict.
LOGGED = (*CAPPED, PCR_IDENTITY)
BOOT_EXTENDS_MAX = 32
_FIELDS = {
    **{kind: {"type", "name", "digest"} for kind in KIND_PCR},
    REFUSAL: {"type", "kind", "name", "reason"},
    CAP: {"type", "pcr"},
    BOOT: {"type", "resets", "restarts"},
}
_NUMBERS = ("pcr", "resets", "restarts")
ZERO = bytes(32)

Content = dict[str, object]


class Event:
    """One thing to extend: the PCR and the typed content, which does not change."""

    __slots__ = ("_digest", "content", "pcr")

    def __init__(self, pcr: int, content: Content) -> None:
        self.pcr = pcr
        self.content = content
        self._digest = b""  # until somebody asks

    @property
    def digest(self) -> bytes:
        """What the PCR is extended with."""
        if not self._digest:
            self._digest = content_digest(self.content)
        return self._digest

    def record(self, number: int) -> Content:
        """The canonical event log record of this event, at position ``number``."""
        return {
            "recnum": number,
            "pcr": self.pcr,
            "digests": [{"hashAlg": "sha256", "digest": self.digest.hex()}],
            "content_type": "ainos",
            "content": self.content,
        }


_CONFIGURATION = b"ainos-configuration-1\n"  # no TOML begins like this


def measured(kind: str, name: str, digest: str) -> Event:
    """The event for an artefact with its fs-verity digest (``sha256:<hex>``)."""
    return Event(KIND_PCR[kind], {"type": kind, "name": name, "digest": digest})


def refused(kind: str, name: str, reason: str) -> Event:
    """The event for an artefact that was refused, in the PCR that it would have had."""
    content: Content = {"type": REFUSAL, "kind": kind, "name": name, "reason": reason}
    return Event(KIND_PCR[kind], content)


def cap(pcr: int) -> Event:
    """The event that closes the boot set of one PCR."""
    return Event(pcr, {"type": CAP, "pcr": pcr})


def booted(resets: int, restarts: int) -> Event:
    """The event that comes first: the TPM's counters (TPMS_CLOCK_INFO) when ainit started.

    A quote holds the same counters. When they have moved on, the TPM was reset behind the system's
    back, and what its PCRs hold is what somebody extended afterwards.
    """
    return Event(PCR_IDENTITY, {"type": BOOT, "resets": resets, "restarts": restarts})


def boot_set(
    machine_config: Event, models: Iterable[Event], agents: Iterable[Event]
) -> list[Event]:
    """Everything that is extended before the first agent starts, in order.

    ``models`` holds what the store does (and refusals of it), ``agents`` likewise; each is
    sorted by name here, so that callers cannot disagree about the order.
    """

    def name(event: Event) -> str:
        return str(event.content["name"])

    return [
        machine_config,
        *sorted(models, key=name),
        *sorted(agents, key=name),
        *(cap(pcr) for pcr in CAPPED),
    ]


def content_digest(content: Content) -> bytes:
    """SHA-256 over the canonical JSON of ``content``."""
    return sha256(canonical(content))


def fold(pcr: bytes, digest: bytes) -> bytes:
    """A PCR after TPM2_PCR_Extend (TPM 2.0 part 1, section 17.1)."""
    return sha256(pcr + digest)


def predict(events: Iterable[Event]) -> dict[int, bytes]:
    """The values of the PCRs that ainit writes to after ``events``, from zero."""
    pcrs = dict.fromkeys(LOGGED, ZERO)
    for event in events:
        pcrs[event.pcr] = fold(pcrs[event.pcr], event.digest)
    return pcrs


def parse(record: Mapping[str, object], number: int) -> Event:
    """The event in one log record.

    Raises MeasurementError for anything that is not exactly as written here: another sequence
    number, an unknown type or field, a digest that is not the content's own.
    """
    content = record.get("content")
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str) or kind not in _FIELDS:
        raise MeasurementError(f"record {number}: event type {kind} is unknown")
    if set(content) != _FIELDS[kind]:
        raise MeasurementError(f"record {number}: event {kind} has other fields than it should")
    if not all(type(content[field]) is (int if field in _NUMBERS else str) for field in content):
        raise MeasurementError(f"record {number}: event {kind} has a field of the wrong type")
    pcr = _pcr(kind, content)
    if pcr not in LOGGED:
        raise MeasurementError(f"record {number}: event {kind} belongs to no PCR")
    event = Event(pcr, content)
    expected = event.record(number)
    if canonical(record) == canonical(expected):  # which tells 1 from true and from 1.0
        return event
    if set(record) != set(expected):
        raise MeasurementError(f"record {number}: has other fields than a log record")
    other = [name for name in expected if canonical(record[name]) != canonical(expected[name])]
    raise MeasurementError(f"record {number}: its {other[0]} is not that of its content")


def _pcr(kind: str, content: Content) -> int:
    """The PCR of an event, from its type alone; a cap says itself which of three it closes."""
    if kind == BOOT:
        return PCR_IDENTITY
    if kind == CAP:
        pcr = content["pcr"]
        return pcr if isinstance(pcr, int) and pcr in CAPPED else -1
    return KIND_PCR.get(str(content.get("kind", kind)), -1)


def replay(records: Sequence[Mapping[str, object]]) -> dict[int, bytes]:
    """The PCR values that a log leads to, from zero. Raises MeasurementError as ``parse`` does."""
    return predict([parse(record, number) for number, record in enumerate(records)])


def configuration(machine: bytes, units: Mapping[str, bytes]) -> bytes:
    """What is measured as the machine's configuration: machine.toml, and its own units by name.

    Without units these are the bytes of machine.toml alone. With them, a header that no
    machine.toml can begin with (it is not TOML), then each file as ``NAME LENGTH`` and its bytes,
    in the order of the names: two configurations never give the same bytes.

    >>> configuration(b"x = 1", {"a": b"y"})
    b'ainos-configuration-1\\nmachine.toml 5\\nx = 1units/a.toml 1\\ny'
    """
    if not units:
        return machine
    files = [("machine.toml", machine)]
    files += [(f"units/{name}.toml", units[name]) for name in sorted(units)]
    return _CONFIGURATION + b"".join(
        b"%s %d\n" % (name.encode(), len(data)) + data for name, data in files
    )
