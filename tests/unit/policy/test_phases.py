"""What is measured, in which order, and what a log must look like to be believed."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import MeasurementError
from ainit.policy import phases

DATA = Path(__file__).resolve().parents[2] / "data"
HEX = "sha256:" + "ab" * 32


def sample() -> list[phases.Event]:
    return phases.boot_set(
        phases.measured("machine-config", "machine", HEX),
        [
            phases.measured("model", "speech", HEX),
            phases.refused("policy", "placement", "no signature"),
            phases.measured("model", "file-type", HEX),
        ],
        [phases.measured("agent", "b", HEX), phases.refused("agent", "a", "unreadable")],
    )


def log() -> list[dict[str, object]]:
    records: list[dict[str, object]] = json.loads(
        json.dumps([event.record(number) for number, event in enumerate(sample())])
    )
    return records


def test_the_boot_set_has_one_order() -> None:
    assert [(event.pcr, event.content.get("name")) for event in sample()] == [
        (12, "machine"),
        (13, "file-type"),
        (13, "placement"),
        (13, "speech"),
        (14, "a"),
        (14, "b"),
        (12, None),
        (13, None),
        (14, None),
    ]


@given(st.permutations(["e", "b", "a", "d"]))
def test_the_callers_order_does_not_matter(names: list[str]) -> None:
    events = [phases.measured("model", name, HEX) for name in names]
    found = phases.boot_set(phases.measured("machine-config", "m", HEX), events, [])
    assert [event.content["name"] for event in found[1:-3]] == sorted(names)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_fold_is_a_pcr_extend(pcr: bytes, digest: bytes) -> None:
    assert phases.fold(pcr, digest) == hashlib.sha256(pcr + digest).digest()


def test_the_digest_is_that_of_the_canonical_content() -> None:
    event = phases.measured("model", "sprache-ü", HEX)
    text = json.dumps(
        {"digest": HEX, "name": "sprache-ü", "type": "model"}, separators=(",", ":")
    ).encode()
    assert event.digest == hashlib.sha256(text).digest()
    assert event.record(7) == {
        "recnum": 7,
        "pcr": 13,
        "digests": [{"hashAlg": "sha256", "digest": event.digest.hex()}],
        "content_type": "ainos",
        "content": event.content,
    }


def test_a_relabelled_event_has_another_digest() -> None:
    digests = {phases.measured(kind, "x", HEX).digest for kind in phases.KIND_PCR}
    assert len(digests) == len(phases.KIND_PCR)


def test_prediction_and_replay_agree_with_hashlib() -> None:
    expected = {pcr: bytes(32) for pcr in (12, 13, 14, 15)}
    for event in sample():
        expected[event.pcr] = hashlib.sha256(expected[event.pcr] + event.digest).digest()
    assert phases.predict(sample()) == expected
    assert phases.replay(log()) == expected
    assert phases.predict([]) == phases.replay([]) == {pcr: bytes(32) for pcr in (12, 13, 14, 15)}


def test_a_log_that_a_machine_recorded_once_replays_for_ever() -> None:
    lines = (DATA / "measurements.cel").read_text(encoding="ascii").splitlines()
    assert phases.replay([json.loads(line) for line in lines])[13].hex() == GOLDEN_PCR_13
    assert [json.loads(line) for line in lines] == log()


GOLDEN_PCR_13 = "7022c525a8d840be838a5eb4ef25e4286827c51a2c7aade0f07d407e6b0ab1d2"

CHANGES: dict[str, object] = {
    "recnum": [0, 2, True, 1.0, "1", None],
    "pcr": [12, 14, 13.0, "13", None, True],
    "digests": [
        [],
        None,
        [{"hashAlg": "sha256", "digest": "00" * 32}],
        [{"hashAlg": "sha1", "digest": "00" * 20}],
        "twice",
    ],
    "content_type": ["cel", "", None, 3],
    "content": [
        None,
        [],
        {},
        {"type": "model"},
        {"type": []},
        {"type": {}},
        {"type": "unknown", "name": "x", "digest": HEX},
        {"type": "model", "name": "speech", "digest": HEX, "extra": 1},
        {"type": "model", "name": "speech"},
        {"type": "model", "name": 3, "digest": HEX},
        {"type": "policy", "name": "file-type", "digest": HEX},
        {"type": "agent", "name": "file-type", "digest": HEX},
        {"type": "model", "name": "other", "digest": HEX},
        {"type": "refusal", "kind": [], "name": "x", "reason": ""},
        {"type": "refusal", "kind": "cap", "name": "x", "reason": ""},
        {"type": "cap", "pcr": 13.0},
        {"type": "cap", "pcr": "13"},
        {"type": "cap", "pcr": True},
        {"type": "cap", "pcr": 16},
        {"type": "cap", "pcr": [13]},
        {"type": "cap", "pcr": 15},
        {"type": "boot", "resets": "7", "restarts": 0},
        {"type": "boot", "resets": True, "restarts": 0},
        {"type": "boot", "resets": 7},
    ],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in CHANGES.items() for value in list(values)],  # type: ignore[call-overload]
    ids=str,
)
def test_a_changed_record_is_refused(field: str, value: object) -> None:
    records = log()
    record = copy.deepcopy(records[1])
    if value == "twice":
        digests = record["digests"]
        assert isinstance(digests, list)
        value = digests * 2
    record[field] = value
    with pytest.raises(MeasurementError, match=r"^record 1: "):
        phases.parse(record, 1)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": "unknown", "name": "x", "digest": HEX},
        {"type": "model", "name": "x", "digest": HEX, "extra": 1},
        {"type": "model", "name": "x"},
        {"type": "model", "name": 3, "digest": HEX},
        {"type": "refusal", "kind": "cap", "name": "x", "reason": ""},
        {"type": "refusal", "kind": "model", "name": "x", "reason": 5},
        {"type": "cap", "pcr": 13.0},
        {"type": "cap", "pcr": "13"},
        {"type": "cap", "pcr": True},
        {"type": "cap", "pcr": 15},
        {"type": "cap", "pcr": 16},
        {"type": "boot", "resets": True, "restarts": 0},
        {"type": "boot", "resets": 7, "restarts": 0, "clock": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("pcr", [-1, *phases.LOGGED, 16])
def test_a_record_whose_digest_is_right_is_refused_for_what_it_says(
    content: phases.Content, pcr: int
) -> None:
    with pytest.raises(MeasurementError, match=r"^record 0: event "):
        phases.parse(phases.Event(pcr, content).record(0), 0)


def test_what_is_measured_of_a_configuration() -> None:
    assert phases.configuration(b"x = 1", {}) == b"x = 1"
    assert phases.configuration(b"x = 1", {"b": b"", "a": b"yz"}) == (
        b"ainos-configuration-1\nmachine.toml 5\nx = 1units/a.toml 2\nyzunits/b.toml 0\n"
    )


@pytest.mark.parametrize("field", list(CHANGES))
def test_a_record_with_a_missing_field_is_refused(field: str) -> None:
    record = log()[1]
    del record[field]
    with pytest.raises(MeasurementError):
        phases.parse(record, 1)


def test_a_record_with_another_field_is_refused() -> None:
    with pytest.raises(MeasurementError):
        phases.parse({**log()[1], "signature": None}, 1)


@pytest.mark.parametrize("pcr", [0.0, 12.0, True])
def test_a_cap_that_only_looks_like_one_is_refused(pcr: object) -> None:
    content = {"type": "cap", "pcr": pcr}
    digest = phases.content_digest(content).hex()
    record = {
        "recnum": 0,
        "pcr": pcr,
        "digests": [{"hashAlg": "sha256", "digest": digest}],
        "content_type": "ainos",
        "content": content,
    }
    with pytest.raises(MeasurementError):
        phases.parse(record, 0)


def test_every_record_of_a_log_can_be_read_back() -> None:
    for number, (record, event) in enumerate(zip(log(), sample(), strict=True)):
        parsed = phases.parse(record, number)
        assert (parsed.pcr, parsed.content) == (event.pcr, event.content)


@pytest.mark.parametrize("change", ["swap", "drop", "repeat"])
def test_a_log_out_of_order_is_refused(change: str) -> None:
    records = log()
    match change:
        case "swap":
            records[1], records[2] = records[2], records[1]
        case "drop":
            del records[3]
        case _:
            records.insert(3, records[3])
    with pytest.raises(MeasurementError):
        phases.replay(records)


def test_which_boot_it_is_goes_into_a_pcr_that_nobody_predicts() -> None:
    event = phases.booted(7, 1)
    assert event.pcr == 15
    assert event.pcr not in phases.CAPPED
    assert phases.parse(event.record(0), 0).content == event.content


def test_a_log_that_begins_with_its_boot_replays_for_ever() -> None:
    lines = (DATA / "measurements-boot.cel").read_text(encoding="ascii").splitlines()
    assert phases.replay([json.loads(line) for line in lines])[15].hex() == GOLDEN_PCR_15


GOLDEN_PCR_15 = "1a042d661c455d4dac189c7b577e2e67778491368d067c34eef8cf27426bbfdd"
