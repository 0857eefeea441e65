"""Evidence changed at random: bytes on their way, and structures by one who holds a genuine AK.

``in_transit`` changes the bytes of one file and nothing else, as a network may. ``by_insider``
changes what structures mean and signs everything anew with the AK that the verifier challenged, as
somebody may who has the machine; only fields whose every change has to be refused are touched, so
that being accepted is always wrong. (Text in the firmware's log that no digest covers is not: it is
the machine's own word.)

    mutator = Mutator(machine, enrolment, seed=1)
    enrolment = mutator.by_insider()
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import fields, replace

from ainit.attest import pcrs
from ainit.attest.enrol import Enrolment
from ainit.attest.evidence import Evidence
from ainit.policy import phases
from ainit.wire import codec
from tests.unit.attest import firmware_log
from tests.unit.attest.firmware_log import Entry
from tests.unit.attest.forger import Forger, forger, select

FIELDS = tuple(field.name for field in fields(Evidence))
_SELF_COVERING = (firmware_log.SEPARATOR, firmware_log.EV_ACTION, firmware_log.EFI_ACTION)
Record = dict[str, object]


class Mutator:
    """Draws changed evidence from one honest conversation. The same seed draws the same."""

    def __init__(self, honest: Enrolment, seed: int) -> None:
        self._random = random.Random(seed)
        self._honest = honest
        self._forger = forger()
        made = self._forger.forge(honest)
        self.granted = made
        self._values = pcrs.parse(made.evidence.quote_pcrs)
        self._records: list[Record] = [
            json.loads(line) for line in made.evidence.log_cel.splitlines()
        ]
        self._entries = firmware_log.boot()
        assert firmware_log.write(self._entries) == made.evidence.firmware_log

    # On the way

    def in_transit(self) -> Enrolment:
        """The honest answer with one file changed."""
        field = self._random.choice(FIELDS)
        data = getattr(self._honest.evidence, field)
        changed = data
        while changed == data:
            changed = self._bytes(data)
        evidence = replace(self._honest.evidence, **{field: changed})
        return replace(self._honest, evidence=evidence)

    def _bytes(self, data: bytes) -> bytes:
        draw, length = self._random, len(data)
        at, size = draw.randrange(length + 1), draw.randint(1, 8)
        match draw.randrange(6):
            case 0:
                at = min(at, length - 1)
                return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
            case 1:
                return data[:at]
            case 2:
                return data[:at] + draw.randbytes(size) + data[at:]
            case 3:
                return data[:at] + data[at + size :]
            case 4:
                return data[:at] + draw.randbytes(size) + data[at + size :]
            case _:
                part = data[at : at + 64]
                to = draw.randrange(length + 1)
                return data[:to] + part + data[to:]

    # By somebody with the AK

    def by_insider(self) -> Enrolment:
        """The honest answer with one to three structures changed, all of it signed anew."""
        draw = self._random
        while True:
            act = _Act(self._forger, dict(self._values), list(self._records), list(self._entries))
            for change in draw.sample(_CHANGES, draw.choice((1, 1, 2, 3))):
                change(act, draw)
            made = act.write(self.granted)
            if self._meaning(made.evidence) != self._meaning(self.granted.evidence):
                return made

    @staticmethod
    def _meaning(evidence: Evidence) -> tuple[bytes, ...]:
        """What changes took place in: signatures are new every time."""
        kept = ("ak_pub", "ek_pub", "ek_crt", "quote_msg", "quote_pcrs", "log_cel", "firmware_log")
        return tuple(getattr(evidence, field) for field in kept)


class _Act:
    """What an insider is about to send."""

    def __init__(
        self,
        forging: Forger,
        values: dict[int, bytes],
        records: list[Record],
        entries: list[Entry],
    ) -> None:
        self.forger = forging
        self.values = values
        self.records = records
        self.entries = entries
        self.nonce: bytes | None = None
        self.quoted: bytes | None = None
        self.certificate: Callable[[bytes], bytes] = bytes
        self.ek: Callable[[bytes], bytes] = bytes

    def write(self, granted: Enrolment) -> Enrolment:
        log = b"".join(codec.dumps(record).encode() + b"\n" for record in self.records)
        composite = hashlib.sha256(b"".join(self.values[pcr] for pcr in sorted(self.values)))
        digest = composite.digest() if self.quoted is None else self.quoted
        nonce = granted.nonce if self.nonce is None else self.nonce
        message = self.forger.attest(nonce, digest)
        evidence = replace(
            granted.evidence,
            ak_pub=self.forger.public,
            ek_pub=self.ek(granted.evidence.ek_pub),
            ek_crt=self.certificate(granted.evidence.ek_crt),
            quote_msg=message,
            quote_sig=self.forger.sign(message),
            quote_pcrs=pcrs.serialise(self.values),
            nonce=nonce,
            log_cel=log,
            firmware_log=firmware_log.write(self.entries),
        )
        activation = replace(granted.activation, ak_name=self.forger.name, ek_pub=evidence.ek_pub)
        return Enrolment(self.forger.seal(evidence), granted.nonce, activation)


def _flipped(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _value(act: _Act, draw: random.Random) -> None:
    """Another value of a PCR; the quote covers it."""
    pcr = draw.choice(sorted(act.values))
    act.values[pcr] = _flipped(act.values[pcr], draw)


def _digest(act: _Act, draw: random.Random) -> None:
    """The quote covers other values."""
    act.quoted = draw.randbytes(32)


def _nonce(act: _Act, draw: random.Random) -> None:
    """The quote answers somebody else."""
    act.nonce = draw.randbytes(draw.choice((16, 31, 32, 33, 64)))


def _quote(act: _Act, draw: random.Random) -> None:
    """A field of the quote."""
    part = tuple(sorted(draw.sample(range(24), draw.randint(1, 14))))
    bank = draw.choice((0x0004, 0x000C, 0x000B))
    wrong: Record = draw.choice(
        [
            {"magic": draw.getrandbits(32)},
            {"type": draw.choice((0x8014, 0x8016, 0x8017, 0x8019, 0x801A))},
            {"hierarchy": draw.choice((0x40000001, 0x4000000C, 0x40000007))},
            {"resets": draw.randint(8, 1 << 31)},
            {"restarts": draw.randint(1, 1 << 31)},
            {"safe": draw.randint(2, 255)},
            {"tail": draw.randbytes(draw.randint(1, 9))},
            {"high_s": True},
            {"selection": (1).to_bytes(4, "big") + select(bank, part)},
        ]
    )
    act.forger = replace(act.forger, **wrong)  # type: ignore[arg-type]


def _key(act: _Act, draw: random.Random) -> None:
    """What the AK may do."""
    attributes = act.forger.attributes ^ 1 << draw.randrange(32)
    act.forger = replace(act.forger, attributes=attributes)


def _certificate(act: _Act, draw: random.Random) -> None:
    """A bit of the EK's certificate, or of the EK."""
    flip = random.Random(draw.getrandbits(64))
    if draw.random() < 0.5:
        act.certificate = lambda data: _flipped(data, flip)
    else:
        act.ek = lambda data: _flipped(data, flip)


def _record(act: _Act, draw: random.Random) -> None:
    """Another content in a record, with the digest of the new content."""
    at = draw.randrange(len(act.records))
    content = dict(act.records[at]["content"])  # type: ignore[call-overload]
    name = draw.choice(sorted(content))
    match content[name]:
        case int(number):
            content[name] = number + draw.randint(1, 9)
        case str(text):
            content[name] = text + draw.choice("0aZ")
    act.records[at] = _told(act.records[at], content)


def _told(record: Record, content: Record) -> Record:
    digest = phases.content_digest(content).hex()
    return record | {"content": content, "digests": [{"hashAlg": "sha256", "digest": digest}]}


def _order(act: _Act, draw: random.Random) -> None:
    """A record left out, given twice, or in another place, and the numbers made to fit."""
    records, at = act.records, draw.randrange(len(act.records))
    match draw.randrange(3):
        case 0:
            del records[at]
        case 1:
            records.insert(draw.randrange(len(records) + 1), records[at])
        case _:
            records.insert(draw.randrange(len(records)), records.pop(at))
    act.records = [record | {"recnum": number} for number, record in enumerate(records)]


def _field(act: _Act, draw: random.Random) -> None:
    """Another field of a record."""
    at = draw.randrange(len(act.records))
    other: Record = draw.choice(
        [
            {"recnum": draw.randint(20, 99)},
            {"pcr": draw.choice((0, 7, 10, 16, 23))},
            {"content_type": "cel"},
            {"digests": []},
            {"more": 1},
        ]
    )
    act.records[at] = act.records[at] | other


def _event(act: _Act, draw: random.Random) -> None:
    """A firmware event left out, given twice, with another digest, PCR or an unknown type."""
    entries, at = act.entries, draw.randrange(len(act.entries))
    entry = entries[at]
    match draw.randrange(5):
        case 0:
            del entries[at]
        case 1:
            entries.insert(at, entry)
        case 2:
            entries[at] = replace(entry, digest=_flipped(entry.extended, draw))
        case 3:
            entries[at] = replace(entry, pcr=(entry.pcr + draw.randint(1, 8)) % 16)
        case _:
            entries[at] = entry.relabelled(draw.randint(0x20, 0x7FFFFFFF))


def _text(act: _Act, draw: random.Random) -> None:
    """The text of a firmware event whose digest covers it."""
    told = [at for at, entry in enumerate(act.entries) if entry.type in _SELF_COVERING]
    if told:
        at = draw.choice(told)
        entry = act.entries[at]
        act.entries[at] = replace(entry, data=_flipped(entry.data, draw), digest=entry.extended)


_CHANGES: tuple[Callable[[_Act, random.Random], None], ...] = (
    _value, _digest, _nonce, _quote, _key, _certificate, _record, _order, _field, _event, _text,
)  # fmt: skip
